"""The order of a dataset's batches, a function of seed, epoch and step."""

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


class EpochOrder:
    """Tells a `tf.data.Dataset` which epoch comes next, and from where.

    Each iteration of the dataset that is begun is an epoch of its own: of the
    epoch `epoch`, of which the batch `step` comes first. The batches before
    it come at the end, so that an epoch always has the same number.

    Args:
        seed: of the order; `None` draws one.
        steps: the number of batches of an epoch.

    Attributes:
        epoch: which epoch's order comes next, from 0.
        step: which batch of it comes first, from 0.
    """

    def __init__(self, seed: int | None, steps: int) -> None:
        if seed is None:
            seed = int(np.random.default_rng().integers(2**31))
        self.seed = seed
        self.steps = steps
        self.epoch = self.step = 0

    def start_at(self, epoch: int, step: int = 0) -> None:
        """Lets the next iteration begin there.

        Args:
            epoch: from 0.
            step: number of batches of the epoch that went before.

        Raises:
            ValueError: if the epoch has no such batch.
        """
        check_start(epoch, step, self.steps)
        self.epoch, self.step = epoch, step

    def apply(
        self,
        windows: "tf.data.Dataset",
        shuffle_buffer: int,
        batch: Callable,
        check: Callable[[], None] | None = None,
    ) -> "tf.data.Dataset":
        """Shuffles and batches windows.

        Args:
            windows: dataset of int32 ids `[n, m]`, in the same order whenever
                it is read.
            shuffle_buffer: how many of them are shuffled at a time.
            batch: function that makes batches of a dataset of windows.
            check: called when an epoch begins; what it raises ends it.

        Returns:
            Dataset of int32 ids, with the method `start_at`, the dict `order`
            of what decides on its order, and the method `endless` that makes
            a dataset of this epoch and all that follow, without the batches
            before `step`.
        """
        import tensorflow as tf

        def epoch_of(start):
            epoch, step = start[0], start[1]
            # The order shall not depend on the seed of the process: here this
            # sets the seed of the graph that tf.data runs, and no other. It
            # must not be 0: TensorFlow compares it with the other seed then.
            tf.random.set_seed(1 + self.seed % (2**31 - 2))
            batches = batch(
                windows.shuffle(
                    shuffle_buffer, epoch, reshuffle_each_iteration=False
                )
            )
            return batches.skip(step), batches.take(step)

        def read(starts, part):
            starts = tf.data.Dataset.from_generator(
                functools.partial(starts, check),
                output_signature=tf.TensorSpec([2], tf.int64),
            )
            return starts.flat_map(part)

        def whole(start):
            rest, before = epoch_of(start)
            return rest.concatenate(before)

        def endless():
            return read(self._all_starts, lambda x: epoch_of(x)[0])

        batches = read(self._starts, whole)
        batches = batches.apply(
            tf.data.experimental.assert_cardinality(self.steps)
        )
        batches = batches.prefetch(tf.data.AUTOTUNE)
        batches.endless = endless
        batches.start_at = self.start_at
        batches.order = {
            "seed": self.seed,
            "batches": self.steps,
            "shuffle_buffer": shuffle_buffer,
        }
        return batches

    def _starts(
        self, check: Callable[[], None] | None
    ) -> Iterator[tuple[int, int]]:
        """Runs when the first batch is asked for: then the epoch counts."""
        if check is not None:
            check()
        start = self.epoch, self.step
        self.epoch, self.step = self.epoch + 1, 0
        yield start

    def _all_starts(
        self, check: Callable[[], None] | None
    ) -> Iterator[tuple[int, int]]:
        """Of this epoch and all that follow, whatever `start_at` is told."""
        epoch, step = self.epoch, self.step
        while True:
            if check is not None:
                check()
            self.epoch, self.step = epoch + 1, 0
            yield epoch, step
            epoch, step = epoch + 1, 0


def check_start(epoch: int, step: int, steps: int) -> None:
    """Raises `ValueError` unless an epoch has a batch of that number."""
    for name, value in (("epoch", epoch), ("step", step)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(
                f"`{name}` must be an int >= 0. Received: {value!r}"
            )
    if step >= steps:
        raise ValueError(
            f"`step` must be less than {steps}, the number of batches of an "
            f"epoch. Received: {step}"
        )
