"""The tokenizer `"words"`."""

from typing import TYPE_CHECKING

from keras_hvae.text.scripts import BLANK, FLAG_LETTERS, JOINERS, MARKS
from keras_hvae.text.tokenizer import Tokenizer, lower

if TYPE_CHECKING:
    import tensorflow as tf


# On a punctuation mark, where it has no white space although it usually would:
# "3.14" is the words "3", ".￭", "14", and "3. 14" the words "3", ".", "14".
GLUE = "￭"

_WORD = r"\p{L}\p{M}\p{N}"
_TONES = r"\x{1f3fb}-\x{1f3ff}"
# What usually follows the word before it, and what the word after it follows.
_CLOSING = ",;:!?.…)\\]}”»،؛؟۔।॥、。，！？：；）」』】》〉"
_OPENING = "(\\[{“‘«¿¡（「『【《〈"
# Inside of words they belong to these.
_INNER = "'’\\-"
_NEVER = rf"\s\p{{Z}}\p{{C}}{GLUE}"

# A mark that usually has a space before it, or an apostrophe or hyphen at the
# end of a word.
_NO_SPACE_BEFORE = (
    rf"([^{_NEVER}{_OPENING}\-])"
    rf"([^{_NEVER}{_WORD}{_CLOSING}{_INNER}{FLAG_LETTERS}{_TONES}]"
    rf"|['’](?:[^{_WORD}]|$)|-(?:[^{_WORD}\-]|$))"
)
_BEFORE, _BEHIND = rf"\1 {GLUE}\2", rf"\1{GLUE} \2"
_GLUED = (
    # Twice, for marks in a row overlap.
    (_NO_SPACE_BEFORE, _BEFORE),
    (_NO_SPACE_BEFORE, _BEFORE),
    # An apostrophe or hyphen behind another mark.
    (rf"([^{_NEVER}{_OPENING}{_WORD}\-])(['’]|-[^\-])", _BEFORE),
    # A mark that usually has a space behind it, or an apostrophe or hyphen at
    # the begin of a word.
    (
        rf"([^{_NEVER}{_WORD}{_OPENING}{_INNER}]|\p{{S}}[{MARKS}]+"
        rf"|(?:^|[^{_WORD}\-])[{_INNER}])([\p{{L}}\p{{N}}])",
        _BEHIND,
    ),
)

# Tried in order at each position: a word with inner apostrophes and hyphens
# ("o'er", "well-a-day"), a dash, and, with or without `GLUE`, an ellipsis, a
# flag, a symbol or emoji with its marks, any other visible character. What is
# not visible is left over.
_TOKEN = (
    rf"([{_WORD}]+(?:['’{JOINERS}-][{_WORD}]+)*|-{{2,}}"
    rf"|{GLUE}?(?:\.{{2,}}|[{FLAG_LETTERS}]{{2}}"
    rf"|\p{{S}}[{MARKS}]*(?:\x{{200d}}\p{{S}}[{MARKS}]*)*"
    rf"|[^\s\p{{Z}}\p{{C}}]){GLUE}?)|[\p{{C}}{BLANK}]"
)

# Words that commonly open with an apostrophe that stands for a lost letter.
_CLIPPED = (
    "t|ll|tis|twas|twere|twill|twould|twixt|tween|em|gainst|gins|scape|larum|"
    "Tis|Twas|Twere|Twill|Twould|Twixt|Tween|Gainst|Scape"
)
# Any word that does not end with an apostrophe.
_QUOTED = r"(?:\S*[^'’\s])"

# Each rule takes out a space between two tokens of a space-joined sentence.
# None may join tokens that would then be read as one: a word, an apostrophe
# or hyphen, and a word; two dots; two hyphens. Of quotes and apostrophes
# without `GLUE`, as words of a model that does not know any with it, the rules
# guess; `tokenize` then reads them with it. Those for the apostrophe come
# first because they tell by its spaces whether it still stands alone.
_RULES = (
    # An apostrophe belongs to a clipped word after it, ...
    (rf"(^| )(['’]) ({_CLIPPED})\b", r"\1\2\3"),
    # ... to the word before it where punctuation or the end follows, ...
    (rf"(\S) (['’])( [^{_WORD}'’‘“{GLUE}]|$)", r"\1\2\3"),
    # ... or where that is a plural or a clipped word ("players'", "th'"), ...
    (r"(s|\b[Tt]h|\b[oOiI]) (['’]) ", r"\1\2 "),
    # ... two of them are quotes, ...
    (rf"(^|[ ‘])(['‘]) ((?:{_QUOTED} )*?{_QUOTED}) (['’])( |$)", r"\1\2\3\4\5"),
    # ... and else it belongs to the word after it.
    (rf"(^| )(['’]) (['’]?[{_WORD}])", r"\1\2\3"),
    # Straight quotes are told apart in pairs from the left.
    (r'(^| )" ([^"]+) "( |$)', r'\1"\2"\3'),
    (rf"([{_OPENING}]) ", r"\1"),
    (rf" ([{_CLOSING.replace('.', '')}])", r"\1"),
    (r"([^\s.]) (\.+)", r"\1\2"),
    (r"([^\s-]) (-{2,})( |$)", r"\1\2\3"),
    (r"(-{2,}) ([^\s-])", r"\1\2"),
    (rf" ?{GLUE} ?", ""),
)


class WordTokenizer(Tokenizer):
    """Splits sentences into words and punctuation marks.

    Words are runs of letters and digits, with inner apostrophes and hyphens;
    a dash of several hyphens or an ellipsis of several dots is one word, and
    so is any other visible character, with its accents. Everything else is
    white space.

    A comma has white space behind it, a bracket before it, and so on. A mark
    that has none there gets `￭` on that side: "f(3.14)" is the words "f",
    "￭(", "3", ".￭", "14", ")". Such a word without an id of its own is the
    mark itself.
    """

    name = "words"

    def spaced(self, strings: "tf.Tensor", lowercase: bool) -> "tf.Tensor":
        import tensorflow as tf

        strings = tf.strings.regex_replace(strings, GLUE, " ")
        if lowercase:
            strings = lower(strings)
        for pattern, rewrite in _GLUED:
            strings = tf.strings.regex_replace(strings, pattern, rewrite)
        return tf.strings.regex_replace(strings, _TOKEN, r" \1 ")

    def joined(self, strings: "tf.Tensor") -> "tf.Tensor":
        import tensorflow as tf

        for pattern, rewrite in _RULES:
            strings = tf.strings.regex_replace(strings, pattern, rewrite)
        return strings

    def aliases(self, word: str) -> tuple[str, ...]:
        if GLUE in word or word[0].isalnum():
            return ()
        return f"{GLUE}{word}", f"{word}{GLUE}", f"{GLUE}{word}{GLUE}"
