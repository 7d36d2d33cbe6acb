"""The tokenizer `"characters"`."""

from typing import TYPE_CHECKING

from keras_hvae.text.scripts import BLANK, FLAG_LETTERS, JOINERS, MARKS
from keras_hvae.text.tokenizer import Tokenizer, lower

if TYPE_CHECKING:
    import tensorflow as tf


# White space between words, as in SentencePiece.
SPACE = "▁"

_SPACES = rf"[\s{SPACE}{BLANK}]"
# A character with what changes it, and emoji that joiners make one.
_CHARACTER = (
    rf"((?:[{FLAG_LETTERS}]{{2}}|[^{SPACE}])[{MARKS}{JOINERS}]*"
    rf"(?:\x{{200d}}\p{{So}}[{MARKS}{JOINERS}]*)*|{SPACE})"
)


class CharacterTokenizer(Tokenizer):
    """Splits sentences into characters, of any script.

    Accents, vowel signs and other marks stay with the character that they
    change. The white space between two words is one character, `▁`.
    """

    name = "characters"
    max_words = 120

    def spaced(self, strings: "tf.Tensor", lowercase: bool) -> "tf.Tensor":
        import tensorflow as tf

        if lowercase:
            strings = lower(strings)
        for pattern, rewrite in (
            (f"{_SPACES}+", SPACE),
            (rf"\A{SPACE}|{SPACE}\z", ""),
            (_CHARACTER, r"\1 "),
        ):
            strings = tf.strings.regex_replace(strings, pattern, rewrite)
        return strings

    def joined(self, strings: "tf.Tensor") -> "tf.Tensor":
        import tensorflow as tf

        strings = tf.strings.regex_replace(strings, " ", "")
        return tf.strings.regex_replace(strings, SPACE, " ")
