"""Sentences to ids and back."""

import collections.abc
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_hvae.arguments import check_positive_int
from keras_hvae.ids import BOS_ID, EOS_ID, PAD_ID, SPECIAL_TOKENS, UNK_ID
from keras_hvae.text.arguments import (
    check_documents,
    check_ids,
    check_limit,
    check_vocabulary,
    check_vocabulary_size,
)
from keras_hvae.text.case import capitalized
from keras_hvae.text.tokenizer import Tokenizer, get_tokenizer

if TYPE_CHECKING:
    import tensorflow as tf


@keras.saving.register_keras_serializable("keras_hvae")
class Preprocessor(collections.abc.Sequence):
    """Sentences to ids and back: a tokenizer with its vocabulary.

    A preprocessor is also the sequence of its words: `len()` is the number of
    ids, `preprocessor[id]` the word of an id. The first ids are special: 0 is
    padding (the empty word), 1 `[UNK]` (an unknown word), 2 `[BOS]` and 3
    `[EOS]` (the begin and the end of a sentence). `word in preprocessor` tells
    whether a word has an id.

    Args:
        vocabulary: the words in the order of their ids, without the special
            ones or with these first. Another preprocessor will do.
        lowercase: whether to lower-case sentences; `None` means: if no word
            of the vocabulary has an upper-case letter.
        max_words: the number of words of a sentence to keep; `None` keeps all.
        tokenizer: what splits sentences into the words:
            - `"words"`: runs of letters and digits, with inner apostrophes
              and hyphens, and punctuation marks, each a word. A mark that has
              no white space where it usually has some is a word with `￭`:
              "3.14" is "3", ".￭", "14". Where that has no id, it gets that of
              the mark alone;
            - `"characters"`: characters, for any script, `▁` for white space;
            - a function that returns the list of a sentence's words, or an
              object with such a method `tokenize`, as libraries have them. A
              method `detokenize`, of a list of words, makes a sentence of
              them; else they get spaces between them. It runs in Python, so
              that a model with it cannot be exported, and must be registered
              with `keras.saving.register_keras_serializable` to be saved.

    Raises:
        ValueError: if the vocabulary is empty, has a word twice, has a word
            with white space or something that is not a string, if
            `max_words` is less than 1, or for another `tokenizer`.

    Example:

    >>> preprocessor = Preprocessor(["the", "crown", ",", "king"])
    >>> preprocessor([["The king, the crown", "the end"]])
    array([[[4, 7, 6, 4, 5, 3],
            [4, 1, 3, 0, 0, 0]]], dtype=int32)
    >>> preprocessor.detokenize([[4, 7, 6, 4, 5, 3]])
    ['the king, the crown']
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        lowercase: bool | None = None,
        max_words: int | None = None,
        tokenizer: str | Callable | Tokenizer = "words",
    ) -> None:
        words = check_vocabulary(vocabulary)
        self.tokenizer = get_tokenizer(tokenizer)
        self._words = [*SPECIAL_TOKENS, *words]
        self._ids = {
            alias: id
            for id, word in enumerate(words, len(SPECIAL_TOKENS))
            for alias in self.tokenizer.aliases(word)
        }
        # A word's own id has priority over aliases.
        self._ids |= {word: id for id, word in enumerate(self._words)}
        if lowercase is None:
            lowercase = all(word == word.lower() for word in words)
        self.lowercase = bool(lowercase)
        self.max_words = check_limit("max_words", max_words)
        self._table = None

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[str, int],
        vocabulary_size: int,
        min_count: int = 1,
        **kwargs,
    ) -> "Preprocessor":
        """Makes the preprocessor that knows the most frequent words.

        Args:
            counts: mapping of words to how often they occur.
            vocabulary_size: the largest number of ids, the 4 special ones
                counted. Of words as frequent as each other, the
                alphabetically first is kept.
            min_count: words that occur less often get no id. A model that
                is trained on them as `[UNK]` learns what to do with words
                that it has never seen.
            **kwargs: further arguments of the constructor.

        Returns:
            A preprocessor with at most `vocabulary_size` ids.

        Raises:
            ValueError: if `vocabulary_size` has no room for a word, or no
                word occurs `min_count` times.

        Example:

        >>> list(Preprocessor.from_counts({"b": 1, "c": 2, "a": 1}, 6))
        ['', '[UNK]', '[BOS]', '[EOS]', 'c', 'a']
        """
        check_vocabulary_size(vocabulary_size)
        check_positive_int(min_count=min_count)
        words = [word for word in counts if counts[word] >= min_count]
        if not words:
            raise ValueError(
                "`min_count` must be at most the count of the most frequent "
                f"word, {max(counts.values(), default=0)}. "
                f"Received: {min_count}"
            )
        words.sort(key=lambda word: (-counts[word], word))
        return cls(words[: vocabulary_size - len(SPECIAL_TOKENS)], **kwargs)

    def __len__(self):
        return len(self._words)

    def __getitem__(self, index):
        return self._words[index]

    def __contains__(self, word):
        return word in self._ids

    def tokenize(self, sentences: Any) -> "tf.RaggedTensor":
        """Splits sentences into words, in eager mode or in a graph.

        Args:
            sentences: tensor of strings `[...]`.

        Returns:
            Ragged tensor of strings `[..., None]`: all words, known or not.
        """
        return self.tokenizer.tokenize(sentences, self.lowercase)

    def spaced(self, sentences: Any) -> "tf.Tensor":
        """Puts spaces between words, in eager mode or in a graph.

        Args:
            sentences: tensor of strings `[...]`.

        Returns:
            Tensor of strings `[...]`: split at spaces, they are the words.
        """
        return self.tokenizer.spaced(sentences, self.lowercase)

    def encode_sentences(self, sentences: Any) -> "tf.RaggedTensor":
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

    def __call__(self, documents: Sequence) -> np.ndarray:
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

    def detokenize_tensor(self, ids: Any) -> "tf.Tensor":
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
        return self.tokenizer.detokenize(words)

    def detokenize(self, ids: Any, capitalize: bool = False) -> Any:
        """Turns ids into sentences.

        Args:
            ids: integer array, `[..., m]`.
            capitalize: whether to write begins of sentences and the English
                "I" with capital letters.

        Returns:
            The sentences as nested lists of strings, one string for a single
            sentence. In the lists sentences of only padding are left out.

        Raises:
            ValueError: if an id is not one of this vocabulary.
        """
        ids = np.asarray(keras.ops.convert_to_numpy(ids))
        check_ids(ids, len(self))
        sentences = self.detokenize_tensor(ids).numpy()
        change = capitalized if capitalize else str
        return _nested(sentences, (ids != PAD_ID).any(axis=-1), change)

    def mark_unknown(self, sentence: str) -> list[tuple[str, bool]]:
        """Splits a sentence into its words and tells which are unknown.

        Args:
            sentence: string.

        Returns:
            List of pairs: a word, and whether it is known.

        Example:

        >>> Preprocessor(["the", "king"]).mark_unknown("The queen")
        [('the', True), ('queen', False)]
        """
        words = self.tokenize([sentence]).flat_values.numpy().tolist()
        return [(word.decode(), word.decode() in self) for word in words]

    @property
    def table(self) -> Any:
        """The lookup table from words to ids, for `ExportArchive.track`."""
        import tensorflow as tf

        if self._table is None:
            # Created outside of any graph under construction, so that it
            # outlives it.
            with tf.init_scope():
                self._table = tf.lookup.StaticHashTable(
                    tf.lookup.KeyValueTensorInitializer(
                        list(self._ids),
                        list(self._ids.values()),
                        value_dtype=tf.int32,
                    ),
                    default_value=UNK_ID,
                )
        return self._table

    def get_config(self) -> dict:
        """Returns the arguments that make this preprocessor again."""
        config = {
            "vocabulary": self._words[len(SPECIAL_TOKENS) :],
            "lowercase": self.lowercase,
            "max_words": self.max_words,
        }
        # Omitted if it is the default, so that the digests of older models stay
        # valid.
        tokenizer = self.tokenizer.get_config()
        if tokenizer != "words":
            config["tokenizer"] = tokenizer
        return config

    @classmethod
    def from_config(cls, config: dict) -> "Preprocessor":
        """Makes a preprocessor of what `get_config` returned."""
        return cls(**config)

    def __reduce__(self):
        # The lookup table is not pickled: it belongs to this process.
        arguments = self._words, self.lowercase, self.max_words, self.tokenizer
        return type(self), arguments


def _nested(sentences, real, change):
    """Nests an array of byte strings in lists, without what is not `real`."""
    if real.ndim == 0:
        return change(sentences.decode())
    if real.ndim == 1:
        return [change(sentence.decode()) for sentence in sentences[real]]
    pairs = zip(sentences, real, strict=True)
    return [_nested(*pair, change) for pair in pairs]
