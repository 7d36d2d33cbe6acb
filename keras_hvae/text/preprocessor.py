"""Sentences to ids and back."""

import collections.abc

import keras
import numpy as np

from keras_hvae.ids import BOS_ID, EOS_ID, PAD_ID, SPECIAL_TOKENS, UNK_ID
from keras_hvae.text import tokenizer
from keras_hvae.text.arguments import (
    check_documents,
    check_ids,
    check_limit,
    check_vocabulary,
    check_vocabulary_size,
)


@keras.saving.register_keras_serializable("keras_hvae")
class Preprocessor(collections.abc.Sequence):
    """Sentences to ids and back: a tokenizer with its vocabulary.

    A preprocessor is also the sequence of its words: `len()` is the number of
    ids, `preprocessor[id]` the word of an id. The first ids are special: 0 is
    padding (the empty word), 1 `[UNK]` (an unknown word), 2 `[BOS]` and 3
    `[EOS]` (the begin and the end of a sentence).

    Words are runs of letters and digits, with inner apostrophes and hyphens;
    a dash of several hyphens or an ellipsis of several dots is one word, and
    so is any other visible character. Everything else is white space.

    Args:
        vocabulary: the words in the order of their ids, without the special
            ones or with these first. Another preprocessor will do.
        lowercase: whether to lower-case sentences; `None` means: if no word
            of the vocabulary has an upper-case letter.
        max_words: the number of words of a sentence to keep; `None` keeps all.

    Raises:
        ValueError: if the vocabulary is empty, has a word twice, has a word
            with white space or something that is not a string, or if
            `max_words` is less than 1.

    Example:

    >>> preprocessor = Preprocessor(["the", "crown", ",", "king"])
    >>> preprocessor([["The king, the crown", "the end"]])
    array([[[4, 7, 6, 4, 5, 3],
            [4, 1, 3, 0, 0, 0]]], dtype=int32)
    >>> preprocessor.detokenize([[4, 7, 6, 4, 5, 3]])
    ['the king, the crown']
    """

    def __init__(self, vocabulary, lowercase=None, max_words=None):
        words = check_vocabulary(vocabulary)
        self._words = [*SPECIAL_TOKENS, *words]
        self._known = frozenset(self._words)
        if lowercase is None:
            lowercase = all(word == word.lower() for word in words)
        self.lowercase = bool(lowercase)
        self.max_words = check_limit("max_words", max_words)
        self._table = None

    @classmethod
    def from_counts(cls, counts, vocabulary_size, **kwargs):
        """Makes the preprocessor that knows the most frequent words.

        Args:
            counts: mapping of words to how often they occur.
            vocabulary_size: the largest number of ids, the 4 special ones
                counted. Of words as frequent as each other, the
                alphabetically first is kept.
            **kwargs: further arguments of the constructor.

        Returns:
            A preprocessor with at most `vocabulary_size` ids.

        Raises:
            ValueError: if `vocabulary_size` has no room for a word.

        Example:

        >>> list(Preprocessor.from_counts({"b": 1, "c": 2, "a": 1}, 6))
        ['', '[UNK]', '[BOS]', '[EOS]', 'c', 'a']
        """
        check_vocabulary_size(vocabulary_size)
        words = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(words[: vocabulary_size - len(SPECIAL_TOKENS)], **kwargs)

    def __len__(self):
        return len(self._words)

    def __getitem__(self, index):
        return self._words[index]

    def __contains__(self, word):
        return word in self._known

    def tokenize(self, sentences):
        """Splits sentences into words, in eager mode or in a graph.

        Args:
            sentences: tensor of strings `[...]`.

        Returns:
            Ragged tensor of strings `[..., None]`: all words, known or not.
        """
        return tokenizer.tokenize(sentences, self.lowercase)

    def spaced(self, sentences):
        """Puts spaces between words, in eager mode or in a graph.

        Args:
            sentences: tensor of strings `[...]`.

        Returns:
            Tensor of strings `[...]`: split at spaces, they are the words.
        """
        return tokenizer.spaced(sentences, self.lowercase)

    def encode_sentences(self, sentences):
        """Turns sentences into ids, in eager mode or in a graph.

        Args:
            sentences: tensor of strings `[n]`.

        Returns:
            Ragged tensor of int32 ids `[n, None]`: the first `max_words`
            words of each sentence, then `[EOS]`.
        """
        import tensorflow as tf

        words = self.tokenize(sentences)
        if self.max_words is not None:
            words = words[:, : self.max_words]
        ids = tf.ragged.map_flat_values(self.table.lookup, words)
        ends = tf.fill([tf.shape(sentences)[0], 1], tf.constant(EOS_ID))
        return tf.concat([ids, ends], axis=1)

    def __call__(self, documents):
        """Turns documents into ids.

        Args:
            documents: list of documents. A document is a list of sentences,
                or one string with a sentence per line (blank lines are left
                out).

        Returns:
            Array of int32 ids, documents x sentences x words, padded with 0.
            Sentences are cut after `max_words` words and the `[EOS]` that
            ends each.

        Raises:
            ValueError: if `documents` is not a list of documents or one of
                them has no sentence.
        """
        import tensorflow as tf

        documents = check_documents(documents)
        ids = self.encode_sentences(
            tf.constant([s for sentences in documents for s in sentences])
        )
        lengths = [len(sentences) for sentences in documents]
        ids = tf.RaggedTensor.from_row_lengths(ids, lengths)
        return ids.to_tensor(PAD_ID).numpy()

    def detokenize_tensor(self, ids):
        """Turns ids into sentences, in eager mode or in a graph.

        Args:
            ids: integer tensor `[..., m]`, each less than `len(self)`.

        Returns:
            Tensor of strings `[...]`: the words before the first `[EOS]`.
        """
        import tensorflow as tf

        ids = tf.convert_to_tensor(ids)
        ended = tf.math.cumsum(tf.cast(ids == EOS_ID, tf.int32), axis=-1) > 0
        words = tf.gather(tf.constant(self._words), ids)
        skipped = ended | (ids == BOS_ID)
        words = tf.where(skipped, "", words)
        return tokenizer.detokenize(
            tf.strings.reduce_join(words, axis=-1, separator=" ")
        )

    def detokenize(self, ids):
        """Turns ids into sentences.

        Args:
            ids: integer array, `[..., m]`.

        Returns:
            The sentences as nested lists of strings, one string for a single
            sentence. In the lists sentences of only padding are left out.

        Raises:
            ValueError: if an id is not one of this vocabulary.
        """
        ids = np.asarray(keras.ops.convert_to_numpy(ids))
        check_ids(ids, len(self))
        sentences = self.detokenize_tensor(ids).numpy()
        return _nested(sentences, (ids != PAD_ID).any(axis=-1))

    @property
    def table(self):
        """The lookup table from words to ids, for `ExportArchive.track`."""
        import tensorflow as tf

        if self._table is None:
            # Out of any graph under construction, to outlive it.
            with tf.init_scope():
                ids = tf.range(len(self), dtype=tf.int32)
                self._table = tf.lookup.StaticHashTable(
                    tf.lookup.KeyValueTensorInitializer(self._words, ids),
                    default_value=UNK_ID,
                )
        return self._table

    def get_config(self):
        """Returns the arguments that make this preprocessor again."""
        return {
            "vocabulary": self._words[len(SPECIAL_TOKENS) :],
            "lowercase": self.lowercase,
            "max_words": self.max_words,
        }

    @classmethod
    def from_config(cls, config):
        """Makes a preprocessor of what `get_config` returned."""
        return cls(**config)

    def __reduce__(self):
        # The table belongs to this process.
        return type(self), tuple(self.get_config().values())


def _nested(sentences, real):
    """Nests an array of byte strings in lists, without what is not `real`."""
    if real.ndim == 0:
        return sentences.decode()
    if real.ndim == 1:
        return [sentence.decode() for sentence in sentences[real]]
    return [_nested(*pair) for pair in zip(sentences, real, strict=True)]
