"""SHA-256 of models, and of the files of a folder as `sha256sum` has them."""

import hashlib
import json
import os
import pathlib
import re
from collections.abc import Collection

import keras
import numpy as np

from keras_hvae.files import DamagedFileError

SUMS_FILE = "SHA256SUMS"
LARGEST_SUMS = 2**20  # bytes


def write_sums(folder: pathlib.Path) -> None:
    """Writes `SHA256SUMS` of all files below `folder`, for `sha256sum -c`."""
    lines = [
        f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    (folder / SUMS_FILE).write_bytes("".join(lines).encode())


def check_sums(folder: str | os.PathLike) -> set[str]:
    """Compares the files of `folder` with its `SHA256SUMS`.

    Returns:
        The names of the files in the list. No other file is to be read.

    Raises:
        DamagedFileError: if there is no list, if it cannot be read, or if a
            file in it is missing or another.
    """
    folder = pathlib.Path(folder)
    path = folder / SUMS_FILE
    if not path.is_file():
        raise DamagedFileError(
            folder, f"a folder with a {SUMS_FILE}", "one without"
        )
    size = path.stat().st_size
    if size > LARGEST_SUMS:
        raise DamagedFileError(
            path, f"at most {LARGEST_SUMS:,} bytes", f"{size:,} bytes"
        )
    names = set()
    for line in path.read_bytes().decode(errors="replace").splitlines():
        match = re.fullmatch(r"([0-9a-f]{64}) [ *]([^/\\].*)", line)
        if (
            match is None
            or ".." in pathlib.PurePath(match[2]).parts
            or match[2] in names
        ):
            raise DamagedFileError(
                path,
                "a SHA-256, two spaces and the name of a file of this folder, "
                "each once",
                repr(line[:100]),
            )
        expected, name = match.groups()
        names.add(name)
        received = "no such file"
        if (folder / name).is_file():
            received = sha256(folder / name)
            if received == expected:
                continue
            received += f", of {(folder / name).stat().st_size} bytes"
        raise DamagedFileError(
            folder / name, f"the SHA-256 {expected}", received
        )
    return names


def check_listed(
    folder: pathlib.Path, names: Collection[str], *required: str
) -> None:
    """Raises `DamagedFileError` unless all `required` are in `names`."""
    for name in required:
        if name not in names:
            listed = ", ".join(sorted(names)) or "an empty file"
            raise DamagedFileError(
                folder / SUMS_FILE, f"a line for {name}", f"only {listed}"
            )


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_digest(model: keras.Model) -> str:
    """SHA-256 of a model's configuration and all weights, hexadecimal."""
    config = {**model.get_config(), "name": None}
    text = json.dumps(config, sort_keys=True, default=_plain)
    sums = hashlib.sha256(text.encode())
    for weights in model.get_weights():
        sums.update(np.ascontiguousarray(weights).tobytes())
    return sums.hexdigest()


def _plain(number):
    """A NumPy number as one of Python's."""
    return number.item()
