"""A particle estimate of log p(x): importance sampling with resampling."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_hvae.arguments import check_positive_int
from keras_hvae.evaluation.estimators.importance import (
    effective_sample_size,
    log_mean_exp,
)
from keras_hvae.inference import randomness

# A stream of random numbers, apart from `randomness.LATENT` and `WORDS`.
RESAMPLING = 2


def particle_bound(
    step: Callable,
    lengths: Sequence[int] | np.ndarray,
    num_particles: int,
    seed: int | Sequence | None = None,
    threshold: float = 0.5,
) -> dict[str, np.ndarray]:
    """The resampled particle bound of each document of a batch.

    A particle is a path z_1 … z_i. Before each further sentence, a document
    whose effective sample size fell below `threshold` · K draws its K
    particles anew by their weights and goes on with equal weights. log p̂ is
    the sum of the logarithms of the average weights from one resampling to
    the next; as exp(log p̂) is unbiased, E log p̂ ≤ log p(x). The weights of
    `iwae` spread ever wider with the length of a document; these do not. On
    short documents the bound can be the looser one: it compares particles by
    the sentences so far, while q has read those to come.

    Resampling is systematic: particle k of weight W_k gets K W_k offspring,
    rounded up or down, K W_k in expectation, which keeps the estimate
    unbiased with less variance than multinomial draws. It takes one uniform
    number for each document and sentence.

    Args:
        step: function of i = 0, 1, … and z, the resampled particles at
            sentence i − 1, `(B, K, d)` (`None` for i = 0). It returns draws
            from q at sentence i, `(B, K, d)`, and the logarithm of their
            weights, `(B, K)`, nats: log p(x_i | z_i) + log p(z_i | z_i−1) −
            log q(z_i | z_i−1, x).
        lengths: ints of shape `(B,)`, sentences of each document. What `step`
            returns behind a document's end does not count.
        num_particles: K.
        seed: int, or an int or an (int, row) pair for each document, or
            `None`, as in the methods of `HVAE`. A document's resampling depends
            on its own seed only, never on the rest of the batch.
        threshold: in [0, 1]; 0 never resamples, which is `iwae`.

    Returns:
        A dict of arrays of shape `(B,)`: `"log_likelihood"`, log p̂ in nats,
        float64, 0 for a document without sentences; and `"resamplings"`,
        their number, int.

    Raises:
        ValueError: for an argument out of range, or log-weights of another
            shape.

    Example:

    >>> def step(i, z):
    ...     return np.zeros((2, 8, 1)), np.full((2, 8), -1.5)
    >>> particle_bound(step, [1, 3], num_particles=8)["log_likelihood"]
    array([-1.5, -4.5])

    Reference:
        - [Maddison et al., 2017](https://arxiv.org/abs/1705.09279)
        - [Douc & Cappé, 2005](https://arxiv.org/abs/cs/0507025) (resampling)
    """
    lengths = _check_lengths(lengths)
    check_positive_int(num_particles=num_particles)
    if not 0 <= threshold <= 1:
        raise ValueError(
            f"`threshold` must be in [0, 1]. Received: {threshold}"
        )
    shape = len(lengths), num_particles
    seeds = randomness.row_seeds(seed, len(lengths))
    # Drawn even if not used: each sentence has its own number.
    uniforms = [
        np.random.default_rng((*row, RESAMPLING)).random(length)
        for row, length in zip(seeds, lengths)
    ]
    log_likelihood = np.zeros(len(lengths))
    resamplings = np.zeros(len(lengths), int)
    log_weights = np.zeros(shape)  # since the last resampling
    z: Any = None  # (documents, K, d), from the first sentence on
    for i in range(lengths.max()):
        real = i < lengths
        # K at the first sentence: nothing is resampled.
        ess = effective_sample_size(log_weights.T)
        rows = np.flatnonzero(real & (ess < threshold * num_particles))
        for row in rows:
            z[row] = z[row, _ancestors(log_weights[row], uniforms[row][i])]
        log_likelihood[rows] += log_mean_exp(log_weights[rows].T)
        log_weights[rows] = 0.0
        resamplings[rows] += 1

        z, increments = step(i, z)
        z, increments = np.array(z), np.asarray(increments, "float64")
        if increments.shape != shape:
            raise ValueError(
                f"`step` must return log-weights of shape {shape}. "
                f"Received: shape {increments.shape}"
            )
        log_weights[real] += increments[real]
    return {
        "log_likelihood": log_likelihood + log_mean_exp(log_weights.T),
        "resamplings": resamplings,
    }


def _ancestors(log_weights, uniform):
    """Systematic resampling: K indices, in order, from one number in [0, 1)."""
    top = log_weights.max()
    weights = np.exp(log_weights - (0.0 if np.isneginf(top) else top))
    heights = np.cumsum(weights)
    count = len(weights)
    points = (np.arange(count) + uniform) / count * heights[-1]
    # By rounding, or weights that are all 0, a point may lie at the very end.
    return np.searchsorted(heights, points, side="right").clip(max=count - 1)


def _check_lengths(lengths):
    array = np.asarray(lengths)
    whole = np.issubdtype(array.dtype, np.integer)
    if not whole or array.ndim != 1 or not array.size or array.min() < 0:
        raise ValueError(
            "`lengths` must be ints >= 0 of shape (B,), one for each document. "
            f"Received: {lengths!r}"
        )
    return array
