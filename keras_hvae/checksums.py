"""SHA-256 of models, and of the files of a folder as `sha256sum` has them."""

import hashlib
import json
import pathlib

import keras
import numpy as np

from keras_hvae.whole_files import (
    SUMS_FILE,
    check_listed,
    check_sums,
    sha256,
)

__all__ = [
    "SUMS_FILE",
    "check_listed",
    "check_sums",
    "model_digest",
    "sha256",
    "write_sums",
]

# Arguments that came later, with what they are of models from before: these
# keep their digest.
LATER = {"past": "latents", "rate": None, "bounded": False}
NONE = object()


def write_sums(folder: pathlib.Path) -> None:
    """Writes `SHA256SUMS` of all files below `folder`, for `sha256sum -c`."""
    lines = [
        f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    (folder / SUMS_FILE).write_bytes("".join(lines).encode())


def model_digest(model: keras.Model) -> str:
    """SHA-256 of a model's configuration and all weights, hexadecimal."""
    config = {**model.get_config(), "name": None}
    config = {k: x for k, x in config.items() if LATER.get(k, NONE) != x}
    text = json.dumps(config, sort_keys=True, default=_plain)
    sums = hashlib.sha256(text.encode())
    for weights in model.get_weights():
        sums.update(np.ascontiguousarray(weights).tobytes())
    return sums.hexdigest()


def _plain(number):
    """A NumPy number as one of Python's."""
    return number.item()
