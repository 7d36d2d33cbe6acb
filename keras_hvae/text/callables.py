"""Tokenizers that are Python functions."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_hvae.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tensorflow as tf


class CallableTokenizer(Tokenizer):
    """Splits sentences with a function of Python, or with a library's object.

    Args:
        tokenizer: a function of a sentence that returns the list of its
            words, or an object with such a method `tokenize`. If it has a
            method `detokenize`, that makes a sentence of a list of words;
            else they are put together with spaces.
    """

    exportable = False

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._split = getattr(tokenizer, "tokenize", tokenizer)
        self._join = getattr(tokenizer, "detokenize", " ".join)

    def tokenize(
        self, strings: "tf.Tensor", lowercase: bool
    ) -> "tf.RaggedTensor":
        import tensorflow as tf

        def split(sentences):
            rows = [
                self._words(sentence.decode(), lowercase)
                for sentence in sentences
            ]
            return (
                np.array([w for words in rows for w in words], object),
                np.array([len(words) for words in rows], np.int64),
            )

        strings = tf.convert_to_tensor(strings)
        words, lengths = tf.numpy_function(
            split, [tf.reshape(strings, [-1])], (tf.string, tf.int64)
        )
        words = tf.RaggedTensor.from_row_lengths(
            tf.ensure_shape(words, [None]), tf.ensure_shape(lengths, [None])
        )
        shape = tf.shape(strings, tf.int64)
        for axis in range(strings.shape.rank - 1, 0, -1):
            words = tf.RaggedTensor.from_uniform_row_length(
                words, shape[axis], tf.reduce_prod(shape[:axis])
            )
        return words

    def detokenize(self, words: "tf.Tensor") -> "tf.Tensor":
        import tensorflow as tf

        def join(rows):
            sentences = [
                self._join([w.decode() for w in row if w])
                for row in rows.reshape(-1, rows.shape[-1])
            ]
            sentences = [x.encode() for x in sentences]
            return np.array(sentences, object).reshape(rows.shape[:-1])

        sentences = tf.numpy_function(join, [words], tf.string)
        return tf.ensure_shape(sentences, words.shape[:-1])

    def get_config(self) -> dict:
        """What Keras makes the function or object of again.

        Raises:
            ValueError: if Keras does not know it.
        """
        kind, known = self.tokenizer, True
        if not hasattr(kind, "__name__"):
            kind = type(kind)
            known = hasattr(kind, "get_config") and hasattr(kind, "from_config")
        name = keras.saving.get_registered_name(kind)
        if not known or keras.saving.get_registered_object(name) is not kind:
            raise ValueError(
                "A `tokenizer` must be registered with `@keras.saving."
                "register_keras_serializable()` to be saved, and an object "
                "have `get_config` and `from_config` (or it must be "
                f'"words" or "characters"). Received: {self.tokenizer!r}'
            )
        return keras.saving.serialize_keras_object(self.tokenizer)

    def _words(self, sentence, lowercase):
        words = self._split(sentence.lower() if lowercase else sentence)
        words = [x.decode() if isinstance(x, bytes) else x for x in words]
        for word in words:
            if not isinstance(word, str) or not word:
                raise ValueError(
                    "`tokenizer` must return a list of strings that are not "
                    f"empty. Received: {word!r} of {sentence!r:.80}"
                )
        return [word.encode() for word in words]
