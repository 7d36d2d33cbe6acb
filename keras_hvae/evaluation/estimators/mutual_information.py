"""Mutual information of documents and latents under the posterior.

I_q(x; z) = E log q(z|x) − E log q(z), in nats, where log q(z) is the mixture
of the posteriors of the M documents compared: an average of log q(z|x) −
log 1/M Σ_j q(z|x_j) over one draw of each document, in float64. Both terms are
taken at the same draw, so that noise they share cancels and log M is a cap of
the estimate itself, not only in expectation.
"""

import numpy as np

# Entries of the N × N matrix of log-densities in memory at a time.
CHUNK_ELEMENTS = 4_000_000
BATCH = 32
AT_CAP = 0.95


def mi_full(mean: np.ndarray, log_var: np.ndarray, z: np.ndarray) -> float:
    """Mutual information, where the mixture is over all N posteriors.

    At most log N nats, the information that tells N documents apart: an
    estimate near it is of N, not of the model (`at_cap`).

    Args:
        mean, log_var: posteriors, arrays of shape `(N, d)`: a sentence or
            document each.
        z: a draw from each, array of shape `(N, d)`.

    Returns:
        A float, nats. As an estimate it may be just below 0.

    Raises:
        ValueError: for N < 2, or arrays that differ in shape.

    Example:

    >>> mean = np.array([[0.0], [9.0]])
    >>> round(mi_full(mean, np.full((2, 1), -15.0), mean), 4)  # log 2
    0.6931

    Reference:
        - [Li et al., 2019](https://arxiv.org/abs/1909.00868)
    """
    mean, log_var, z = _check(2, mean=mean, log_var=log_var, z=z)
    return float(_log_ratios(mean, log_var, z).mean())


def mi_batch32(
    mean: np.ndarray, log_var: np.ndarray, z: np.ndarray, seed: int = 0
) -> float:
    """Mutual information, where the mixture is over batches of 32 posteriors.

    Each draw's own posterior is one of the 32: at most log 32 = 3.466 nats.
    The batches are cut from a random order, for neighbours may be parts of
    one document; the last N modulo 32 of it are left out, as a smaller batch
    has a smaller cap.

    Args:
        mean, log_var, z: as in `mi_full`.
        seed: int, of the order.

    Returns:
        A float, nats.

    Raises:
        ValueError: for N < 32, or arrays that differ in shape.

    Reference:
        - [He et al., 2019](https://arxiv.org/abs/1901.05534)
    """
    arrays = _check(BATCH, mean=mean, log_var=log_var, z=z)
    order = np.random.default_rng(seed).permutation(len(arrays[0]))
    batches = order[: len(order) // BATCH * BATCH].reshape(-1, BATCH)
    ratios = [_log_ratios(*(x[batch] for x in arrays)) for batch in batches]
    return float(np.mean(ratios))


def at_cap(estimate: float | None, cap: float) -> bool:
    """Whether an estimate says no more than "at least": within 5 % of its cap.

    Args:
        estimate: what `mi_full` returned, nats, or `None`.
        cap: the logarithm of its number of rows.
    """
    return estimate is not None and estimate >= AT_CAP * cap


def _log_ratios(mean, log_var, z):
    """log q(z_i|x_i) − log 1/N Σ_j q(z_i|x_j) for each i: `(N,)`.

    The constant −½ d log 2π cancels and is left out.
    """
    count = len(mean)
    # Centred: the products below cancel, and large means would lose digits.
    center = mean.mean(axis=0)
    mean, z = mean - center, z - center
    precision = np.exp(-log_var)
    own = -0.5 * (log_var + np.square(z - mean) * precision).sum(axis=-1)
    # −½ (z − μ)² / σ² = [z², z] · [−½ / σ², μ / σ²] + constant
    factors = np.concatenate([-0.5 * precision, mean * precision], axis=1)
    constant = -0.5 * (log_var + np.square(mean) * precision).sum(axis=-1)
    log_mixture = np.empty(count)
    rows = max(1, CHUNK_ELEMENTS // count)
    for start in range(0, count, rows):
        chunk = slice(start, start + rows)
        powers = np.concatenate([np.square(z[chunk]), z[chunk]], axis=1)
        densities = powers @ factors.T  # (rows, N)
        densities += constant
        here = np.arange(len(densities))
        densities[here, start + here] = own[chunk]
        top = densities.max(axis=1)
        densities -= top[:, None]
        np.exp(densities, out=densities)
        log_mixture[chunk] = top + np.log(densities.mean(axis=1))
    return own - log_mixture


def _check(minimum, **arrays):
    shapes = {name: np.shape(x) for name, x in arrays.items()}
    if len(set(shapes.values())) > 1 or len(shapes["mean"]) != 2:
        raise ValueError(
            "`mean`, `log_var` and `z` must have the same shape (N, d). "
            f"Received: shapes {tuple(shapes.values())}"
        )
    if shapes["mean"][0] < minimum:
        raise ValueError(
            f"`mean` must have N >= {minimum} rows. "
            f"Received: shape {shapes['mean']}"
        )
    return [np.asarray(x, "float64") for x in arrays.values()]
