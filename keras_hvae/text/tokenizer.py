"""Sentences to words and back, with core TensorFlow string ops only.

Both directions run unchanged in a `tf.data` pipeline and in an exported graph,
so a model can never see other words in service than it saw in training.
"""

_WORD = r"\p{L}\p{M}\p{N}"

# Tried in order at each position: a word with inner apostrophes and hyphens
# ("o'er", "well-a-day"), a dash or an ellipsis, any other visible character.
_TOKEN = (
    rf"([{_WORD}]+(?:['’-][{_WORD}]+)*|-{{2,}}|\.{{2,}}|[^\s\p{{Z}}\p{{C}}])"
)

# Of white space only what `tf.strings.split` does not know: to match the
# ordinary spaces too would take several times as long.
_BLANK = (
    r"[\p{C}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}"
    r"\x{205f}\x{3000}]"
)

# Words that commonly open with an apostrophe that stands for a lost letter.
_CLIPPED = (
    "t|ll|tis|twas|twere|twill|twould|twixt|tween|em|gainst|gins|scape|larum|"
    "Tis|Twas|Twere|Twill|Twould|Twixt|Tween|Gainst|Scape"
)

# Each rule takes out a space between two tokens of a space-joined sentence.
# None may join tokens that would then be read as one: a word, an apostrophe
# or hyphen, and a word; two dots; two hyphens. The rules for the apostrophe
# come first because they tell by its spaces whether it still stands alone.
_RULES = (
    # An apostrophe belongs to a clipped word after it, ...
    (rf"(['’]) ({_CLIPPED})\b", r"\1\2"),
    # ... to the word before it where punctuation or the end follows, ...
    (rf"(\S) (['’])( [^{_WORD}]|$)", r"\1\2\3"),
    # ... or where that is a plural or a clipped word ("players'", "th'"), ...
    (r"(s|\b[Tt]h|\b[oOiI]) (['’]) ", r"\1\2 "),
    # ... and else to the word after it.
    (rf"(^| )(['’]) ([{_WORD}])", r"\1\2\3"),
    # Straight quotes are told apart in pairs from the left.
    (r'" ([^"]+) "', r'"\1"'),
    (r"([(\[{“‘«¿¡]) ", r"\1"),
    (r" ([,;:!?)\]}”»…])", r"\1"),
    (r"([^\s.]) (\.+)", r"\1\2"),
    (r"([^\s-]) (-{2,})( |$)", r"\1\2\3"),
    (r"(-{2,}) ([^\s-])", r"\1\2"),
)


def tokenize(strings, lowercase):
    """Splits sentences into words.

    Args:
        strings: tensor of strings, of any shape `[...]`.
        lowercase: whether to lower-case first.

    Returns:
        The words: a ragged tensor of strings `[..., None]`.
    """
    import tensorflow as tf

    return tf.strings.split(spaced(strings, lowercase), sep=None)


def spaced(strings, lowercase):
    """Puts spaces between the words of sentences: strings as given, `[...]`."""
    import tensorflow as tf

    # First, because `tf.strings.lower` takes a NUL for the end of the string.
    strings = tf.strings.regex_replace(strings, _BLANK, " ")
    if lowercase:
        strings = tf.strings.lower(strings, encoding="utf-8")
    return tf.strings.regex_replace(strings, _TOKEN, r" \1 ")


def detokenize(strings):
    """Puts sentences back into their usual spelling.

    Args:
        strings: tensor of strings `[...]`: words with spaces between them.

    Returns:
        A tensor of strings of the same shape, with no space before a comma
        and so on. `tokenize` reads the same words from it as before.
    """
    import tensorflow as tf

    strings = tf.strings.strip(tf.strings.regex_replace(strings, " +", " "))
    for pattern, rewrite in _RULES:
        strings = tf.strings.regex_replace(strings, pattern, rewrite)
    return strings
