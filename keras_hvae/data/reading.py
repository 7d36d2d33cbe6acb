"""Documents from files, one at a time."""

import bz2
import gzip
import json
import lzma
import pathlib
import zlib

_OPENERS = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
_DAMAGES = (OSError, EOFError, lzma.LZMAError, zlib.error)


def read_documents(source, key="sentences", format=None):
    """Reads documents one at a time.

    In `.txt` a line is a sentence and blank lines stand between documents; in
    `.jsonl` a line is a JSON object, a document, with a list of sentences
    under `key`. Both are UTF-8. Only a line feed, or a carriage return and a
    line feed, ends a line. Blank sentences are left out, and so are documents
    without any other.

    Args:
        source: path to a file with the suffix `.txt` or `.jsonl`, of which
            compressed ones end in `.gz`, `.xz` or `.bz2`; or an open binary
            stream.
        key: where the sentences are in a JSON object.
        format: `"txt"` or `"jsonl"`: needed for a stream, and else told by
            the suffix.

    Returns:
        An iterator over documents, lists of sentences.

    Raises:
        FileNotFoundError: if there is no such file.
        PermissionError: while iterating, if the file may not be read.
        ValueError: if the format is unknown or, while iterating, the file
            cannot be read in it. The message starts with file and line.

    Example:

    >>> import io
    >>> list(read_documents(io.BytesIO(b"One.\\nTwo.\\n\\nOne."), format="txt"))
    [['One.', 'Two.'], ['One.']]
    """
    return filter(None, open_documents(source, key, format))


def open_documents(source, key="sentences", format=None):
    """Does as `read_documents` but gives an empty list for blank documents."""
    if hasattr(source, "read"):
        if format is None:
            raise ValueError(
                '`format` must be "txt" or "jsonl" for a stream. Received: None'
            )
        parse = _parser(format, format)
        name = getattr(source, "name", "stream")
        return parse(_lines(source, name), name, key)
    path = pathlib.Path(source)
    if not path.exists():
        raise FileNotFoundError(
            f"`source` must be a file that exists. Received: {path}"
        )
    if format is None:
        format = corpus_suffix(path)
    parse = _parser(format.removeprefix("."), path.name)
    return parse(file_lines(path), str(path), key)


def corpus_suffix(path):
    """Returns the suffix of `path` that is not of a compression."""
    if path.suffix in _OPENERS:
        path = path.with_suffix("")
    return path.suffix


def _parser(format, received):
    if format not in PARSERS:
        raise ValueError(
            f"a corpus must be one of {', '.join(PARSERS)}, with .gz, .xz or "
            f".bz2 after it if it is compressed. Received: {received}"
        )
    return PARSERS[format]


def file_lines(path):
    with _OPENERS.get(path.suffix, open)(path, "rb") as stream:
        yield from _lines(stream, str(path))


def _lines(stream, name):
    """Yields the number and the text of each line."""
    number = 0
    try:
        for number, line in enumerate(stream, 1):
            line = line.removesuffix(b"\n").removesuffix(b"\r")
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            yield number, _decoded(line, f"{name}:{number}")
    except _DAMAGES as error:
        if getattr(error, "errno", None) is not None:
            raise  # The trouble is with the disk, not with what is on it.
        raise ValueError(
            f"{name}:{number + 1}: must go on as the compressed file that its "
            f"suffix tells. Received: {error}"
        ) from error


def _decoded(line, place):
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{place}: must be UTF-8. Received: byte "
            f"0x{line[error.start]:02x} at column {error.start + 1}"
        ) from error
    check_sentence(text, place)
    return text


def check_sentence(text, place):
    """Raises a `ValueError` for what no tensor of sentences can hold."""
    if "\0" in text:
        raise ValueError(
            f"{place}: must be text. Received: a NUL character at column "
            f"{text.index(chr(0)) + 1}"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{place}: must be text. Received: half a surrogate pair at column "
            f"{error.start + 1}"
        ) from error


def _parse_txt(lines, name, key):
    document = []
    found = False
    for _, line in lines:
        if line.strip():
            document.append(line)
        elif document:
            found = True
            yield document
            document = []
    if document:
        yield document
    elif not found:
        raise ValueError(_empty(name))


def _parse_jsonl(lines, name, key):
    found = False
    for number, line in lines:
        if line.strip():
            document = _parse_object(line, f"{name}:{number}", key)
            found = found or bool(document)
            yield document
    if not found:
        raise ValueError(_empty(name))


def _empty(name):
    return (
        f"{name}:1: must hold at least one sentence that is not blank. "
        "Received: none to the end of the file"
    )


def _parse_object(line, place, key):
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{place}: must be a JSON object. Received: {line[:40]!r} ({error})"
        ) from error
    if not isinstance(value, dict):
        raise ValueError(
            f"{place}: must be a JSON object. Received: {line[:40]!r}"
        )
    if key not in value:
        raise ValueError(
            f"{place}: must have the key {key!r} (`key`, on the command line "
            "`--key`, names another). Received: the keys "
            f"{', '.join(map(repr, value)) or 'of an empty object'}"
        )
    if not isinstance(value[key], list):
        raise ValueError(
            f"{place}: must have a list of strings under {key!r}. Received: "
            f"{value[key]!r:.40}"
        )
    return check_document(value[key], f"{place}: {key!r}")


def check_document(sentences, place):
    """Returns the sentences that are not blank, once all have been checked."""
    sentences = list(sentences)
    for index, sentence in enumerate(sentences):
        if not isinstance(sentence, str):
            raise ValueError(
                f"{place}: must hold strings only. Received: {sentence!r:.40} "
                f"as item {index}"
            )
        check_sentence(sentence, f"{place}, item {index}")
    return [sentence for sentence in sentences if sentence.strip()]


PARSERS = {"txt": _parse_txt, "jsonl": _parse_jsonl}
