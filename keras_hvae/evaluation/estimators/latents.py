"""Whether the latents carry anything."""

import numpy as np

ACTIVE_VARIANCE = 0.01


def mean_variances(means):
    """Variance of the posterior means over the data, for each dimension.

    Args:
        means: posterior means, array of shape `(N, d)`.

    Returns:
        float64 array of shape `(d,)`, with N − 1 in the denominator.
    """
    if len(means) < 2:
        return np.zeros(means.shape[-1])
    return np.var(means.astype("float64"), axis=0, ddof=1)


def active_units(means):
    """Number of dimensions whose posterior mean varies by at least 0.01.

    Args:
        means: posterior means, array of shape `(N, d)`.

    Returns:
        An int in [0, d].

    Example:

    >>> active_units(np.array([[0.0, 1.0], [0.0, 3.0]]))
    1

    Reference:
        - [Burda et al., 2016](https://arxiv.org/abs/1509.00519), section 5.2
    """
    return int((mean_variances(means) >= ACTIVE_VARIANCE).sum())


def shuffle_documents(z, real):
    """Gives each sentence the latent of another document.

    At each position the documents that have a sentence there hand their
    latents on in a circle, over half of them: neighbours in a batch are often
    parts of one long document.

    Args:
        z: array of shape `(B, n, d)`.
        real: bool array of shape `(B, n)`.

    Returns:
        The shuffled array and a bool array `(B, n)`: where a latent was
        replaced. A position that only one document has stays.
    """
    shuffled, replaced = z.copy(), np.zeros_like(real)
    for position in range(z.shape[1]):
        rows = np.flatnonzero(real[:, position])
        if len(rows) > 1:
            givers = np.roll(rows, len(rows) // 2)
            shuffled[rows, position] = z[givers, position]
            replaced[rows, position] = True
    return shuffled, replaced
