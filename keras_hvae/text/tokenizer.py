"""The base class of tokenizers."""

from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    import tensorflow as tf


class Tokenizer:
    """Splits sentences and joins words, with TensorFlow's string ops.

    Both directions run unchanged in a `tf.data` pipeline and in an exported
    graph, so a model can never see other words in service than it saw in
    training. A subclass defines `spaced` and `joined`.
    """

    name: str | None = None
    # Whether it can be exported: a graph without Python.
    exportable = True
    # Default largest number of words of a sentence, for reading and writing.
    max_words = 30

    def spaced(self, strings: "tf.Tensor", lowercase: bool) -> "tf.Tensor":
        """Puts spaces between the words of sentences.

        Args:
            strings: tensor of strings `[...]`.
            lowercase: whether to lower-case first.

        Returns:
            Tensor of strings `[...]`: split at spaces, they are the words.
        """
        raise NotImplementedError

    def joined(self, strings: "tf.Tensor") -> "tf.Tensor":
        """Turns words with spaces between them, `[...]`, into sentences."""
        raise NotImplementedError

    def tokenize(
        self, strings: "tf.Tensor", lowercase: bool
    ) -> "tf.RaggedTensor":
        """Splits sentences `[...]` into a ragged tensor `[..., None]`."""
        import tensorflow as tf

        return tf.strings.split(self.spaced(strings, lowercase), sep=None)

    def detokenize(self, words: "tf.Tensor") -> "tf.Tensor":
        """Turns words `[..., m]` into sentences `[...]`; empty ones are none.

        From what comes, `tokenize` reads words of the same ids.
        """
        import tensorflow as tf

        strings = tf.strings.reduce_join(words, axis=-1, separator=" ")
        strings = tf.strings.regex_replace(strings, " +", " ")
        return self.joined(tf.strings.strip(strings))

    def aliases(self, word: str) -> tuple[str, ...]:
        """Other words that count as `word` where they have no id."""
        return ()

    def get_config(self) -> str | dict | None:
        """What `get_tokenizer` makes it of again; JSON can hold it."""
        return self.name


def get_tokenizer(tokenizer: Any) -> Tokenizer:
    """The `Tokenizer` that an argument `tokenizer` stands for.

    Args:
        tokenizer: `"words"`, `"characters"`, a callable, an object with a
            method `tokenize`, or what `Tokenizer.get_config` returned.

    Raises:
        ValueError: for anything else.
    """
    from keras_hvae.text.callables import CallableTokenizer
    from keras_hvae.text.characters import CharacterTokenizer
    from keras_hvae.text.words import WordTokenizer

    for cls in (WordTokenizer, CharacterTokenizer):
        if tokenizer == cls.name:
            return cls()
    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    if isinstance(tokenizer, dict):
        # A file may name what the user has registered, not any function that
        # Keras knows.
        name = tokenizer.get("registered_name")
        if tokenizer.get("class_name") == "function":
            name = tokenizer.get("config")
        if keras.saving.get_registered_object(name) is None:
            raise ValueError(
                "`tokenizer` of a saved vocabulary must be registered with "
                "`keras.saving.register_keras_serializable`: import the module "
                "that defines it first. "
                f"Received: {name!r}"
            )
        tokenizer = keras.saving.deserialize_keras_object(tokenizer)
    if callable(tokenizer) or callable(getattr(tokenizer, "tokenize", None)):
        return CallableTokenizer(tokenizer)
    raise ValueError(
        '`tokenizer` must be "words", "characters", a function of a sentence '
        "that returns its words, or an object with such a method `tokenize`. "
        f"Received: {tokenizer!r}"
    )


TOKENIZERS = ("words", "characters")


def lower(strings: "tf.Tensor") -> "tf.Tensor":
    """Lower-cases strings, `[...]`."""
    import tensorflow as tf

    # TensorFlow takes a NUL for the end of the string.
    strings = tf.strings.regex_replace(strings, r"\x00", " ")
    return tf.strings.lower(strings, encoding="utf-8")
