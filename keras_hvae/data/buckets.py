"""Windows of like size, batched together."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


_MOST_PARTS = 4


class Buckets:
    """A grid of window sizes: number of sentences x longest sentence.

    A window is padded to the next bound on both axes, so that batches come in
    few shapes, which matters where a model is compiled for each.

    Args:
        shapes: how many windows there are of each size, an array.
        batch_size: the number of windows in a batch. There are fewer buckets
            where there are few batches to fill them with.

    Attributes:
        bounds: the bounds of both axes, two ascending arrays.
    """

    def __init__(self, shapes: np.ndarray, batch_size: int) -> None:
        batches = shapes.sum() / batch_size
        parts = int(np.clip(np.sqrt(batches / 4), 1, _MOST_PARTS))
        self.batch_size = batch_size
        self.bounds = [
            np.unique(-(-axis.max() * np.arange(1, parts + 1) // parts))
            for axis in shapes.nonzero()
        ]

    def count(self, shapes: np.ndarray) -> np.ndarray:
        """Returns how many windows of an array of sizes are in each bucket."""
        index = np.meshgrid(*map(np.arange, shapes.shape), indexing="ij")
        i, j = (
            np.searchsorted(bounds, axis)
            for bounds, axis in zip(self.bounds, index, strict=True)
        )
        counts = np.zeros([len(bounds) for bounds in self.bounds], np.int64)
        real = shapes > 0
        np.add.at(counts, (i[real], j[real]), shapes[real])
        return counts

    def batches(self, shapes: np.ndarray, fill: bool) -> tuple[int, int]:
        """Returns the numbers of batches and of their positions.

        Args:
            shapes: how many windows there are of each size.
            fill: whether batches are filled up.
        """
        counts = self.count(shapes)
        batches = -(-counts // self.batch_size)
        documents = batches * self.batch_size if fill else counts
        sizes = np.multiply.outer(*self.bounds)
        return int(batches.sum()), int((documents * sizes).sum())

    def apply(
        self, windows: "tf.data.Dataset", fill: bool
    ) -> "tf.data.Dataset":
        """Batches windows.

        Args:
            windows: dataset of int32 ids `[n, m]`, padded.
            fill: whether to fill the last batch of each bucket up with
                windows of padding.

        Returns:
            Dataset of int32 ids `[batch_size, n, m]` where n and m are bounds.
        """
        import tensorflow as tf

        bounds = [tf.constant(bounds, tf.int64) for bounds in self.bounds]
        width = len(self.bounds[1])

        def bucket(ids):
            size = tf.shape(ids, tf.int64)
            i, j = (
                tf.searchsorted(bounds[axis], size[axis : axis + 1])[0]
                for axis in (0, 1)
            )
            return tf.cast(i * width + j, tf.int64)

        def batch(key, group):
            shape = [bounds[0][key // width], bounds[1][key % width]]
            return group.padded_batch(self.batch_size, tf.stack(shape))

        def fill_up(ids):
            missing = self.batch_size - tf.shape(ids)[0]
            ids = tf.pad(ids, [[0, missing], [0, 0], [0, 0]])
            return tf.ensure_shape(ids, [self.batch_size, None, None])

        batches = windows.group_by_window(bucket, batch, self.batch_size)
        return batches.map(fill_up) if fill else batches
