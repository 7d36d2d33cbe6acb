"""Lines of text from files and streams, compressed or not."""

import bz2
import gzip
import lzma
import os
import pathlib
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from keras_hvae.files import DamagedFileError, check_expansion, check_regular

OPENERS: dict[str, Callable] = {
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
}
_DAMAGES = (OSError, EOFError, lzma.LZMAError, zlib.error)

# Larger lines are not sentences of text and would fill the memory.
LINE_BYTES = 1 << 24
SENTENCE_CHARACTERS = 1 << 20


def file_lines(path: str | os.PathLike) -> Iterator[tuple[int, str]]:
    """Yields the number and the text of each line of a file."""
    path = pathlib.Path(path)
    check_regular(path)
    packed = path.stat().st_size
    unpacked = 0
    with OPENERS.get(path.suffix, open)(path, "rb") as stream:
        for number, line, size in _lines(stream, str(path)):
            unpacked += size
            if path.suffix in OPENERS:
                check_expansion(path, packed, unpacked)
            yield number, line


def stream_lines(stream: BinaryIO, name: str) -> Iterator[tuple[int, str]]:
    """Yields the number and the text of each line of a stream."""
    for number, line, _ in _lines(stream, name):
        yield number, line


def _lines(stream, name):
    """Yields the number, the text and the bytes of each line."""
    number = 0
    try:
        while line := stream.readline(LINE_BYTES + 1):
            number += 1
            size = len(line)
            if size > LINE_BYTES:
                raise DamagedFileError(
                    f"{name}:{number}",
                    f"a line of at most {LINE_BYTES:,} bytes",
                    "a longer one",
                )
            line = line.removesuffix(b"\n").removesuffix(b"\r")
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            yield number, _decoded(line, f"{name}:{number}"), size
    except _DAMAGES as error:
        if getattr(error, "errno", None) is not None:
            # An error of the disk, not of the data: it is raised as it is.
            raise
        raise DamagedFileError(
            f"{name}:{number + 1}",
            "that the compressed file goes on as its suffix tells",
            error,
        ) from error


def _decoded(line, place):
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise DamagedFileError(
            place,
            "UTF-8",
            f"byte 0x{line[error.start]:02x} at column {error.start + 1}",
        ) from error
    check_text(text, place)
    return text


def check_text(text: str, place: str) -> None:
    """Raises a `ValueError` for what no tensor of strings can hold."""
    if "\0" in text:
        raise DamagedFileError(
            place,
            "text",
            f"a NUL character at column {text.index(chr(0)) + 1}",
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DamagedFileError(
            place,
            "text",
            f"half a surrogate pair at column {error.start + 1}",
        ) from error


def check_length(sentence: str, place: str) -> None:
    """Raises a `ValueError` for what is no sentence by its length."""
    if len(sentence) > SENTENCE_CHARACTERS:
        raise DamagedFileError(
            place,
            f"a sentence of at most {SENTENCE_CHARACTERS:,} characters",
            f"{len(sentence):,}",
        )
