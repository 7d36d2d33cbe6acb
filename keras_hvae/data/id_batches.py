"""Batches of ids from arrays in memory, without TensorFlow."""

import copy
import itertools
from collections.abc import Iterator

import keras
import numpy as np

from keras_hvae.data import arrays
from keras_hvae.data.buckets import Buckets
from keras_hvae.data.epoch_order import check_start


class IdBatches(keras.utils.PyDataset):
    """Batches of documents that are ids, for `fit`, on every backend.

    Documents of like size are batched together and padded to few shapes. The
    order of epoch k is a function of `seed` and k alone: to go on with a
    training within epoch k, call `start_at(k, step)`.

    Args:
        documents: a sequence of int arrays `(n, m)`, with `sentences` and
            `longest()` for their sizes.
        buckets: the `Buckets` that sort them.
        shuffle: whether to shuffle in each epoch, and to fill the last batch
            of each bucket up with documents of padding.
        seed: of the order.

    Attributes:
        epoch: which epoch's order comes next, from 0.
        step: which batch of it comes first, from 0; those before it are left
            out.
    """

    def __init__(
        self,
        documents: arrays.Documents,
        buckets: Buckets,
        shuffle: bool,
        seed: int,
    ) -> None:
        super().__init__()
        self.documents = documents
        self.buckets = buckets
        self.shuffle = shuffle
        self.seed = seed
        rows, columns = buckets.bounds
        self._key = np.searchsorted(rows, documents.sentences) * len(
            columns
        ) + np.searchsorted(columns, documents.longest())
        full = -(-np.bincount(self._key) // buckets.batch_size)
        self._steps = int(full.sum())
        self.epoch = 0

    @property
    def epoch(self) -> int:
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self.start_at(epoch)

    def start_at(self, epoch: int, step: int = 0) -> None:
        """Lets the next epoch be that one, without its first batches.

        Args:
            epoch: from 0.
            step: number of batches of the epoch that went before.

        Raises:
            ValueError: if the epoch has no such batch.
        """
        check_start(epoch, step, self._steps)
        self._epoch, self.step = epoch, step
        self._begun = self._whole = False  # `_whole`: up to its last batch
        self._plan = self._make_plan()[step:]

    def all_epochs(self) -> Iterator[np.ndarray]:
        """Batches of this epoch and of all that follow.

        What `start_at` is told meanwhile does not count.
        """
        own = copy.copy(self)
        while True:
            for index in range(len(own)):
                yield own[index]
            own.start_at(own.epoch + 1)
            self.start_at(own.epoch)

    @property
    def order(self) -> dict[str, int]:
        """What decides on the order."""
        return {"seed": self.seed, "batches": self._steps}

    def _make_plan(self):
        """The documents of each batch."""
        order = np.arange(len(self.documents))
        rng = np.random.default_rng((self.seed, self.epoch))
        if self.shuffle:
            rng.shuffle(order)
        size = self.buckets.batch_size
        plan = []
        for key in np.unique(self._key):
            chosen = order[self._key[order] == key]
            plan += [
                (key, chosen[start : start + size])
                for start in range(0, len(chosen), size)
            ]
        if self.shuffle:
            rng.shuffle(plan)
        return self._lead(plan)

    def _lead(self, plan):
        """Puts two batches first that differ in all that differs at all.

        On TensorFlow, Keras reads the first two to learn which dimensions
        vary, and takes the others for fixed.
        """
        keys = [key for key, _ in plan]
        shapes = np.array(np.divmod(keys, len(self.buckets.bounds[1]))).T
        varies = (shapes != shapes[:1]).any(axis=0)
        first = [keys.index(key) for key in dict.fromkeys(keys)]
        for pair in itertools.combinations(first, 2):
            if (shapes[pair[0]] != shapes[pair[1]])[varies].all():
                rest = (x for i, x in enumerate(plan) if i not in pair)
                return [*(plan[i] for i in pair), *rest]
        return plan

    def __len__(self):
        return len(self._plan)

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError(index)
        if index == len(self) - 1:
            self._whole = self._begun
        key, chosen = self._plan[index]
        rows, columns = self.buckets.bounds
        count = self.buckets.batch_size if self.shuffle else len(chosen)
        shape = count, rows[key // len(columns)], columns[key % len(columns)]
        batch = np.zeros(shape, "int32")
        for row, document in zip(batch, chosen):
            ids = self.documents[document]
            row[: ids.shape[0], : ids.shape[1]] = ids
        return batch

    # `fit` calls `on_epoch_end` also for epochs that never began, or that
    # ended before their last batch.

    def on_epoch_begin(self) -> None:
        self._begun, self._whole = True, False

    def on_epoch_end(self) -> None:
        if self._whole:
            self.epoch += 1
        self._begun = False
