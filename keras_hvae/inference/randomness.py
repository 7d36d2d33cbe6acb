"""Random numbers that belong to a row, whatever batch the row is in."""

import numbers

import numpy as np

# Independent streams of the same seed.
LATENT, WORDS = 0, 1


def row_seeds(seed, rows):
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
        # Row 0 of an int seed: a row alone repeats itself inside a batch.
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


def normals(seeds, sentences, latent_dim, sample=0):
    """Standard normal numbers, float32 (rows, sentences, latent_dim)."""
    return _draw(
        seeds,
        (LATENT, sample),
        lambda rng: rng.standard_normal((sentences, latent_dim), "float32"),
    )


def uniforms(seeds, sentences, words):
    """Numbers in [0, 1), float32 (rows, sentences, words).

    Each sentence has a stream of its own, so that the number of words asked
    for does not change the sentences behind.
    """
    return np.stack(
        [
            _draw(
                seeds,
                (WORDS, sentence),
                lambda rng: rng.random(words, "float32"),
            )
            for sentence in range(sentences)
        ],
        axis=1,
    )


def _draw(seeds, stream, draw):
    return np.stack(
        [draw(np.random.default_rng((*seed, *stream))) for seed in seeds]
    )
