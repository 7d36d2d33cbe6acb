"""Files that are written whole or not at all."""

import contextlib
import errno
import json
import math
import os
import pathlib
import stat
import tempfile

import numpy as np

# Text and ids shrink to a tenth or so. Up to so many bytes anything goes.
EXPANSION_RATIO = 200
EXPANSION_BYTES = 1 << 24


class DamagedFileError(ValueError):
    """A file or folder does not hold what it should.

    Args:
        path: of the file, with `:` and the line where there is one.
        expected: what should have been there.
        received: what was there instead.

    Attributes:
        path, expected, received: the arguments, as strings.

    Example:

    >>> print(DamagedFileError("a.npz", "a zip file", "an empty file"))
    a.npz: expected a zip file. Received: an empty file
    """

    def __init__(self, path, expected, received):
        self.path = str(path)
        self.expected = str(expected)
        self.received = str(received)
        super().__init__(
            printable(
                f"{self.path}: expected {self.expected}. "
                f"Received: {self.received}"
            )
        )

    def __reduce__(self):
        return type(self), (self.path, self.expected, self.received)


def printable(text):
    """`text` with its control characters escaped: no terminal obeys it.

    Example:

    >>> print(printable("a\\x1b[31mb"))
    a\\x1b[31mb
    """
    return "".join(
        char
        if char.isprintable()
        else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def check_regular(path):
    """Raises unless `path` is a regular file, or a link to one.

    To open a pipe waits for its writer, and a device may have no end.

    Raises:
        FileNotFoundError: if there is nothing.
        DamagedFileError: if it is a folder, a pipe, a socket or a device.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kinds = {
            stat.S_IFDIR: "a folder",
            stat.S_IFIFO: "a pipe",
            stat.S_IFSOCK: "a socket",
        }
        kind = kinds.get(stat.S_IFMT(mode), "a device")
        raise DamagedFileError(path, "a regular file", kind)


def check_expansion(path, packed, unpacked):
    """Raises `DamagedFileError` for a small file that unpacks without end.

    Args:
        path: of the file.
        packed: its bytes.
        unpacked: the bytes that it has been unpacked to, or says it will be.
    """
    if unpacked > max(EXPANSION_BYTES, EXPANSION_RATIO * packed):
        raise DamagedFileError(
            path,
            f"at most {EXPANSION_RATIO} times the {packed:,} bytes that it "
            "takes compressed",
            f"{unpacked:,} bytes or more",
        )


@contextlib.contextmanager
def write_whole(path):
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
    # `mkstemp` makes files for their owner alone; others are made by umask.
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(temporary, 0o666 & ~umask)
    try:
        yield pathlib.Path(temporary)
        os.replace(temporary, path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def check_folder(path):
    """Raises `FileNotFoundError` unless `path` is in a folder that exists."""
    folder = pathlib.Path(path).parent
    if not folder.is_dir():
        raise FileNotFoundError(
            errno.ENOENT, "No such folder to write in", str(folder)
        )


def write_json(path, value):
    """Writes `value` as indented JSON, whole or not at all.

    Numbers that JSON cannot hold (NaN, infinity) become null.
    """
    text = json.dumps(_finite(value), indent=2, allow_nan=False)
    with write_whole(path) as temporary:
        temporary.write_text(text + "\n", "utf-8")


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
