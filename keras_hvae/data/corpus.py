"""A corpus, ready for a model."""

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from keras_hvae.data.report import Report
from keras_hvae.text.preprocessor import Preprocessor
from keras_hvae.vocabularies import mark_vocabulary


class Corpus:
    """A corpus, ready for a model. Made by `load`.

    Args:
        name: of the corpus.
        vocabulary: the `Preprocessor` that turns its sentences into ids.
        windows: for each split a function that starts to read its windows,
            lists of sentences.
        batches: for each split its dataset.
        report: what it holds, a `Report`.
        digest: see below.

    Attributes:
        train, valid, test: datasets of int32 ids, documents x sentences x
            words, padded with 0; `None` for a split without documents. A
            `tf.data.Dataset`, or `IdBatches` if it was read from `.npz`. As
            their `corpus_vocabulary` they know the vocabulary, which must be
            that of the model that they are given to. The order of `train` is
            a function of the seed and the epoch: each iteration that is begun
            is the next epoch, and `train.start_at(epoch, step)` lets the next
            one begin anywhere.
        digest: SHA-256, hexadecimal, of the sentences, documents and splits
            of the source, whatever was then made of them. Two corpora with
            the same digest hold the same text: a file that was moved, copied,
            compressed or turned from `.txt` into `.jsonl`, or read with other
            arguments; and a corpus that was saved has that of its source.

    Example:

    >>> from keras_hvae.data import load
    >>> corpus = load([["Who's there?", "Nay, answer me."], ["Long live!"]])
    >>> corpus.documents("train", limit=1)
    [["Who's there?", 'Nay, answer me.']]
    """

    def __init__(
        self,
        name: str,
        vocabulary: Preprocessor,
        windows: Mapping[str, Callable],
        batches: dict[str, Any],
        report: Report,
        digest: str,
    ) -> None:
        self.name = name
        self.vocabulary = vocabulary
        self.train: Any = batches.get("train")
        self.valid = batches.get("valid")
        self.test = batches.get("test")
        self.report = report
        self.digest = digest
        for dataset in batches.values():
            mark_vocabulary(dataset, vocabulary)
            dataset.corpus_digest = digest
        self._windows = windows

    def documents(
        self, split: str, limit: int | None = None
    ) -> list[list[str]]:
        """Returns the documents that the model sees, as they were written.

        Args:
            split: `"train"`, `"valid"` or `"test"`.
            limit: the largest number to return; `None` for all.

        Returns:
            List of lists of sentences, in the order of the source, after the
            long documents have been cut.

        Raises:
            ValueError: if there is no such split.
        """
        return list(itertools.islice(self.windows(split), limit))

    def windows(self, split: str) -> Iterator[list[str]]:
        """Like `documents`, but read one after the other: an iterator."""
        if split not in self._windows:
            raise ValueError(
                f"`split` must be one of {', '.join(self._windows)}: the "
                f"splits with documents. Received: {split!r}"
            )
        return self._windows[split]()

    def save(self, path: str | os.PathLike) -> None:
        """Writes the ids of all splits and the vocabulary.

        `load` reads them without tokenizing anew. The documents are those of
        the ids: what was cut off or unknown is not kept.

        Args:
            path: a file name that ends with `.npz`: one file of plain arrays,
                read into memory; a model trains from it where TensorFlow is
                not installed. Or the name of a new folder: TFRecords, read as
                they are needed, with `SHA256SUMS` of its files.

        Raises:
            ValueError: if the folder exists.
            FileNotFoundError: if there is no folder to write it in.
        """
        from keras_hvae.data import npz, records

        if str(path).endswith(".npz"):
            npz.save_npz(self, path)
        else:
            records.save_records(self, path)
