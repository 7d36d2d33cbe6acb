"""Zip archives from anyone: `.keras` and `.npz`."""

import contextlib
import os
import pathlib
import struct
import zipfile
from collections.abc import Iterator

from keras_hvae.files import DamagedFileError, check_regular

# An archive of ours has a dozen of members, of about 100 bytes each.
DIRECTORY_BYTES = 2**20
# The end of a zip file: a signature, counts, the size of the directory, and a
# comment of up to 64 KiB.
_END = struct.Struct("<4s4H2LH")
_SIGNATURE = b"PK\x05\x06"


@contextlib.contextmanager
def open_archive(
    path: str | os.PathLike, expected: str = "a whole zip archive"
) -> Iterator[zipfile.ZipFile]:
    """Opens a zip archive, to read its members by name.

    Nothing is written to the disk: a name such as `../x` does no harm but is
    refused all the same.

    Args:
        path: of the file.
        expected: what it should be, for messages.

    Yields:
        A `zipfile.ZipFile` whose members have unlike, plain names.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
        DamagedFileError: if it is no regular file, or such an archive.
    """
    check_regular(path)
    with open(path, "rb") as file:
        _check_directory(file, path, expected)
        try:
            archive = zipfile.ZipFile(file)
        # Errors of a damaged zip file: BadZipFile, EOFError, struct.error,
        # UnicodeDecodeError, NotImplementedError, OSError of a bad offset ...
        except Exception as error:
            raise DamagedFileError(
                path, expected, f"{type(error).__name__}: {error}"
            ) from error
        with archive:
            _check_names(archive, path)
            yield archive


def _check_directory(file, path, expected):
    """Python's zipfile keeps 10 times as many bytes of it in memory."""
    size = file.seek(0, os.SEEK_END)
    file.seek(-min(size, _END.size + 2**16), os.SEEK_END)
    tail = file.read()
    start = tail.rfind(_SIGNATURE)
    if start < 0 or start + _END.size > len(tail):
        raise DamagedFileError(
            path,
            expected,
            "a file without its end" if size else "an empty file",
        )
    directory = _END.unpack_from(tail, start)[5]
    if directory > DIRECTORY_BYTES:
        raise DamagedFileError(
            path,
            f"an archive with a directory of at most {DIRECTORY_BYTES:,} bytes",
            f"one of {directory:,}",
        )


def _check_names(archive, path):
    names = archive.namelist()
    for name in names:
        parts = pathlib.PurePosixPath(name).parts
        if ".." in parts or name.startswith("/") or "\\" in name:
            raise DamagedFileError(
                path, "members with plain names", f"{name!r:.80}"
            )
    if len(set(names)) < len(names):
        raise DamagedFileError(
            path, "members of unlike names", f"{len(names)} with twins"
        )
