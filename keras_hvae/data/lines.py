"""Lines of text from files and streams, compressed or not."""

import bz2
import functools
import gzip
import io
import lzma
import os
import pathlib
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from keras_hvae.files import (
    EXPANSION_RATIO,
    DamagedFileError,
    check_expansion,
    check_regular,
)

OPENERS: dict[str, Callable] = {
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
}
_DAMAGES = (OSError, EOFError, lzma.LZMAError, zlib.error)

# Larger lines are not sentences of text and would fill the memory.
LINE_BYTES = 1 << 24
SENTENCE_CHARACTERS = 1 << 20
# `xz -9` asks for 65 MiB.
XZ_MEMORY = 1 << 27
_CHUNK = 1 << 18


def file_lines(
    path: str | os.PathLike, max_expansion: float = EXPANSION_RATIO
) -> Iterator[tuple[int, str]]:
    """Yields the number and the text of each line of a file.

    Args:
        path: of the file.
        max_expansion: how many times its bytes a compressed file may unpack
            to.
    """
    path = pathlib.Path(path)
    check_regular(path)
    packed = path.stat().st_size
    unpacked = 0
    opener = OPENERS.get(path.suffix, open)
    if path.suffix == ".xz":
        memory = XZ_MEMORY * max(max_expansion / EXPANSION_RATIO, 1)
        opener = functools.partial(_open_xz, memory=int(memory))
    with opener(path, "rb") as stream:
        for number, line, size in _lines(stream, str(path)):
            unpacked += size
            if path.suffix in OPENERS:
                check_expansion(path, packed, unpacked, max_expansion)
            yield number, line


class _XzReader(io.RawIOBase):
    """`lzma.open`, which has no limit, with one of the memory it takes.

    A file tells how much of what it has unpacked is kept: up to 4 GiB.
    """

    def __init__(self, file, memory):
        super().__init__()
        self._file, self._memory = file, memory
        self._begin()

    def _begin(self):
        self._decoder = lzma.LZMADecompressor(memlimit=self._memory)

    def readable(self):
        return True

    def readinto(self, buffer):
        data = b""
        while True:
            decoder = self._decoder
            if decoder.eof:  # one stream may follow another, behind zeros
                data = decoder.unused_data.lstrip(b"\0")
                while not data and (more := self._file.read(_CHUNK)):
                    data = more.lstrip(b"\0")
                if not data:
                    return 0
                self._begin()
                decoder = self._decoder
            elif decoder.needs_input and not data:
                data = self._file.read(_CHUNK)
                if not data:
                    raise EOFError("the file ends before its end marker")
            made = decoder.decompress(data, len(buffer))
            data = b""
            if made:
                buffer[: len(made)] = made
                return len(made)

    def close(self):
        self._file.close()
        super().close()


def _open_xz(path, mode, memory):
    return io.BufferedReader(_XzReader(open(path, mode), memory), _CHUNK)


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
