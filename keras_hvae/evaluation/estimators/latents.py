"""Variation of posterior means, and exchange of latents."""

import numpy as np

ACTIVE_VARIANCE = 0.01


def mean_variances(means: np.ndarray) -> np.ndarray:
    """Variance of the posterior means over the data, for each dimension.

    Args:
        means: posterior means, array of shape `(N, d)`.

    Returns:
        float64 array of shape `(d,)`, with N − 1 in the denominator.
    """
    if len(means) < 2:
        return np.zeros(means.shape[-1])
    return np.var(means.astype("float64"), axis=0, ddof=1)


def active_units(means: np.ndarray) -> int:
    """Number of dimensions whose posterior mean varies by at least 0.01.

    The threshold assumes a prior N(0, I), and dimensions that all say the
    same are counted each: see `effective_rank`.

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


def spectrum(means: np.ndarray) -> np.ndarray:
    """Eigenvalues of the covariance of the posterior means, falling.

    Args:
        means: posterior means, array of shape `(N, d)`.

    Returns:
        float64 array of shape `(d,)`, >= 0, with N − 1 in the denominator.
    """
    rest = np.asarray(means, "float64") - np.mean(
        means, axis=0, dtype="float64"
    )
    values = np.linalg.eigvalsh(rest.T @ rest / max(len(means) - 1, 1))
    return values[::-1].clip(min=0.0)


def effective_rank(means: np.ndarray) -> float:
    """In how many directions the posterior means vary: (Σ λ)² / Σ λ².

    λ are the eigenvalues of their covariance: k equal ones, and 0 else, give
    k. Not how much they vary, so it counts beside their information only.

    Args:
        means: posterior means, array of shape `(N, d)`.

    Returns:
        A float in [1, d]; 0 if the means do not vary at all.

    Example: three dimensions that say the same.

    >>> round(effective_rank(np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])), 6)
    1.0
    """
    values = spectrum(means)
    if not values.any():
        return 0.0
    values /= values[0]  # scaled first: squares of tiny values would underflow
    return float(values.sum() ** 2 / np.square(values).sum())


def shuffle_documents(
    z: np.ndarray, real: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
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


def length_partners(
    tokens: np.ndarray,
    positions: np.ndarray,
    documents: np.ndarray,
    texts: np.ndarray,
) -> np.ndarray:
    """For each sentence another of the same length, to take its latent.

    Of another document and with other words; at the same position where
    there is one of as many tokens, else nearest in length, then in position.

    Args:
        tokens, positions, documents: ints of shape `(N,)`: the number of
            tokens of each sentence, its place in its document, and which
            document that is.
        texts: ints of shape `(N,)`, the same where the words are the same.

    Returns:
        An int array `(N,)`: the row of the partner; −1 where there is none.

    Example:

    >>> length_partners([4, 7, 4], [0, 0, 0], [0, 1, 2], [5, 6, 7])
    array([2, 0, 0])
    """
    tokens, positions, documents, texts = (
        np.asarray(x) for x in (tokens, positions, documents, texts)
    )
    partners = np.empty(len(tokens), int)
    # Most sentences have a partner of equal length and position: the one half a
    # group further, where a group sorted by text has another text.
    order = np.lexsort((texts, positions, tokens))
    kinds = np.stack([tokens, positions])[:, order]
    cuts = 1 + np.flatnonzero((kinds[:, 1:] != kinds[:, :-1]).any(axis=0))
    for group in np.split(order, cuts):
        partners[group] = np.roll(group, len(group) // 2)
    same = (texts[partners] == texts) | (documents[partners] == documents)
    room = np.ptp(positions) + 1
    for row in np.flatnonzero(same):
        distance = room * np.abs(tokens - tokens[row])
        distance += np.abs(positions - positions[row])
        allowed = (texts != texts[row]) & (documents != documents[row])
        rows = np.flatnonzero(allowed)
        partners[row] = rows[distance[rows].argmin()] if len(rows) else -1
    return partners
