"""Reads documents from files, one at a time."""

import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_hvae.data.lines import (
    OPENERS,
    check_length,
    check_text,
    file_lines,
    stream_lines,
)
from keras_hvae.files import (
    EXPANSION_RATIO,
    DamagedFileError,
    check_regular,
)

DOCUMENT_BYTES = 1 << 27  # in memory
_STRING_BYTES = 64  # of a string besides its characters


def read_documents(
    source: Any,
    key: str = "sentences",
    format: str | None = None,
    max_expansion: float = EXPANSION_RATIO,
) -> Iterator[list[str]]:
    """Reads documents one at a time.

    In `.txt` a line is a sentence and blank lines stand between documents; in
    `.jsonl` a line is a JSON object, a document, with a list of sentences
    under `key`. Both are UTF-8. Only a line feed, or a carriage return and a
    line feed, ends a line. Blank sentences are left out, and so are documents
    without any other. A file must be a regular one, no pipe or device, its
    lines at most 16 MiB long, its sentences at most 1,048,576 characters.

    Args:
        source: path to a file with the suffix `.txt` or `.jsonl`, of which
            compressed ones end in `.gz`, `.xz` or `.bz2`; or an open binary
            stream.
        key: where the sentences are in a JSON object.
        format: `"txt"` or `"jsonl"`: needed for a stream, and else told by
            the suffix.
        max_expansion: how many times its bytes a compressed file may unpack
            to; 16 MiB always may be.

    Returns:
        An iterator over documents, lists of sentences.

    Raises:
        FileNotFoundError: if there is no such file.
        PermissionError: while iterating, if the file may not be read.
        ValueError: if the format is unknown or, while iterating, the file
            cannot be read in it: a `DamagedFileError`, which starts with file
            and line.

    Example:

    >>> import io
    >>> list(read_documents(io.BytesIO(b"One.\\nTwo.\\n\\nOne."), format="txt"))
    [['One.', 'Two.'], ['One.']]
    """
    return filter(None, open_documents(source, key, format, max_expansion))


def open_documents(
    source: Any,
    key: str = "sentences",
    format: str | None = None,
    max_expansion: float = EXPANSION_RATIO,
) -> Iterator[list[str]]:
    """Does as `read_documents` but gives an empty list for blank documents."""
    if hasattr(source, "read"):
        if format is None:
            raise ValueError(
                '`format` must be "txt" or "jsonl" for a stream. Received: None'
            )
        parse = _parser(format, format)
        name = getattr(source, "name", "stream")
        return parse(stream_lines(source, name), name, key)
    path = pathlib.Path(source)
    if not os.path.exists(path) and not os.path.islink(path):
        raise _no_file(path)
    if format is None:
        format = corpus_suffix(path)
    parse = _parser(format.removeprefix("."), path.name)
    try:
        check_regular(path)
    except FileNotFoundError as error:  # a link to nothing
        raise _no_file(path) from error
    return parse(file_lines(path, max_expansion), str(path), key)


def _no_file(path):
    return FileNotFoundError(
        f"`source` must be a file that exists. Received: {path}"
    )


def corpus_suffix(path: pathlib.Path) -> str:
    """Returns the suffix of `path` that is not of a compression."""
    if path.suffix in OPENERS:
        path = path.with_suffix("")
    return path.suffix


def _parser(format, received):
    if format not in PARSERS:
        table = format in _TABLES
        raise ValueError(
            f"a corpus must be one of {', '.join(PARSERS)}, with .gz, .xz or "
            f".bz2 after it if it is compressed{_FROM_TABLES * table}. "
            f"Received: {received}"
        )
    return PARSERS[format]


_TABLES = ("csv", "tsv", "parquet", "xlsx", "arrow", "feather")
_FROM_TABLES = (
    ". Of a table, write each document as a line of .jsonl, or give its "
    "documents as a list: with pandas, "
    'table.groupby("document")["sentence"].agg(list).tolist()'
)


def _parse_txt(lines, name, key):
    document = []
    size = 0
    found = False
    for number, line in lines:
        if line.strip():
            check_length(line, f"{name}:{number}")
            size += len(line) + _STRING_BYTES
            if size > DOCUMENT_BYTES:
                raise DamagedFileError(
                    f"{name}:{number}",
                    "blank lines between documents, and in memory at most "
                    f"{DOCUMENT_BYTES:,} bytes of one",
                    f"a document of {len(document):,} sentences that goes on",
                )
            document.append(line)
        elif document:
            found = True
            yield document
            document = []
            size = 0
    if document:
        yield document
    elif not found:
        raise _empty(name)


def _parse_jsonl(lines, name, key):
    found = False
    for number, line in lines:
        if line.strip():
            document = _parse_object(line, f"{name}:{number}", key)
            found = found or bool(document)
            yield document
    if not found:
        raise _empty(name)


def _empty(name):
    return DamagedFileError(
        f"{name}:1",
        "at least one sentence that is not blank",
        "none to the end of the file",
    )


def _parse_object(line, place, key):
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(
            place, "a JSON object", f"{line[:40]!r} ({error})"
        ) from error
    if not isinstance(value, dict):
        raise DamagedFileError(place, "a JSON object", repr(line[:40]))
    return take(value, key, place)


def take(example: Any, key: str, place: str) -> list[str]:
    """Returns the sentences of a document that are under a key.

    Args:
        example: a dictionary, such as a JSON object.
        key: where in it the sentences are.
        place: where the example is, for messages.

    Raises:
        ValueError: if there is no list of strings.
    """
    if key not in example:
        raise DamagedFileError(
            place,
            f"the key {key!r} (`key`, on the command line `--key`, names "
            "another)",
            "the keys "
            + (", ".join(map(repr, example)) or "of an empty object"),
        )
    if not isinstance(example[key], (list, tuple, np.ndarray)):
        raise DamagedFileError(
            place, f"a list of strings under {key!r}", f"{example[key]!r:.40}"
        )
    return check_document(example[key], f"{place}: {key!r}")


def check_document(sentences: Any, place: str) -> list[str]:
    """Returns the sentences that are not blank, once all have been checked."""
    sentences = list(sentences)
    for index, sentence in enumerate(sentences):
        if not isinstance(sentence, str):
            raise DamagedFileError(
                place, "strings only", f"{sentence!r:.40} as item {index}"
            )
        check_text(sentence, f"{place}, item {index}")
        check_length(sentence, f"{place}, item {index}")
    return [sentence for sentence in sentences if sentence.strip()]


PARSERS = {"txt": _parse_txt, "jsonl": _parse_jsonl}
