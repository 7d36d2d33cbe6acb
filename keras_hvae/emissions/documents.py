"""Documents of the user, strings or ids, as batches of ids."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_hvae.arguments import check_positive_int
from keras_hvae.ids import EOS_ID, PAD_ID, UNK_ID
from keras_hvae.text.preprocessor import Preprocessor

MUCH_UNKNOWN = 0.2


class Documents:
    """The documents given to a method of a model.

    Args:
        documents: strings if there is a preprocessor: one document (a list of
            sentences, or a string with a sentence a line) or a list of
            documents. Or ids: an int array of shape `(n, m)` (one document)
            or `(B, n, m)`.
        preprocessor: a `Preprocessor` or `None`.
        vocabulary_size: number of ids.

    Attributes:
        single: whether one document was given, not a list of documents.
        as_text: whether strings were given.
        unknown: of each document that `batches` has given, how many of its
            words are unknown: int array `(B,)`.

    Raises:
        ValueError: if there is no document, an empty document, an id out of
            range, padding before a word, or anything that is neither strings
            nor ids.
    """

    def __init__(
        self,
        documents: Sequence | np.ndarray,
        preprocessor: Preprocessor | None,
        vocabulary_size: int,
    ) -> None:
        self.preprocessor: Any = preprocessor
        if isinstance(documents, str):
            documents = documents.split("\n")
        self.as_text = _is_text(documents)
        if self.as_text:
            if preprocessor is None:
                raise ValueError(
                    "This model has no preprocessor: give int ids of shape "
                    "(documents, sentences, words), or build the model with "
                    f"a `vocabulary` of words. Received: {_brief(documents)}"
                )
            self.single = isinstance(documents[0], str)
            documents = [documents] if self.single else documents
            self.rows: Any = [_sentences(x, i) for i, x in enumerate(documents)]
            self.lengths: np.ndarray = np.array([len(x) for x in self.rows])
        else:
            ids = check_ids(documents, vocabulary_size)
            self.single = ids.ndim == 2
            self.rows = ids[None] if self.single else ids
            self.lengths = (self.rows != PAD_ID).any(-1).sum(-1)
            if not self.lengths.all():
                empty = int(np.argmin(self.lengths))
                raise ValueError(
                    "Every document needs a sentence with words. Received: "
                    f"document {empty} with padding only"
                )

        self.unknown = np.zeros(len(self.rows), int)

    def __len__(self):
        return len(self.rows)

    def batches(self, batch_size: int) -> Iterator[tuple[slice, np.ndarray]]:
        """Yields the slice of rows and their ids `(B, n, m)`.

        n and m are rounded up so that few shapes are compiled. At the end it
        warns if much of the text is unknown.
        """
        check_positive_int(batch_size=batch_size)
        words = 0
        for start in range(0, len(self), batch_size):
            rows = slice(start, start + batch_size)
            ids = self.rows[rows]
            if self.as_text:
                ids = self.preprocessor(ids)
            room = [-ids.shape[1] % 2, -ids.shape[2] % 8]
            self.unknown[rows] = (ids == UNK_ID).sum(axis=(1, 2))
            words += ((ids != PAD_ID) & (ids != EOS_ID)).sum()
            yield rows, np.pad(ids, [(0, 0), *((0, r) for r in room)])
        if self.as_text:
            warn_of_unknown(self.unknown.sum(), words)


def warn_of_unknown(unknown: int, words: int) -> float:
    """Warns if many of so many words are unknown; returns their share."""
    rate = float(unknown / max(words, 1))
    if rate > MUCH_UNKNOWN:
        warnings.warn(
            f"{rate:.0%} of the words are not in the model's vocabulary: what "
            "it says of this text means little.",
            stacklevel=3,
        )
    return rate


def _is_text(documents):
    if not isinstance(documents, (list, tuple)):
        return False
    if not documents:
        raise ValueError("`documents` must not be empty. Received: []")
    first = documents[0]
    if isinstance(first, (list, tuple)) and first:
        first = first[0]
    return isinstance(first, str) or (isinstance(first, list) and not first)


def _sentences(document, index):
    if isinstance(document, str):
        document = document.split("\n")
    if not isinstance(document, (list, tuple)):
        raise ValueError(
            f"Document {index} must be a list of strings. "
            f"Received: {_brief(document)}"
        )
    bad = [s for s in document if not isinstance(s, str)]
    if bad:
        raise ValueError(
            f"Document {index} must be a list of strings. "
            f"Received: {_brief(bad[0])}"
        )
    sentences = [s for s in document if s.strip()]
    if not sentences:
        raise ValueError(
            f"Document {index} must have a sentence that is not blank. "
            f"Received: {_brief(document)}"
        )
    return sentences


def check_ids(documents: Any, vocabulary_size: int) -> np.ndarray:
    """Ids as an int32 array; `ValueError` if they are no documents."""
    try:
        ids = np.asarray(documents)
    except ValueError as error:  # rows of different lengths
        raise ValueError(
            "Ids must form an array of shape (documents, sentences, words). "
            f"Received: {_brief(documents)}"
        ) from error
    if ids.ndim not in (2, 3) or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(
            "`documents` must be lists of strings, or int ids of shape "
            "(sentences, words) or (documents, sentences, words). Received: "
            f"{ids.dtype} of shape {ids.shape}"
        )
    if not ids.size:
        raise ValueError(
            f"`documents` must not be empty. Received: shape {ids.shape}"
        )
    if ids.min() < 0 or ids.max() >= vocabulary_size:
        raise ValueError(
            f"Ids must be in [0, {vocabulary_size}). "
            f"Received: {ids.min()} to {ids.max()}"
        )
    words = ids != PAD_ID
    for real in (words, words.any(axis=-1)):
        if (~real[..., :-1] & real[..., 1:]).any():
            raise ValueError(
                "Padding (id 0) must come last, in a sentence and in a "
                f"document. Received: {_brief(ids.tolist())}"
            )
    return ids.astype("int32", copy=False)


def _brief(value):
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
