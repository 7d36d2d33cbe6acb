"""Batches for several devices: each has its rows of the global batch.

A batch is filled up with documents of padding, which count nothing, to a
multiple of the number of devices, and cut into shares of as many rows each:
together they are the batch, and no row is in two of them.
"""

import functools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import tree


def is_dataset(x: Any) -> bool:
    """Whether it is a `tf.data.Dataset`; needs no TensorFlow."""
    return any(
        kind.__name__ == "DatasetV2"
        and kind.__module__.startswith("tensorflow")
        for kind in type(x).__mro__
    )


def fill_up(x: np.ndarray, devices: int) -> np.ndarray:
    """Adds rows of zeros until there are a multiple of `devices`."""
    x = np.asarray(x)
    missing = -len(x) % devices
    return np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1))


def share_of_arrays(
    x: np.ndarray, batch_size: int, count: int, index: int
) -> np.ndarray:
    """The rows of a process in arrays that are cut into batches in order.

    Args:
        x: all rows, `(N, ...)`; `count` divides `N`.
        batch_size: of the global batch, a multiple of `count`.
        count: number of processes.
        index: of this process, from 0.

    Returns:
        `(N / count, ...)`: a share of each batch.
    """
    batches = np.split(x, range(batch_size, len(x), batch_size))
    return np.concatenate([np.split(b, count)[index] for b in batches])


def share(dataset: Any, devices: int, count: int = 1, index: int = 0) -> Any:
    """The rows of a process: those that it puts on its own devices.

    Args:
        dataset: batches, a `tf.data.Dataset` or a `PyDataset`.
        devices: number of devices, of all processes.
        count: number of processes, a divisor of `devices`.
        index: of this process, from 0.

    Returns:
        Batches of the same kind, a share of each.
    """
    if not is_dataset(dataset):
        return SharedBatches(dataset, devices, count, index)
    return _cut(dataset, devices, count).map(
        lambda shares: tree.map_structure(lambda x: x[index], shares)
    )


class SharedBatches(keras.utils.PyDataset):
    """The share of a process of the batches of a `PyDataset`."""

    def __init__(
        self,
        batches: keras.utils.PyDataset,
        devices: int,
        count: int,
        index: int,
    ) -> None:
        super().__init__(
            workers=batches.workers,
            use_multiprocessing=batches.use_multiprocessing,
            max_queue_size=batches.max_queue_size,
        )
        self.batches = batches
        self.devices, self.count, self.index = devices, count, index

    @property
    def num_batches(self) -> int | None:
        return self.batches.num_batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        def own(x):
            x = fill_up(x, self.devices)
            return np.split(x, self.count)[self.index]

        return tree.map_structure(own, self.batches[index])

    def on_epoch_begin(self) -> None:
        self.batches.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.batches.on_epoch_end()


def distribute(dataset: Any, strategy: Any) -> tuple[Any, int | None]:
    """The rows of each replica of a strategy of TensorFlow.

    Args:
        dataset: batches, a `tf.data.Dataset` or a `PyDataset`.
        strategy: a `tf.distribute.Strategy`.

    Returns:
        A distributed dataset for `fit`, and the number of batches of an
        epoch: the dataset itself goes on without end. `None` if that number
        is not known; then the dataset ends.
    """
    import tensorflow as tf

    if not is_dataset(dataset):
        dataset = _as_dataset(dataset)
    steps = int(dataset.cardinality())
    steps = None if steps < 0 else steps
    if steps is not None:
        # Keras reads on in the same one, even if it begins within an epoch.
        dataset = getattr(dataset, "endless", dataset.repeat)()
    replicas = strategy.num_replicas_in_sync

    def shares(context):
        local = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * local
        return _cut(dataset, replicas, replicas).flat_map(
            lambda shares: tf.data.Dataset.from_tensor_slices(
                tree.map_structure(lambda x: x[first : first + local], shares)
            )
        )

    return strategy.distribute_datasets_from_function(shares), steps


def _cut(dataset, devices, count):
    """Batches `(B, ...)` filled up, and in parts: `(count, B / count, ...)`."""
    import tensorflow as tf

    def cut(x):
        rows = tf.shape(x)[0]
        missing = -rows % devices
        x = tf.pad(x, [[0, missing]] + [[0, 0]] * (len(x.shape) - 1))
        parts = [count, (rows + missing) // count]
        return tf.reshape(x, tf.concat([parts, tf.shape(x)[1:]], axis=0))

    return dataset.map(
        lambda batch: tree.map_structure(cut, batch),
        tf.data.AUTOTUNE,
        deterministic=True,
    )


def _as_dataset(batches):
    """A `PyDataset` as a `tf.data.Dataset`; an epoch each time it is read."""
    import tensorflow as tf

    def read() -> Iterator:
        batches.on_epoch_begin()
        for index in range(len(batches)):
            yield batches[index]
        batches.on_epoch_end()

    signature = tree.map_structure(
        lambda x: tf.TensorSpec([None] * np.ndim(x), np.asarray(x).dtype),
        batches[0],
    )

    def make(read, steps):
        dataset = tf.data.Dataset.from_generator(
            read, output_signature=signature
        )
        count = tf.data.experimental.assert_cardinality(steps)
        return dataset.apply(count).prefetch(tf.data.AUTOTUNE)

    order = getattr(batches, "order", {})
    dataset = make(read, order.get("batches", len(batches)))
    if hasattr(batches, "all_epochs"):
        dataset.endless = functools.partial(
            make, batches.all_epochs, tf.data.INFINITE_CARDINALITY
        )
    return dataset
