"""Random numbers that belong to a row, whatever batch the row is in."""

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_hvae.inference import philox

# Independent streams of the same seed.
LATENT, WORDS = 0, 1
STREAMS = 2
# Stream numbers are smaller than this; the rest of the second int of a pair is
# the row.
INDICES = 2**20


def row_seeds(seed: Any, rows: int) -> list[tuple[int, ...]]:
    """A seed for each row.

    Args:
        seed: int (row i gets the stream (seed, i)), a sequence of `rows` ints
            (each row as if alone) or (int, row) pairs, or `None` (fresh
            entropy).
        rows: number of rows.

    Returns:
        A list of tuples of ints.

    Raises:
        ValueError: for a seed that is no int >= 0, or the wrong number.
    """
    if seed is None:
        seed = int(np.random.SeedSequence().entropy % 2**63)
    if isinstance(seed, numbers.Number):
        seeds = [(seed, row) for row in range(rows)]
    else:
        # Stream (seed, 0): a row draws the same alone and in a batch.
        seeds = [(s, 0) if isinstance(s, numbers.Number) else s for s in seed]
    for s in seeds:
        if not all(isinstance(x, numbers.Integral) and x >= 0 for x in s):
            raise ValueError(f"`seed` must be an int >= 0. Received: {s[0]!r}")
    if len(seeds) != rows:
        raise ValueError(
            f"`seed` must be an int or have one int for each of the {rows} "
            f"documents. Received: {len(seeds)} seeds"
        )
    return [tuple(int(x) for x in s) for s in seeds]


def normals(
    seeds: Sequence, sentences: int, latent_dim: int, sample: int = 0
) -> np.ndarray:
    """Standard normal numbers, float32 (rows, sentences, latent_dim)."""
    pairs = [stream(seed, LATENT, sample) for seed in seeds]
    drawn = philox.normals(pairs, sentences * latent_dim)
    return drawn.reshape(len(seeds), sentences, latent_dim)


def uniforms(seeds: Sequence, sentences: int, words: int) -> np.ndarray:
    """Numbers in [0, 1), float32 (rows, sentences, words).

    Each sentence has a stream of its own, so that the number of words asked
    for does not change the sentences behind.
    """
    pairs = [
        stream(seed, WORDS, sentence)
        for seed in seeds
        for sentence in range(sentences)
    ]
    return philox.uniforms(pairs, words).reshape(len(seeds), sentences, words)


def stream(seed: tuple[int, ...], kind: int, index: int) -> tuple[int, int]:
    """The pair of ints of a stream: what a stateless draw takes.

    That of row 0 is (seed, 2 · index + kind), as an exported graph has it.

    Args:
        seed: a tuple of ints >= 0: a seed and numbers of rows.
        kind: `LATENT` or `WORDS`.
        index: int, less than 2¹⁹.
    """
    first, *rows = seed
    place = 0
    for row in rows:
        place = (place * 0x9E3779B1 + row) % 2**43
    return first % 2**63, place * INDICES + STREAMS * index + kind
