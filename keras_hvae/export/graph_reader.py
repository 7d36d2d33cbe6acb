"""Documents as strings to ids, within caps, in a graph."""

import tensorflow as tf

from keras_hvae.export.checks import behind, require
from keras_hvae.ids import EOS_ID, PAD_ID
from keras_hvae.text.preprocessor import Preprocessor

# What Python's `str.strip` takes for white space.
_WHITE = r"[\s\v\p{Z}\x{1c}-\x{1f}\x{85}]*"
# On average, of a word that is kept: 15 characters of any script.
_WORD_BYTES = 48


class GraphReader:
    """Turns documents, strings with a sentence a line, into ids.

    Blank lines are left out. What is over a cap is cut off, which
    `"truncated"` tells; a batch over its cap is an error. A document also
    has a cap of bytes, so many that only lists of very long words reach it:
    what it is split into never grows with what is sent.

    Args:
        preprocessor: a `Preprocessor`.
        max_documents: largest number of rows of a request.
        max_sentences: number of sentences of a document to keep.
        max_words: number of words of a sentence to keep.
    """

    def __init__(
        self,
        preprocessor: Preprocessor,
        max_documents: int,
        max_sentences: int,
        max_words: int,
    ) -> None:
        self.preprocessor = preprocessor
        self.max_documents = max_documents
        self.max_sentences = max_sentences
        self.max_words = max_words
        self.max_bytes = _WORD_BYTES * max_sentences * max_words

    def __call__(
        self, documents: "tf.Tensor", keep: str = "first"
    ) -> "tuple[tf.Tensor, tf.Tensor]":
        """Ids `(B, n, m)`, n and m >= 1, and `"truncated"`, bool `(B,)`.

        Args:
            documents: strings `(B,)`.
            keep: `"first"` or `"last"`: the sentences to keep of a document
                that has too many.
        """
        documents = self.check_rows(documents)
        # One newline between sentences, none before the first.
        documents = tf.strings.regex_replace(
            documents, f"{_WHITE}\n{_WHITE}", "\n"
        )
        documents = tf.strings.regex_replace(
            documents, rf"\A{_WHITE}|{_WHITE}\z", ""
        )
        documents, over = self._cut(documents, keep)
        # The rest of a long document is one more piece. From the end it
        # cannot be split.
        most = self.max_sentences if keep == "first" else -1
        lines = tf.strings.split(documents, "\n", maxsplit=most)  # (B, ragged)
        lines = tf.ragged.boolean_mask(lines, lines != "")
        count = lines.row_lengths()
        if keep == "last":
            lines = lines[:, -self.max_sentences :]
        else:
            lines = lines[:, : self.max_sentences]
        ids, long = self._ids(lines.flat_values)
        rows = tf.RaggedTensor.from_row_splits(ids, lines.row_splits)
        long = tf.RaggedTensor.from_row_splits(long, lines.row_splits)
        truncated = tf.reduce_any(long, axis=1) | over
        return _at_least_one(rows.to_tensor(PAD_ID)), (
            truncated | (count > self.max_sentences)
        )

    def sentences(
        self, sentences: "tf.Tensor"
    ) -> "tuple[tf.Tensor, tf.Tensor]":
        """The same of strings `(B, S)`; one without words is left out.

        One of too many bytes is an error: not all runtimes could cut it.
        """
        sentences = self.check_rows(sentences)
        rest = sentences[:, self.max_sentences :]
        over = tf.reduce_any(rest != "", axis=1)
        # Not a slice: OpenVINO ends in a crash after one of strings.
        kept = tf.range(tf.minimum(tf.shape(sentences)[1], self.max_sentences))
        sentences = tf.gather(sentences, kept, axis=1)
        size = tf.strings.length(sentences)
        check = require(
            size <= self.max_bytes,
            f"A sentence must have at most {self.max_bytes} bytes.",
            size,
        )
        (sentences,) = behind([check], sentences)
        shape = tf.shape(sentences)
        ids, long = self._ids(tf.reshape(sentences, [-1]))
        ids = tf.where(ids[:, :1] == EOS_ID, PAD_ID, ids)
        ids = tf.reshape(ids, [shape[0], shape[1], tf.shape(ids)[1]])
        place = tf.range(shape[1])
        order = tf.argsort(
            tf.where(ids[:, :, 0] != PAD_ID, place, place + shape[1]), axis=1
        )
        ids = tf.gather(ids, order, axis=1, batch_dims=1)
        long = tf.reshape(long, shape)
        return _at_least_one(ids), over | tf.reduce_any(long, axis=1)

    def _ids(self, sentences):
        """Ids of each sentence `(N, m)`, and whether it had too many words."""
        # At most so many words and the rest of the sentence, as one more.
        words = tf.strings.split(
            self.preprocessor.spaced(sentences), maxsplit=self.max_words
        )
        # Padded as ids: OpenVINO ends in a crash if strings are.
        ids = words.with_flat_values(
            self.preprocessor.table.lookup(words.flat_values)
        ).to_tensor(PAD_ID, shape=[None, None])
        count = tf.reduce_sum(tf.cast(ids != PAD_ID, tf.int32), axis=1)
        ids = tf.pad(ids[:, : self.max_words], [[0, 0], [0, 1]])
        end = tf.minimum(count, self.max_words)[:, None]
        place = tf.range(tf.shape(ids)[1])
        return tf.where(place == end, EOS_ID, ids), count > self.max_words

    def _cut(self, documents, keep):
        """What the cap of bytes leaves, whole words, and whether it cut."""
        size = tf.strings.length(documents)
        over = size > self.max_bytes
        start = tf.maximum(size - self.max_bytes, 0)
        if keep == "first":
            start = tf.zeros_like(start)
        cut = tf.strings.substr(
            documents, start, tf.fill(tf.shape(size), self.max_bytes)
        )
        # Half a character is made one, to be cut off with its word.
        cut = tf.strings.unicode_transcode(cut, "UTF-8", "UTF-8")
        word = r"[^\s\p{Z}\p{P}]+"
        half = rf"\A{word}" if keep == "last" else rf"{word}\z"
        cut = tf.strings.regex_replace(cut, half, "")
        return tf.where(over, cut, documents), over

    def check_rows(self, tensor: "tf.Tensor") -> "tf.Tensor":
        """The tensor, behind the check of its number of rows."""
        rows = tf.shape(tensor)[0]
        check = require(
            rows <= self.max_documents,
            f"A request must have at most {self.max_documents} rows.",
            rows,
        )
        (tensor,) = behind([check], tensor)
        return tensor


def _at_least_one(ids):
    """With room for a sentence: loops over none of them have no shapes."""
    return tf.pad(
        ids, [[0, 0], [0, tf.maximum(1 - tf.shape(ids)[1], 0)], [0, 0]]
    )
