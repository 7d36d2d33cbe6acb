"""What an evaluation reads: batches of ids, and their documents."""

import zlib

import keras
import numpy as np

from keras_hvae.ids import UNK_ID


def read_batches(dataset, verbose=0):
    """Yields the batches of a dataset as numpy arrays, with a progress bar.

    Args:
        dataset: batches of ids `(B, n, m)`, such as `corpus.test`.
        verbose: whether to show a progress bar.

    Raises:
        ValueError: if the dataset has no document, or something other than
            batches of ids.
    """
    bar = keras.utils.Progbar(
        _length(dataset), verbose=verbose, unit_name="batch"
    )
    found = False
    for ids in dataset:
        ids = keras.ops.convert_to_numpy(ids)
        if ids.ndim != 3 or not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(
                "`dataset` must give batches of int ids (documents, "
                f"sentences, words). Received: {ids.dtype} of shape {ids.shape}"
            )
        found = found or bool(ids.any())
        yield ids.astype("int32", copy=False)
        bar.add(1)
    if not found:
        raise ValueError("`dataset` must have a document. Received: none")


def content_seeds(ids, seed):
    """A seed each by what is in a document: no batch or order changes it."""
    return [(seed, zlib.crc32(row[row != 0].tobytes())) for row in ids]


def draw_documents(dataset, count, seed=0):
    """Documents of a dataset, `count` of them drawn by their content.

    Args:
        dataset: see `read_batches`.
        count: how many to draw, or `None` for all, in their order.
        seed: of the draw.

    Returns:
        A list of int arrays `(n, m)` without padding sentences.
    """
    documents, places = [], []
    for ids in read_batches(dataset):
        for row, (_, crc) in zip(ids, content_seeds(ids, seed)):
            length = (row != 0).any(axis=-1).sum()
            if length:
                words = (row != 0).any(axis=0).sum()
                documents.append(row[:length, :words])
                places.append(zlib.crc32(f"{seed} {crc}".encode()))
    if count is None or count >= len(documents):
        return documents
    return [documents[i] for i in np.argsort(places, kind="stable")[:count]]


def stack(documents):
    """Documents of any size as one array of ids `(B, n, m)`."""
    shape = np.max([x.shape for x in documents], axis=0)
    shape += -shape % (2, 8)  # few shapes are compiled
    ids = np.zeros((len(documents), *shape), "int32")
    for row, document in zip(ids, documents):
        row[: document.shape[0], : document.shape[1]] = document
    return ids


def count_unknown(ids):
    return int((ids == UNK_ID).sum())


def _length(dataset):
    try:
        return len(dataset)
    except TypeError:
        return None
