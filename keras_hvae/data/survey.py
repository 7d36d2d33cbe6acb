"""Counts words and sizes in a first pass over a split."""

import array
import collections
import hashlib
import itertools
from collections.abc import Callable, Iterable

import numpy as np

_CHUNK = 256
# So that a chunk of long sentences has fewer windows.
_CHUNK_CHARACTERS = 1 << 22


class Survey:
    """What there is in the windows of a split.

    Args:
        windows: iterable of windows, non-empty lists of sentences.
        tokenize: function of sentences that returns their words, as
            `Preprocessor.tokenize`.
        max_sentences: the largest number of sentences in a window.
        max_words: the number of words of a sentence to keep.

    Attributes:
        counts: how often each word is kept.
        shapes: how many windows there are by their number of sentences and by
            the words of their longest sentence, `[EOS]` counted.
        sentences, truncated, dropped: the numbers of sentences, of those with
            too many words, and of the words beyond.
        keys: 64 bits of each window's words, in their order: the same for
            windows that are the same word for word, as far as kept.
    """

    def __init__(
        self,
        windows: Iterable[list[str]],
        tokenize: Callable,
        max_sentences: int,
        max_words: int,
    ) -> None:
        self.counts = collections.Counter()
        self.shapes = np.zeros((max_sentences + 1, max_words + 2), np.int64)
        self.sentences = self.truncated = self.dropped = 0
        keys = array.array("Q")
        for chunk in _chunks(windows):
            self._add(chunk, tokenize, max_words, keys)
        self.keys = np.array(keys, np.uint64)

    def _add(self, windows, tokenize, max_words, keys):
        sentences = list(itertools.chain.from_iterable(windows))
        words = tokenize(sentences)
        lengths = words.row_lengths().numpy()
        words = words[:, :max_words].flat_values.numpy()
        kept = np.minimum(lengths, max_words)
        self.counts.update(words.tolist())
        self.sentences += len(sentences)
        self.truncated += int((lengths > max_words).sum())
        self.dropped += int(lengths.sum()) - len(words)
        sizes = np.array([len(window) for window in windows])
        begins = np.cumsum(sizes) - sizes
        longest = np.maximum.reduceat(kept, begins)
        np.add.at(self.shapes, (sizes, longest + 1), 1)
        ends = np.cumsum(kept)
        texts = iter(
            b" ".join(words[end - length : end])
            for end, length in zip(ends, kept)
        )
        for size in sizes:
            text = b"\n".join(itertools.islice(texts, size))
            key = hashlib.blake2b(text, digest_size=8).digest()
            keys.append(int.from_bytes(key, "little"))

    @property
    def windows(self) -> int:
        return int(self.shapes.sum())

    @property
    def words(self) -> int:
        return self.counts.total()

    @property
    def tokens(self) -> int:
        return self.words + self.sentences


def _chunks(windows):
    """Lists of windows, of so many characters that they fit into memory."""
    chunk, size = [], 0
    for window in windows:
        chunk.append(window)
        size += sum(map(len, window))
        if len(chunk) == _CHUNK or size > _CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
