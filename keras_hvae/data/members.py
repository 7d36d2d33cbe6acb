"""Reads arrays of integers from untrusted `.npz` files."""

import contextlib
import math
import os
import zipfile

import numpy as np

from keras_hvae.archives import open_archive
from keras_hvae.data.saved import CORPUS
from keras_hvae.files import EXPANSION_RATIO, DamagedFileError, check_expansion

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Members:
    """Reads arrays out of an open `.npz`, each once what it says was checked.

    What numpy reads as it comes is compared first: the size that the array's
    header tells, the size that the archive tells, and the bytes that both
    take in the file. Nothing larger than these is ever allocated; members
    that nobody asks for are not read.

    Args:
        path: of the file.
        max_expansion: how many times the file's bytes an array may have.

    Raises:
        FileNotFoundError: if there is no such file.
        DamagedFileError: if it is no regular file or no zip archive.
    """

    def __init__(
        self, path: str | os.PathLike, max_expansion: float = EXPANSION_RATIO
    ) -> None:
        self.path = path
        self.max_expansion = max_expansion
        self._close = contextlib.ExitStack()
        self._archive = self._close.enter_context(open_archive(path, CORPUS))
        self._packed = os.path.getsize(path)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return self._close.__exit__(*error)

    def read(self, name: str, most: int | None = None) -> np.ndarray:
        """Returns the array `(N,)` of integers of a name.

        Args:
            name: of the array.
            most: the largest number of bytes to read; `None` for any.

        Raises:
            KeyError: if there is no such array.
            DamagedFileError: if it is no array of integers of one axis, or
                its size is not what it says.
            Exception: whatever zipfile and zlib raise for damaged archives.
        """
        info = self._archive.getinfo(f"{name}.npy")

        def damage(expected, received):
            return DamagedFileError(
                self.path, f"{expected} in {name}", received
            )

        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise damage("the compression of numpy", info.compress_type)
        # Compared with the size of the whole file: an array of equal lengths
        # alone compresses to nearly nothing.
        check_expansion(
            self.path, self._packed, info.file_size, self.max_expansion
        )
        if most is not None and info.file_size > most:
            raise damage(f"at most {most:,} bytes", f"{info.file_size:,}")
        with self._archive.open(info) as file:
            version = np.lib.format.read_magic(file)
            if version not in _HEADERS:
                raise damage("npy 1.0 or 2.0", version)
            shape, _, dtype = _HEADERS[version](file)
            size = math.prod(shape) * dtype.itemsize
            if dtype.kind not in "iu" or len(shape) != 1:
                raise damage(
                    "integers along one axis", f"{dtype} of shape {shape}"
                )
            left = info.file_size - file.tell()
            if size != left:
                raise damage(f"{size:,} bytes for shape {shape}", f"{left:,}")
            # Read to the end: only then zipfile compares the checksum.
            data = file.read()
        if len(data) != size:
            raise damage(f"{size:,} bytes", f"{len(data):,}")
        return np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
