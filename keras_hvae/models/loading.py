"""Loads a model from a file, a folder or a preset."""

import os
import pathlib

import keras

from keras_hvae.files import DamagedFileError, check_inside
from keras_hvae.models.document_model import DocumentModel
from keras_hvae.presets.finite import find_not_finite
from keras_hvae.presets.preset_files import is_preset, known_presets
from keras_hvae.presets.sizes import (
    MAX_EXPANSION,
    check_archive,
    find_class,
    not_whole,
)

MODEL_FILE = "model.keras"


def load_model(
    path: str | os.PathLike, max_expansion: float = MAX_EXPANSION
) -> DocumentModel:
    """Loads a model from a folder of `train`, a preset or a `.keras` file.

    Unlike `keras.saving.load_model`, it first compares the sizes that a file
    tells with what the file holds: a damaged one is an error at once, not a
    model that no memory holds. It makes no object that runs code of the file
    or reads other files, even after
    `keras.config.enable_unsafe_deserialization()`, and follows no link out
    of a folder.

    Args:
        path: of a `.keras` file, or of a folder that `keras-hvae train` or
            `save_to_preset` has written, or the name of a preset.
        max_expansion: how many times their bytes in the file weights may
            take in memory (and 16 MiB more). More are a sign of a file made
            to fill the memory, or of a model of which most weights are 0.

    Returns:
        A model of this package, such as an `HVAE`.

    Raises:
        FileNotFoundError: if there is none.
        DamagedFileError: a `ValueError`, too, if a file is not whole, names
            an object that is not allowed, or has weights that are no
            numbers (NaN).
        ValueError: if it is another model.

    Example:

    >>> HVAE(["yes", "no"], 2, 4, 8).save("tiny.keras")
    >>> load_model("tiny.keras").vocabulary_size
    6
    """
    if is_preset(path):
        return DocumentModel.from_preset(path, max_expansion=max_expansion)
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / MODEL_FILE
        check_inside(path, path.parent)
    if not os.path.lexists(path):
        raise FileNotFoundError(_missing(path))
    name = check_archive(path, DocumentModel, max_expansion)
    if find_class(name, DocumentModel) is None:
        raise ValueError(
            f"{path}: expected a model of keras_hvae. Received: a {name}"
        )
    try:
        model = keras.saving.load_model(path, safe_mode=True)
    except MemoryError:
        raise
    # Keras raises many kinds of errors for a damaged file: OSError, KeyError,
    # TypeError ...
    except Exception as error:
        raise not_whole(path, error) from error
    wrong = find_not_finite(model)
    if wrong is not None:
        raise DamagedFileError(
            path, "weights that are numbers", f"NaN in {wrong}"
        )
    return model


def _missing(path):
    folder = path.parent if path.name == MODEL_FILE else path
    # Files that a stopped training leaves.
    beside = [
        str(x)
        for pattern in (f"{folder.name}.*", f".{folder.name}-*")
        for x in sorted(folder.parent.glob(pattern))
        if (x / MODEL_FILE).is_file()
    ]
    return (
        f"{path}: no such model file, and no preset "
        f"({', '.join(known_presets()) or 'none'} in this package)."
        + (f" There is {', '.join(beside)}." if beside else "")
    )
