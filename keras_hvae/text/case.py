"""Capital letters for lower-cased text."""

import re

# At the begin or behind the end of a sentence, behind any quotes and brackets.
_BEGIN = re.compile(r"((?:^|[.!?…][\"'”’)\]]*\s)[\"'“‘(\[¿¡]*)(\w)")
_I = re.compile(r"(?<![\w'’-])i(?=['’](?:m|ll|d|ve)\b|(?![\w'’-]|\.\w))")


def capitalized(text: str) -> str:
    """Writes begins of sentences and the English "I" with capital letters.

    Names stay as they are.

    Example:

    >>> capitalized("who's there? i, sir. i'll stay.")
    "Who's there? I, sir. I'll stay."
    """
    text = _BEGIN.sub(lambda match: match[1] + match[2].upper(), text)
    return _I.sub("I", text)
