"""Reads windows of ids from TFRecords, and checks each."""

import os
import pathlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_hvae.data.saved import not_a_corpus
from keras_hvae.files import DamagedFileError
from keras_hvae.ids import EOS_ID

if TYPE_CHECKING:
    import tensorflow as tf


_EXPECTED = "windows of ids"


def read_windows(
    paths: Sequence[str | os.PathLike], bounds: Any, vocabulary_size: int
) -> "tf.data.Dataset":
    """A dataset of the windows of a split.

    Args:
        paths: of its files, in their order.
        bounds: more than the sentences of any window, more than the words of
            any sentence.
        vocabulary_size: the number of ids.

    Returns:
        A `tf.data.Dataset` of int32 ids `[n, m]`, padded. While it is read it
        raises `tf.errors.InvalidArgumentError`, which names the file, for an
        example that is not such a window.
    """
    import tensorflow as tf

    files = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    # One reader at a time, or the order could differ between epochs.
    named = files.flat_map(
        lambda path: tf.data.TFRecordDataset(path).map(lambda x: (path, x))
    )

    def parse(path, example):
        numbers = tf.io.RaggedFeature(tf.int64)
        example = tf.io.parse_single_example(
            example, {"ids": numbers, "words": numbers}
        )
        ids, words = example["ids"], example["words"]
        # The place of each sentence's last id; of no list that is too short.
        padded = tf.pad(ids, [[0, 1]])
        ends = tf.clip_by_value(tf.cumsum(words) - 1, 0, tf.size(ids, tf.int64))
        # In this order: no operation of a later check can fail first.
        checks = [
            (tf.size(words) > 0, "no sentence"),
            (tf.size(words) < bounds[0], "too many sentences"),
            (tf.reduce_all(words > 0), "an empty sentence"),
            (tf.reduce_all(words < bounds[1]), "too long a sentence"),
            (
                tf.reduce_sum(words) == tf.size(ids, tf.int64),
                "lengths that do not add up",
            ),
            (
                tf.reduce_all((ids > 0) & (ids < vocabulary_size)),
                "an id that is not in the vocabulary",
            ),
            (
                tf.reduce_all(tf.gather(padded, ends) == EOS_ID),
                "a sentence that does not end with the end sign",
            ),
        ]
        asserts = [
            tf.debugging.Assert(
                right,
                [
                    tf.strings.join(
                        [path, f": expected {_EXPECTED}. Received: ", wrong]
                    )
                ],
            )
            for right, wrong in checks
        ]
        with tf.control_dependencies(asserts):
            rows = tf.RaggedTensor.from_row_lengths(
                tf.cast(ids, tf.int32), words
            )
        return rows.to_tensor()

    return named.map(parse, tf.data.AUTOTUNE, deterministic=True)


def check_examples(
    paths: Sequence[pathlib.Path], shape: np.ndarray, vocabulary_size: int
) -> None:
    """Reads all windows of a split once.

    Args:
        paths: of its files.
        shape: how many windows there are of each size, an array.
        vocabulary_size: the number of ids.

    Raises:
        DamagedFileError: for a window that is none, or if there are others
            than `shape` tells.
    """
    import tensorflow as tf

    found = np.zeros_like(shape)
    for path in paths:
        dataset = read_windows([path], shape.shape, vocabulary_size)
        try:
            for ids in dataset.as_numpy_iterator():
                found[ids.shape] += 1
        except tf.errors.InvalidArgumentError as error:
            # TensorFlow's message begins with the names of its operations.
            match = re.search(f"{_EXPECTED}. Received: ([a-z ]+)", str(error))
            wrong = match[1] if match else "other examples"
            raise DamagedFileError(path, _EXPECTED, wrong) from error
        except tf.errors.DataLossError as error:
            raise DamagedFileError(path, "TFRecords", error.message) from error
    if (found != shape).any():
        raise not_a_corpus(
            paths[0].parent, "its windows are not of the sizes that it tells"
        )
