"""Documents of a file or of standard input, a batch at a time."""

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from keras_hvae.arguments import check_positive_int
from keras_hvae.cli.model_folder import MOST_SENTENCES, trained_with
from keras_hvae.cli.progress import Counter


class Window(NamedTuple):
    """Sentences of a document that are read together."""

    sentences: list[str]
    index: int  # type: ignore[assignment]  # of the document in its file
    window: int  # of this window in the document
    is_last: bool

    @property
    def place(self) -> dict:
        return {"index": self.index, "window": self.window}


def read_windows(
    args: argparse.Namespace, ends: bool = False
) -> "Iterator[list[Window]]":
    """Reads a stream of any length, a batch at a time.

    Documents longer than the model was trained on become several windows, so
    that no document is too long for memory; not with `--whole`.

    Args:
        args: of the command.
        ends: whether to read the last window of each document only.

    Yields:
        A list of `Window`.

    Raises:
        ValueError: if there is no document.
    """
    check_positive_int(batch_size=args.batch_size)
    longest = trained_with(
        args.model, "max_sentences", 10, lowest=1, highest=MOST_SENTENCES
    )
    if getattr(args, "whole", False):
        longest = None
    windows = (
        window
        for index, document in enumerate(open_stream(args))
        for window in cut(document, index, longest, ends)
    )
    counter = Counter()
    found = False
    while batch := list(itertools.islice(windows, args.batch_size)):
        found = True
        yield batch
        counter.add(len(batch))
    counter.close()
    if not found:
        raise ValueError(
            "Expected at least one document. Received: none in "
            + source_name(args)
        )


def cut(
    document: list[str], index: int, longest: int | None, ends: bool
) -> Iterator[Window]:
    """The windows of a document; with `ends` its last one only."""
    n = len(document)
    longest = longest or n
    if ends:
        yield Window(document[-longest:], index, 0, True)
        return
    for window, start in enumerate(range(0, n, longest)):
        end = start + longest
        yield Window(document[start:end], index, window, end >= n)


def seeds_of(seed: int | None, windows: "Sequence[Window]") -> list | None:
    """A seed for each: that of document i of a call from Python, (seed, i)."""
    if seed is None:
        return None
    return [
        (seed, x.index) if x.window == 0 else (seed, x.index, x.window)
        for x in windows
    ]


def open_stream(args: argparse.Namespace) -> Iterator[list[str]]:
    """The documents of the file or standard input, one at a time."""
    from keras_hvae.data import read_documents

    if args.documents != "-":
        return read_documents(args.documents, args.key)
    stream: Any = sys.stdin.buffer
    format = args.format
    if format is None:
        head = stream.peek(1).lstrip()
        format = "jsonl" if head.startswith(b"{") else "txt"
    return read_documents(stream, args.key, format)


def source_name(args: argparse.Namespace) -> str:
    return "standard input" if args.documents == "-" else args.documents
