"""Random numbers that belong to a row, whatever batch the row is in."""

import numbers

import numpy as np

# Independent streams of the same seed.
LATENT, WORDS = 0, 1


def row_seeds(seed, rows):
    """A seed for each row.

    Args:
        seed: int (row i gets the stream (seed, i)), a sequence of `rows` ints
            (a seed a row), or `None` (fresh entropy).
        rows: number of rows.

    Returns:
        A list of tuples of ints.

    Raises:
        ValueError: for a seed that is no int >= 0, or the wrong number.
    """
    if seed is None:
        seed = int(np.random.SeedSequence().entropy % 2**63)
    one = np.ndim(seed) == 0
    for s in [seed] if one else seed:
        if not isinstance(s, numbers.Integral) or s < 0:
            raise ValueError(f"`seed` must be an int >= 0. Received: {s!r}")
    if one:
        seeds = [(int(seed), row) for row in range(rows)]
    else:
        # Row 0 of an int seed: a row alone repeats itself inside a batch.
        seeds = [(int(s), 0) for s in seed]
    if len(seeds) != rows:
        raise ValueError(
            f"`seed` must be an int or have one int for each of the {rows} "
            f"documents. Received: {len(seeds)} seeds"
        )
    return seeds


def normals(seeds, sentences, latent_dim, sample=0):
    """Standard normal numbers, float32 (rows, sentences, latent_dim)."""
    return _draw(
        seeds,
        (LATENT, sample),
        lambda rng: rng.standard_normal((sentences, latent_dim), "float32"),
    )


def uniforms(seeds, sentences, words, first_sentence=0):
    """Numbers in [0, 1), float32 (rows, sentences, words).

    Each sentence has a stream of its own, so that the number of words asked
    for does not change the sentences behind.
    """
    return np.stack(
        [
            _draw(
                seeds,
                (WORDS, first_sentence + sentence),
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
