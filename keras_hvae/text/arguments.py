"""Checks of the arguments of a `Preprocessor`."""

import collections
from typing import Any

import numpy as np

from keras_hvae.arguments import check_positive_int
from keras_hvae.ids import SPECIAL_TOKENS
from keras_hvae.text.scripts import is_blank


def check_vocabulary(vocabulary: Any) -> list[str]:
    """Returns the words of `vocabulary` without the special ones."""
    if isinstance(vocabulary, (str, bytes)):
        raise ValueError(
            "`vocabulary` must be a sequence of words, not one string. "
            f"Received: {vocabulary[:40]!r}"
        )
    words = list(vocabulary)
    if tuple(words[: len(SPECIAL_TOKENS)]) == SPECIAL_TOKENS:
        words = words[len(SPECIAL_TOKENS) :]
    if not words:
        raise ValueError(
            "`vocabulary` must hold at least one word besides the special "
            f"ones. Received: {vocabulary!r}"
        )
    for index, word in enumerate(words):
        if not isinstance(word, str):
            raise ValueError(
                f"`vocabulary` must hold strings only. Received: {word!r} of "
                f"type {type(word).__name__} as word {index}"
            )
        if not word or any(map(is_blank, word)):
            raise ValueError(
                "`vocabulary` must hold words that are not empty and have no "
                f"white space in them. Received: {word!r} as word {index}"
            )
    counts = collections.Counter((*SPECIAL_TOKENS, *words))
    twice = [word for word, count in counts.items() if count > 1]
    if twice:
        raise ValueError(
            "`vocabulary` must hold each word once, and special words only at "
            f"its begin. Received: {twice[:5]} more than once"
        )
    return words


def check_vocabulary_size(size: Any) -> None:
    """Raises a `ValueError` if there is no room for a word."""
    check_positive_int(vocabulary_size=size)
    smallest = len(SPECIAL_TOKENS) + 1
    if size < smallest:
        raise ValueError(
            f"`vocabulary_size` must be at least {smallest}: the "
            f"{smallest - 1} special ids and a word. Received: {size!r}"
        )


def check_limit(name: str, limit: Any) -> int | None:
    """Returns `limit`, a positive integer or `None`."""
    if limit is not None:
        check_positive_int(**{name: limit})
    return limit


def check_ids(ids: Any, size: int) -> None:
    """Raises a `ValueError` if `ids` is no array of ids less than `size`."""
    if not np.issubdtype(ids.dtype, np.integer) or ids.ndim < 1:
        raise ValueError(
            "`ids` must be an array of integers with at least one axis. "
            f"Received: dtype {ids.dtype}, shape {ids.shape}"
        )
    if ids.size and not 0 <= ids.min() <= ids.max() < size:
        raise ValueError(
            f"`ids` must be at least 0 and less than {size}, the size of the "
            f"vocabulary. Received: {ids.min()} to {ids.max()}"
        )


def check_documents(documents: Any) -> list:
    """Returns `documents` as a list of non-empty lists of sentences."""
    if isinstance(documents, (str, bytes)):
        raise ValueError(
            "`documents` must be a list of documents, not one string. "
            f"Received: {documents[:40]!r}"
        )
    documents = [
        [line for line in document.split("\n") if line.strip()]
        if isinstance(document, str)
        else list(document)
        for document in documents
    ]
    if not documents:
        raise ValueError(
            "`documents` must hold at least one document. Received: none"
        )
    for index, document in enumerate(documents):
        if not document:
            raise ValueError(
                "`documents` must each have at least one sentence. Received: "
                f"none in document {index}"
            )
        for sentence in document:
            if not isinstance(sentence, str):
                raise ValueError(
                    "`documents` must be lists of strings. Received: "
                    f"{sentence!r} of type {type(sentence).__name__} in "
                    f"document {index}"
                )
    return documents
