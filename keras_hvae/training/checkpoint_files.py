"""The files of a `Checkpoint`: whole, checked, the last two."""

import hashlib
import io
import json
import pathlib
import re
import warnings
import zipfile
from typing import Any

import numpy as np

from keras_hvae.archives import open_archive
from keras_hvae.files import DamagedFileError, check_regular, write_whole

# A file is the SHA-256 of the rest, hexadecimal, a line feed, and an archive
# of NumPy with the arrays of the state and, as `text`, the JSON of all else.
KEPT = 2
DIGEST = 65  # and the line feed
SUFFIX = ".checkpoint"
_EXPECTED = "a file of `keras_hvae.training.Checkpoint`"
# NumPy's for an array that says it is larger than the memory is the third.
_DAMAGES = (
    EOFError,
    KeyError,
    MemoryError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
)
_NAME = re.compile(rf"epoch-(\d{{6,}})-step-(\d{{9,}}){re.escape(SUFFIX)}")


def write_checkpoint(
    folder: pathlib.Path, epoch: int, step: int, state: dict
) -> pathlib.Path:
    """Writes a state, whole or not at all; then removes all but two files.

    Args:
        folder: with nothing else in it. It is made if it is not there.
        epoch, step: the place in the training, which the file is named after.
        state: of numbers, strings, `None`, NumPy arrays, and lists and dicts
            of such.

    Returns:
        The path of the file.

    Raises:
        OSError: if it cannot be written; what was there is as it was.
    """
    arrays: dict[str, Any] = {}
    text = json.dumps(_take_out(state, arrays))
    archive = io.BytesIO()
    np.savez(archive, text=np.frombuffer(text.encode(), np.uint8), **arrays)
    folder.mkdir(parents=True, exist_ok=True)
    path = checkpoint_path(folder, epoch, step)
    content = archive.getbuffer()
    with write_whole(path) as temporary, open(temporary, "wb") as file:
        file.write(hashlib.sha256(content).hexdigest().encode() + b"\n")
        file.write(content)
    for old in find_checkpoints(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def checkpoint_path(
    folder: pathlib.Path, epoch: int, step: int
) -> pathlib.Path:
    """The path of a file, from the place in the training."""
    return folder / f"epoch-{epoch:06}-step-{step:09}{SUFFIX}"


def find_checkpoints(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of a folder, the furthest of the training first."""
    if not folder.is_dir():
        return []
    found = [
        (tuple(map(int, match.groups())), path)
        for path in folder.iterdir()
        if (match := _NAME.fullmatch(path.name))
    ]
    return [path for _, path in sorted(found, reverse=True)]


def remove_temporary(folder: pathlib.Path) -> None:
    """Removes what a killed process had not written to its end."""
    for path in folder.glob(f".epoch-*{SUFFIX}"):
        path.unlink(missing_ok=True)


def read_last(folder: pathlib.Path) -> tuple[pathlib.Path, dict] | None:
    """The state that is furthest, of those that are whole.

    Damaged files get the ending `.damaged`, so that they do not count among
    the two that are kept.

    Returns:
        The path of its file, and what was given to `write_checkpoint`; `None`
        if there is no file.

    Raises:
        DamagedFileError: if no file is whole.
    """
    error, damaged = None, []
    for path in find_checkpoints(folder):
        try:
            state = read_checkpoint(path)
        except DamagedFileError as damage:
            error = error or damage
            damaged.append(path)
            continue
        if error is not None:
            warnings.warn(
                f"{error} The training goes on from {path}, which is the one "
                "before.",
                stacklevel=2,
            )
        for other in damaged:
            other.rename(f"{other}.damaged")
        return path, state
    if error is not None:
        raise error
    return None


def read_checkpoint(path: pathlib.Path) -> dict:
    """The state of a file.

    Raises:
        DamagedFileError: if it is not as it was written.
    """
    check_regular(path)
    expected, archive = _split(path.read_bytes())
    received = hashlib.sha256(archive).hexdigest().encode() + b"\n"
    if received != expected:
        raise DamagedFileError(
            path,
            f"content with the SHA-256 {expected!r}",
            f"{received!r}, of {len(archive):,} bytes",
        )
    # Compressed ones could take any amount of memory.
    with open_archive(path, _EXPECTED) as members:
        for member in members.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise DamagedFileError(
                    path,
                    f"{_EXPECTED}, of arrays that are not compressed",
                    member.filename,
                )
    try:
        with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
            text = arrays["text"].tobytes()
            state = _put_in(json.loads(text), arrays)
        if not isinstance(state, dict):
            raise ValueError(f"a state that is a {type(state).__name__}")
        return state
    except _DAMAGES as error:
        raise DamagedFileError(path, _EXPECTED, error) from error


def _split(content):
    return content[:DIGEST], memoryview(content)[DIGEST:]


def _take_out(value: Any, arrays: dict) -> Any:
    """`value` for JSON; its arrays are put into `arrays`."""
    if isinstance(value, np.ndarray):
        key = f"a{len(arrays)}"
        # NumPy does not write the types that it does not know, such as
        # bfloat16, so that it could read them.
        plain = value.dtype.kind in "biufc"
        arrays[key] = value if plain else value.view(f"u{value.itemsize}")
        return {"array": key}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {"dict": {k: _take_out(x, arrays) for k, x in value.items()}}
    if isinstance(value, (list, tuple)):
        return [_take_out(x, arrays) for x in value]
    return value


def _put_in(value, arrays):
    if isinstance(value, dict):
        if "array" in value:
            return arrays[value["array"]]
        return {k: _put_in(x, arrays) for k, x in value["dict"].items()}
    if isinstance(value, list):
        return [_put_in(x, arrays) for x in value]
    return value
