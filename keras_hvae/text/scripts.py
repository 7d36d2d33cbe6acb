"""Kinds of characters, as classes of regular expressions."""

import re
import unicodedata
import warnings
from collections.abc import Mapping

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


def is_blank(char: str) -> bool:
    """Whether no word may have this character."""
    if char in "\u200c\u200d" or "\U000e0020" <= char <= "\U000e007f":
        return False
    return unicodedata.category(char) in _BLANK_CATEGORIES


_BLANK_CATEGORIES = {"Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cs"}

# Han, Kana and Bopomofo; Thai and Lao; Tibetan, Myanmar and Khmer: scripts that
# put no spaces between words.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u312f"
    "\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)


def warn_of_unspaced(counts: Mapping[str, int], sentences: int) -> None:
    """Warns if sentences are hardly split, in a script without spaces.

    Args:
        counts: mapping of words to how often they occur.
        sentences: the number of sentences that they are of.
    """
    letters = {w: n for w, n in counts.items() if any(map(str.isalpha, w))}
    unspaced = {w: n for w, n in letters.items() if _UNSPACED.search(w)}
    number, every = sum(unspaced.values()), sum(letters.values())
    if 2 * number <= every:
        return
    length = sum(len(_UNSPACED.findall(w)) * n for w, n in unspaced.items())
    # Text that was split into words before has shorter words, and more.
    if length > 4 * number or every < 3 * sentences:
        example = max(unspaced, key=len)
        warnings.warn(
            "The text is in a script without spaces between words: sentences "
            f"have {every / max(sentences, 1):.1f} words on average, such as "
            f"{example[:20]!r}, few of which will be seen again. "
            'tokenizer="characters" splits them.',
            stacklevel=3,
        )
