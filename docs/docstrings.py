"""Makes Markdown of the parts of docstrings that griffe does not know."""

import re
import textwrap

import griffe

HEADING = "^(?:Args|Attributes|Call arguments|Example|Raises|Reference|Returns)"
SECTION = re.compile(
    rf"^(Call arguments|Example|Reference|Returns):\n(.*?)(?={HEADING}:\n|\Z)",
    re.DOTALL | re.MULTILINE,
)
ENTRY = re.compile(r"^(?=\S)([\w*, ]+):", re.MULTILINE)


def rewrite(docstring):
    """A docstring with these sections in Markdown, the others as they were."""

    def replace(match):
        title, body = match[1], textwrap.dedent(match[2]).strip()
        if title == "Example":
            body = f"```pycon\n{body}\n```"
        elif title == "Call arguments":
            body = ENTRY.sub(r"- `\1`:", body)
        return f"**{title}**\n\n{body}\n\n"

    return SECTION.sub(replace, docstring)


class Docstrings(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_instance(self, *, obj, **kwargs):
        if obj.docstring:
            obj.docstring.value = rewrite(obj.docstring.value)
