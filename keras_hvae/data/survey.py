"""The first pass over the documents of a split."""

import collections
import itertools

import numpy as np

_CHUNK = 256


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
    """

    def __init__(self, windows, tokenize, max_sentences, max_words):
        self.counts = collections.Counter()
        self.shapes = np.zeros((max_sentences + 1, max_words + 2), np.int64)
        self.sentences = self.truncated = self.dropped = 0
        windows = iter(windows)
        while chunk := list(itertools.islice(windows, _CHUNK)):
            self._add(chunk, tokenize, max_words)

    def _add(self, windows, tokenize, max_words):
        sentences = list(itertools.chain.from_iterable(windows))
        words = tokenize(sentences)
        lengths = words.row_lengths().numpy()
        words = words[:, :max_words].flat_values.numpy()
        self.counts.update(words.tolist())
        self.sentences += len(sentences)
        self.truncated += int((lengths > max_words).sum())
        self.dropped += int(lengths.sum()) - len(words)
        sizes = np.array([len(window) for window in windows])
        begins = np.cumsum(sizes) - sizes
        longest = np.maximum.reduceat(np.minimum(lengths, max_words), begins)
        np.add.at(self.shapes, (sizes, longest + 1), 1)

    @property
    def windows(self):
        return int(self.shapes.sum())

    @property
    def words(self):
        return self.counts.total()

    @property
    def tokens(self):
        return self.words + self.sentences
