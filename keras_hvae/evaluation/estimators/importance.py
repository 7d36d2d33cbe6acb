"""Importance-weighted estimates of log p(x), in float64."""

from collections.abc import Sequence

import numpy as np

from keras_hvae.arguments import check_positive_int

SWEEP_SIZES = (1, 10, 100, 500)


def iwae(log_weights: np.ndarray) -> dict[str, np.ndarray]:
    """The importance-weighted bound of each document and its sample size.

    log p̂ = log 1/K Σ_k w_k, of which exp is unbiased: E log p̂ ≤ log p(x). A
    weight belongs to a whole document:

    log w = Σ_i [log p(x_i | z_i) + log p(z_i | z_i−1) − log q(z_i | z_i−1, x)]

    Args:
        log_weights: array of shape `(K, ...)`, nats: K draws from q.

    Returns:
        A dict of float64 arrays of shape `(...)`: `"log_likelihood"`, log p̂
        in nats, and `"ess"`, see `effective_sample_size`.

    Raises:
        ValueError: if there is no draw.

    Example:

    >>> figures = iwae(np.log([[0.1], [0.3]]))
    >>> np.exp(figures["log_likelihood"]), figures["ess"]
    (array([0.2]), array([1.6]))

    Reference:
        - [Burda et al., 2016](https://arxiv.org/abs/1509.00519)
    """
    log_weights = _check(log_weights)
    return {
        "log_likelihood": log_mean_exp(log_weights),
        "ess": effective_sample_size(log_weights),
    }


def iwae_sweep(
    log_weights: np.ndarray, sizes: Sequence[int] = SWEEP_SIZES
) -> dict[int, np.ndarray]:
    """The bound of each document for several K, from the same draws.

    For each size the draws are cut into disjoint blocks (a remainder is left
    out) and the bounds of the blocks averaged: an unbiased estimate of the
    bound in expectation. Size 1 gives the ELBO. Where each size divides the
    next one and the last one K, no bound is below the one before.

    Args:
        log_weights: array of shape `(K, ...)`, nats.
        sizes: ints; those larger than K are left out.

    Returns:
        A dict from size to a float64 array of shape `(...)`, nats.

    Raises:
        ValueError: if there is no draw, a size is no int >= 1, or all sizes
            are larger than K.

    Example:

    >>> sweep = iwae_sweep(np.log([0.1, 0.4, 0.1, 0.4]), sizes=(1, 2, 500))
    >>> {size: np.exp(bound).round(3) for size, bound in sweep.items()}
    {1: np.float64(0.2), 2: np.float64(0.25)}
    """
    log_weights = _check(log_weights)
    draws = len(log_weights)
    for size in sizes:
        check_positive_int(sizes=size)
    if not any(size <= draws for size in sizes):
        raise ValueError(
            f"`sizes` must have one that is at most {draws}, the number of "
            f"draws. Received: {tuple(sizes)}"
        )
    bounds = {}
    for size in sizes:
        if size <= draws:
            blocks = log_weights[: draws - draws % size]
            blocks = blocks.reshape(-1, size, *log_weights.shape[1:])
            bounds[size] = log_mean_exp(blocks.swapaxes(0, 1)).mean(axis=0)
    return bounds


def log_mean_exp(log_weights: np.ndarray) -> np.ndarray:
    """log 1/K Σ_k w_k over the first axis, exact if all w_k are equal.

    Args:
        log_weights: float64 array of shape `(K, ...)`.

    Returns:
        float64 array of shape `(...)`; −inf where every weight is 0.
    """
    weights, top = _scale(log_weights)
    with np.errstate(divide="ignore"):
        return top + np.log(weights.mean(axis=0))


def effective_sample_size(log_weights: np.ndarray) -> np.ndarray:
    """(Σ_k w_k)² / Σ_k w_k² over the first axis: K if all w_k are equal.

    Args:
        log_weights: float64 array of shape `(K, ...)`.

    Returns:
        float64 array of shape `(...)`, in [1, K]; 0 where every weight is 0.
    """
    weights, _ = _scale(log_weights)
    squares = np.square(weights).sum(axis=0)
    # The largest weight is 1, so the sum is below 1 only where it is 0.
    return np.square(weights.sum(axis=0)) / np.maximum(squares, 1.0)


def _scale(log_weights):
    """Weights over the largest one, and its logarithm."""
    top = log_weights.max(axis=0)
    top = np.where(np.isneginf(top), 0.0, top)
    return np.exp(log_weights - top), top


def _check(log_weights):
    log_weights = np.asarray(log_weights, "float64")
    if not log_weights.ndim or not len(log_weights):
        raise ValueError(
            "`log_weights` must have shape (K, ...) with K >= 1 draws. "
            f"Received: shape {log_weights.shape}"
        )
    return log_weights
