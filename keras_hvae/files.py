"""Files that are written whole or not at all."""

import contextlib
import ctypes
import errno
import itertools
import json
import math
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_hvae.whole_files import (
    DamagedFileError,
    check_inside,
    check_regular,
    printable,
)

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "DamagedFileError",
    "check_expansion",
    "check_folder",
    "check_inside",
    "check_regular",
    "free_sibling",
    "json_line",
    "lock_file",
    "new_sibling",
    "parse_json",
    "printable",
    "read_json",
    "replace_folder",
    "sync",
    "sync_all",
    "write_folder",
    "write_json",
    "write_whole",
]

LARGEST_JSON = 2**24  # bytes, enough for the largest vocabularies
# Text and ids compress to about a tenth. Below this size nothing is checked.
EXPANSION_RATIO = 200
EXPANSION_BYTES = 1 << 24
# Of renameat2 on Linux: RENAME_EXCHANGE; RENAME_SWAP on macOS.
_SWAP = 2
_AT_FDCWD = -100


def check_expansion(
    path: str | os.PathLike,
    packed: int,
    unpacked: int,
    max_expansion: float = EXPANSION_RATIO,
) -> None:
    """Raises `DamagedFileError` for a small file that unpacks without end.

    Args:
        path: of the file.
        packed: its bytes.
        unpacked: the bytes that it has been unpacked to, or says it will be.
        max_expansion: how many times as many they may be. 16 MiB are always
            allowed.
    """
    if unpacked > max(EXPANSION_BYTES, max_expansion * packed):
        raise DamagedFileError(
            path,
            f"at most {max_expansion:g} times (`max_expansion`) the "
            f"{packed:,} bytes that it takes compressed",
            f"{unpacked:,} bytes or more",
        )


@contextlib.contextmanager
def write_whole(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path`, renamed to it at the end.

    If the body fails, the temporary file is removed and what was at `path`
    stays.

    Args:
        path: where the file shall be.

    Raises:
        FileNotFoundError, PermissionError: at once, if nothing can be
            written there.

    Example:

    >>> with write_whole("greeting.txt") as temporary:
    ...     size = temporary.write_text("hello")
    >>> pathlib.Path("greeting.txt").read_text()
    'hello'
    """
    path = pathlib.Path(path)
    check_folder(path)
    # The suffix stays: writers such as Keras go by it.
    handle, temporary = tempfile.mkstemp(
        prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
    )
    os.close(handle)
    _allow(temporary, 0o666)
    try:
        yield pathlib.Path(temporary)
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def new_sibling(folder: str | os.PathLike) -> pathlib.Path:
    """Makes an empty folder beside `folder`, with a hidden name of its own.

    Returns:
        A `pathlib.Path`.

    Raises:
        FileNotFoundError, PermissionError: if nothing can be written there.
    """
    folder = pathlib.Path(folder)
    check_folder(folder)
    path = tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent)
    _allow(path, 0o777)
    return pathlib.Path(path)


def free_sibling(folder: str | os.PathLike, word: str) -> pathlib.Path:
    """A path beside `folder` where nothing is: `x.word`, `x.word-2`, ...

    Example:

    >>> free_sibling("models/m", "old").name
    'm.old'
    """
    names = itertools.chain(
        [f".{word}"], (f".{word}-{n}" for n in itertools.count(2))
    )
    paths = (pathlib.Path(f"{folder}{name}") for name in names)
    return next(path for path in paths if not os.path.lexists(path))


def replace_folder(new: str | os.PathLike, folder: str | os.PathLike) -> None:
    """Renames the folder `new` to `folder`, whatever folder is there.

    Where the system can, both change places at once: there is always a whole
    folder at `folder`. Elsewhere what was there is first renamed to
    `free_sibling(folder, "old")`: a stop in between leaves each of both
    folders whole, and `from_preset` finds the old one. It is deleted last.
    """
    new, folder = pathlib.Path(new), pathlib.Path(folder)
    old = free_sibling(folder, "old")
    sync_all(new)
    try:
        if folder.exists() and _exchange(new, folder):
            new.rename(old)
        else:
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
        sync(folder.parent)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
    finally:
        if folder.exists() and not new.exists():
            shutil.rmtree(old, ignore_errors=True)


def _exchange(one, other):
    """Lets two paths change places, at once; whether the system could."""
    try:
        library = ctypes.CDLL(None)
        paths = os.fsencode(one), os.fsencode(other)
        if sys.platform == "darwin":
            return library.renamex_np(*paths, _SWAP) == 0
        here = ctypes.c_int(_AT_FDCWD)
        return library.renameat2(here, paths[0], here, paths[1], _SWAP) == 0
    # Windows, an old kernel, a C library without it.
    except (AttributeError, OSError, TypeError):
        return False


@contextlib.contextmanager
def lock_file(path: str | os.PathLike, holder: str) -> Iterator[None]:
    """Holds the lock of a file; the system frees it if the process dies.

    Args:
        path: of the file, which is made and stays.
        holder: who has the lock otherwise, for the message.

    Raises:
        BlockingIOError: if another process has it.

    Example:

    >>> with lock_file("lock", "Another program"):
    ...     pathlib.Path("lock").exists()
    True
    """
    with open(path, "a+") as file:
        # Not on Windows, where two trainings are then not told apart.
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                number = file.read(20).strip() or "?"
                raise BlockingIOError(
                    f"{holder} runs, process {number}: {path} is locked."
                ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


@contextlib.contextmanager
def write_folder(folder: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a new folder beside `folder`, renamed to it at the end.

    If the body fails, the new one is removed and what was at `folder` stays.

    Args:
        folder: where the folder shall be; one that is there is replaced.

    Raises:
        FileNotFoundError, PermissionError: at once, if nothing can be
            written there.
    """
    folder = pathlib.Path(folder).resolve()
    new = new_sibling(folder)
    try:
        yield new
        replace_folder(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def sync_all(folder: pathlib.Path) -> None:
    """`sync` of a folder and of all that is below it."""
    for path in sorted(folder.rglob("*"), reverse=True):
        sync(path)
    sync(folder)


def sync(path: str | os.PathLike) -> None:
    """Waits until a file or folder is on the disk.

    Otherwise a rename may get there before the data, and a power cut leaves
    an empty file.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _allow(path, mode):
    """Gives the rights that the umask leaves: temporary ones have fewer."""
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(path, mode & ~umask)


def check_folder(path: str | os.PathLike) -> None:
    """Raises `FileNotFoundError` unless `path` is in a folder that exists."""
    folder = pathlib.Path(path).parent
    if not folder.is_dir():
        raise FileNotFoundError(
            errno.ENOENT, "No such folder to write in", str(folder)
        )


def json_line(value: Any) -> str:
    """`value` as JSON on one line; NaN and infinity become null.

    Example:

    >>> json_line({"nll": float("nan"), "kl": 0.5})
    '{"nll": null, "kl": 0.5}'
    """
    return json.dumps(_finite(value), allow_nan=False)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes `value` as indented JSON, whole or not at all.

    Numbers that JSON cannot hold (NaN, infinity) become null.
    """
    text = json.dumps(_finite(value), indent=2, allow_nan=False)
    with write_whole(path) as temporary:
        temporary.write_text(text + "\n", "utf-8")


def read_json(path: str | os.PathLike, largest: int = LARGEST_JSON) -> dict:
    """Reads a file with a JSON object.

    Args:
        path: of the file.
        largest: number of bytes that it may have. What JSON stands for may
            need many times the memory.

    Raises:
        DamagedFileError: if it is larger, or no JSON object in UTF-8.
    """
    size = os.path.getsize(path)
    if size > largest:
        raise DamagedFileError(
            path, f"at most {largest:,} bytes", f"{size:,} bytes"
        )
    return parse_json(pathlib.Path(path).read_bytes(), path)


def parse_json(text: bytes, path: str | os.PathLike) -> dict:
    """The JSON object in `text`, bytes of `path`; see `read_json`."""
    try:
        value = json.loads(text)
    # Raised by a number with thousands of digits, and by deep nesting.
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(path, "JSON", error) from error
    if not isinstance(value, dict):
        received = f"{type(value).__name__} {value!r:.40}"
        raise DamagedFileError(path, "a JSON object", received)
    return value


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(x) for x in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
