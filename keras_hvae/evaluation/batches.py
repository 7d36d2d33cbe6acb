"""What an evaluation reads: batches of ids, and their documents."""

import zlib
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from keras_hvae.emissions.emission import Emission
from keras_hvae.ids import UNK_ID


def read_batches(
    dataset: Iterable, emission: Emission, verbose: int = 0
) -> Iterator:
    """Yields the batches of a dataset as numpy arrays, with a progress bar.

    Args:
        dataset: batches of documents, such as `corpus.test`.
        emission: of the model: what a batch is.
        verbose: whether to show a progress bar.

    Raises:
        ValueError: if the dataset has no document, or something other than
            batches of such.
    """
    bar = keras.utils.Progbar(
        _length(dataset), verbose=verbose, unit_name="batch"
    )
    found = False
    for x in dataset:
        x = keras.tree.map_structure(keras.ops.convert_to_numpy, x)
        x = emission.checked_batch(x)
        found = found or any(map(len, emission.unbatch(x)))
        yield x
        bar.add(1)
    if not found:
        raise ValueError("`dataset` must have a document. Received: none")


def content_seeds(
    documents: Iterable[np.ndarray], emission: Emission, seed: int
) -> list[tuple[int, int]]:
    """A seed each by what is in a document: no batch or order changes it.

    Args:
        documents: arrays `(n, ...)`.
        emission: of the model.
        seed: int.
    """
    return [(seed, emission.crc32(document)) for document in documents]


def draw_documents(
    dataset: Iterable, emission: Emission, count: int | None, seed: int = 0
) -> list[np.ndarray]:
    """Documents of a dataset, `count` of them drawn by their content.

    Args:
        dataset, emission: see `read_batches`.
        count: how many to draw, or `None` for all, in their order.
        seed: of the draw.

    Returns:
        A list of arrays `(n, ...)` without padding.
    """
    documents, places = [], []
    for x in read_batches(dataset, emission):
        for document in emission.unbatch(x):
            if len(document):
                crc = emission.crc32(document)
                documents.append(document)
                places.append(zlib.crc32(f"{seed} {crc}".encode()))
    if count is None or count >= len(documents):
        return documents
    return [documents[i] for i in np.argsort(places, kind="stable")[:count]]


def count_unknown(ids: np.ndarray) -> int:
    return int((ids == UNK_ID).sum())


def _length(dataset):
    try:
        return len(dataset)
    except TypeError:
        return None
