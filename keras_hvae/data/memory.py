"""Documents that are in memory, or in what looks like a list of them."""

import collections.abc
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_hvae.data import reading

# Methods that turn a column of numpy, pandas, polars or pyarrow into a list.
_AS_LIST = ("tolist", "to_list", "to_pylist")


def resolve(documents: Any, key: str, split: str = "") -> Callable:
    """Returns the function that starts to read documents in memory.

    Args:
        documents: a list or what becomes one, or a dataset of Hugging Face.
        key: where the sentences of a document are that is a dictionary.
        split: of the documents, for messages.

    Raises:
        ValueError: if it is anything else, or a list of strings.
    """
    documents = _as_list(documents)
    first = next(iter(documents), None)
    if isinstance(first, str):
        raise ValueError(
            "`source` must be a list of documents; a list of strings is one "
            "document. Give [source] if it is one, and "
            '[text.split("\\n") for text in source] if each string is a '
            f"document with a sentence a line. Received: {first!r:.40} as "
            f"{split}document 0"
        )
    return functools.partial(_read, documents, key, split)


def _as_list(documents):
    if isinstance(documents, (list, tuple)):
        return documents
    library = type(documents).__module__.partition(".")[0]
    # A dataset of Hugging Face is read row by row: it may be larger than
    # memory.
    if library == "datasets" and hasattr(documents, "__iter__"):
        return documents
    for name in _AS_LIST:
        if hasattr(documents, name):
            return getattr(documents, name)()
    hint = ""
    if hasattr(documents, "columns"):
        hint = '; of a table give the column of its documents: table["name"]'
    elif isinstance(documents, collections.abc.Iterator):
        hint = ", which can be read once only: give list(source)"
    raise ValueError(
        "`source` must be a path, the name of a TFDS dataset, a list of "
        "documents, or a dictionary of such lists. Received: "
        f"{type(documents).__name__}{hint}"
    )


def _read(documents, key, split):
    for index, document in enumerate(documents):
        place = f"`source`, {split}document {index}"
        if isinstance(document, collections.abc.Mapping):
            yield reading.take(document, key, place)
            continue
        if isinstance(document, str):
            document = document.split("\n")
        elif not isinstance(document, (list, tuple, np.ndarray)):
            raise ValueError(
                "`source` must hold lists of sentences. Received: "
                f"{document!r:.40} as {split}document {index}"
            )
        yield reading.check_document(document, place)
