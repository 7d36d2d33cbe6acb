"""Sequences of frames of the user, as batches."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_hvae.arguments import check_positive_int
from keras_hvae.emissions.emission import Emission


class Frames:
    """The sequences given to a method of a model of frames.

    Args:
        sequences: an array `(n, D)` (one sequence), a list of such arrays, or
            a batch: a dict of `"frames"` `(B, n, D)` and `"mask"` `(B, n)`.
        emission: a `FrameEmission`.

    Attributes:
        single: whether one sequence was given, not a list of them.

    Raises:
        ValueError: if there is no sequence, an empty one, or numbers that the
            emission cannot have.
    """

    def __init__(self, sequences: Any, emission: Emission) -> None:
        self.emission = emission
        self.single = False
        if isinstance(sequences, dict):
            sequences = {k: np.asarray(x) for k, x in sequences.items()}
            emission.check(sequences)
            sequences = emission.unbatch(sequences)
        elif not isinstance(sequences, (list, tuple)):
            sequences = np.asarray(sequences)
            self.single = sequences.ndim == 2
            sequences = sequences[None] if self.single else sequences
        self.rows = [check_frames(x, emission, rank=2) for x in sequences]
        if not self.rows or not all(map(len, self.rows)):
            raise ValueError(
                "`sequences` must be sequences of at least one frame. "
                f"Received: lengths {[len(x) for x in self.rows]}"
            )

    def __len__(self):
        return len(self.rows)

    def batches(
        self, batch_size: int
    ) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
        """Yields the slice of rows and their batch."""
        check_positive_int(batch_size=batch_size)
        for start in range(0, len(self), batch_size):
            rows = slice(start, start + batch_size)
            yield rows, self.emission.batch(self.rows[rows])


def check_frames(frames: Any, emission: Emission, rank: int = 3) -> np.ndarray:
    """Frames as a float32 array; `ValueError` if they are none."""
    array = np.asarray(frames)
    numeric = np.issubdtype(array.dtype, np.number) or array.dtype == bool
    if not numeric or array.ndim != rank or array.shape[-1] != emission.dim:
        shape = ", ".join(("B", "n", str(emission.dim))[-rank:])
        raise ValueError(
            f"Frames must be numbers of shape ({shape}). Received: "
            f"{array.dtype} of shape {array.shape}"
        )
    array = array.astype("float32")
    if not np.isfinite(array).all():
        raise ValueError("Frames must be finite. Received: NaN or infinity")
    emission.check_values(array)
    return array


def check_bits(frames: np.ndarray) -> None:
    """Raises `ValueError` unless all numbers are 0 or 1."""
    if not np.isin(frames, (0, 1)).all():
        raise ValueError(
            "`frames` must be zeros and ones. Received: "
            f"{frames.min()} to {frames.max()}"
        )
