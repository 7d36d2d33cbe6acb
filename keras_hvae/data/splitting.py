"""Splits documents, and cuts them into windows."""

import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_hvae.data.sources import SPLITS
from keras_hvae.data.unchanged import Unchanged


def check_fractions(fractions: Sequence[float]) -> None:
    """Raises a `ValueError` if `fractions` are not the shares of splits."""
    if (
        len(fractions) != len(SPLITS)
        or not all(0 <= fraction <= 1 for fraction in fractions)
        or not math.isclose(sum(fractions), 1)
        or not fractions[0]
    ):
        raise ValueError(
            "`split` must be the shares of the train, valid and test split, "
            "at least 0, with 1 as their sum and some for train. Received: "
            f"{fractions!r}"
        )


def split_up(
    streams: Mapping[str, Callable],
    fractions: Sequence[float],
    seed: int | None,
    name: str = "memory",
) -> tuple[Mapping[str, Callable], dict[str, int], int, str]:
    """Counts the documents and splits them if the source has no splits.

    Args:
        streams: functions to read the documents with, of `sources.resolve`.
        fractions: those of the train, valid and test split.
        seed: of the draw.
        name: of the corpus, for messages.

    Returns:
        For each split a function to read it and the number of its documents;
        the number of documents without sentences; and the SHA-256 of all
        sentences, documents and splits of the source, hexadecimal.
    """
    same = {}
    for part, read in streams.items():
        paths = getattr(read, "paths", ())
        what = ", ".join(map(str, paths)) or f"{name}, {part}"
        same[part] = Unchanged(read, what, paths)
    skipped = sum(x.blank for x in same.values())
    digests = (f"{part} {same[part].digest}\n" for part in sorted(same))
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()
    if "all" not in same:
        counts = {part: x.documents for part, x in same.items()}
        return same, counts, skipped, digest
    splits = assign(same["all"].documents, fractions, seed)
    documents = {
        part: functools.partial(select, same["all"], splits, index)
        for index, part in enumerate(SPLITS)
    }
    counts = np.bincount(splits, minlength=len(SPLITS)).tolist()
    counts = dict(zip(SPLITS, counts, strict=True))
    return documents, counts, skipped, digest


def assign(
    count: int, fractions: Sequence[float], seed: int | None
) -> np.ndarray:
    """Draws the split of each document.

    Args:
        count: the number of documents.
        fractions: those of the train, valid and test split.
        seed: of the draw.

    Returns:
        Array of `count` indices into `SPLITS`. A split with a fraction has at
        least one document, but with fewer than 3 documents all are train.
    """
    splits = np.zeros(count, np.uint8)
    if count >= len(SPLITS):
        order = np.random.default_rng(seed).permutation(count)
        begin = 0
        for index, fraction in enumerate(fractions[1:], 1):
            size = max(round(count * fraction), 1) if fraction else 0
            # Leaves at least one document for train and for each later split.
            size = min(size, count - begin - (len(SPLITS) - index))
            splits[order[begin : begin + size]] = index
            begin += size
    return splits


def select(
    stream: Callable, splits: np.ndarray, index: int
) -> Iterator[list[str]]:
    """Yields the documents that `assign` put into the split `index`."""
    documents = filter(None, stream())
    for document, split in zip(documents, splits, strict=True):
        if split == index:
            yield document


def windows(
    documents: Iterable, max_sentences: int, begins: Any = None
) -> Iterator[list[str]]:
    """Yields the documents in pieces of at most `max_sentences`.

    Args:
        documents: an iterable of lists of sentences.
        max_sentences: of a piece.
        begins: a list or array; for each piece it is told whether it is the
            first of a document.
    """
    for document in documents:
        for begin in range(0, len(document), max_sentences):
            if begins is not None:
                begins.append(begin == 0)
            yield document[begin : begin + max_sentences]
