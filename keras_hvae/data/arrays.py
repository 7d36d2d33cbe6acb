"""Documents of unlike sizes as flat arrays of ids."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

CHUNK = 1000  # documents encoded at a time


class Documents:
    """Documents as flat arrays, each taken out as a padded array of ids."""

    def __init__(
        self, ids: np.ndarray, words: np.ndarray, sentences: np.ndarray
    ) -> None:
        self.ids, self.words, self.sentences = ids, words, sentences
        # Where each document begins: among the sentences, among the ids.
        self.first_sentence = np.cumsum(sentences) - sentences
        self.first_id = np.cumsum(words) - words

    def __len__(self):
        return len(self.sentences)

    def __getitem__(self, index):
        """Ids `(n, m)` of a document, padded with 0."""
        begin = self.first_sentence[index]
        rows = slice(begin, begin + self.sentences[index])
        words = self.words[rows]
        ids = np.zeros((len(words), words.max()), "int32")
        start = self.first_id[begin]
        real = np.arange(ids.shape[1]) < words[:, None]
        ids[real] = self.ids[start : start + words.sum()]
        return ids

    def longest(self) -> np.ndarray:
        """The longest sentence of each document."""
        return np.maximum.reduceat(self.words, self.first_sentence)

    def shapes(self) -> np.ndarray:
        """How many documents there are of each size, an array."""
        longest = self.longest()
        counts = np.zeros(
            (self.sentences.max() + 1, longest.max() + 1), np.int64
        )
        np.add.at(counts, (self.sentences, longest), 1)
        return counts


def flat(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, lengths of sentences and of documents of an array `(B, n, m)`."""
    words = (ids > 0).sum(axis=-1).astype("int32")  # (B, n)
    sentences = (words > 0).sum(axis=-1).astype("int32")
    return ids[ids > 0], words[words > 0], sentences


def chunks(documents: Iterable, size: int) -> Iterator[list]:
    """Lists of at most `size` documents."""
    documents = iter(documents)
    while chunk := list(itertools.islice(documents, size)):
        yield chunk


def sum_shapes(shapes: Iterable[np.ndarray]) -> np.ndarray:
    """The sum of arrays of unlike shapes, each padded with 0."""
    shapes = list(shapes)
    total = np.zeros(np.max([x.shape for x in shapes], axis=0), np.int64)
    for x in shapes:
        total[: x.shape[0], : x.shape[1]] += x
    return total
