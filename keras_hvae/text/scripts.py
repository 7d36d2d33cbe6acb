"""Characters, as RE2 (TensorFlow's regular expressions) writes them."""

# Format characters that nobody sees (category Cf, but for the joiners below).
_FORMATS = (
    r"\x{ad}\x{600}-\x{605}\x{61c}\x{6dd}\x{70f}\x{890}\x{891}\x{8e2}"
    r"\x{180e}\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}-\x{2064}"
    r"\x{2066}-\x{206f}\x{feff}\x{fff9}-\x{fffb}\x{110bd}\x{110cd}"
    r"\x{13430}-\x{1343f}\x{1bca0}-\x{1bca3}\x{1d173}-\x{1d17a}\x{e0001}"
)
# White space and what is not visible; of ASCII's white space only what
# `tf.strings.split` does not know: to match the ordinary spaces too would take
# several times as long.
BLANK = (
    rf"\p{{Cc}}\p{{Co}}\p{{Cs}}{_FORMATS}\x{{a0}}\x{{1680}}"
    r"\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
)
# Format characters that belong to the text they stand in: joiners (of
# Devanagari, Persian, emoji) and the letters of a flag such as Scotland's.
JOINERS = r"\x{200c}\x{200d}"
_TAGS = r"\x{e0020}-\x{e007f}"
# What changes the character before it.
MARKS = rf"\p{{M}}\x{{1f3fb}}-\x{{1f3ff}}{_TAGS}"
# Two of them are a flag.
FLAG_LETTERS = r"\x{1f1e6}-\x{1f1ff}"


def is_blank(char):
    """Whether no word may have this character."""
    import unicodedata

    if char in "\u200c\u200d" or "\U000e0020" <= char <= "\U000e007f":
        return False
    return unicodedata.category(char) in _BLANK_CATEGORIES


_BLANK_CATEGORIES = {"Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cs"}
