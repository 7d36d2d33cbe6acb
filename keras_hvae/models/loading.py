"""Loads a model from a file, a folder or a preset."""

import os
import pathlib

import keras

from keras_hvae.models.document_model import DocumentModel
from keras_hvae.presets.preset_files import is_preset, known_presets
from keras_hvae.presets.sizes import check_archive, find_class, not_whole

MODEL_FILE = "model.keras"


def load_model(path: str | os.PathLike) -> DocumentModel:
    """Loads a model from a folder of `train`, a preset or a `.keras` file.

    Unlike `keras.saving.load_model`, it first compares the sizes that a file
    tells with what the file holds: a damaged one is an error at once, not a
    model that no memory holds.

    Args:
        path: of a `.keras` file, or of a folder that `keras-hvae train` or
            `save_to_preset` has written, or the name of a preset.

    Returns:
        A model of this package, such as an `HVAE`.

    Raises:
        FileNotFoundError: if there is none.
        DamagedFileError: a `ValueError`, too, if a file is not whole.
        ValueError: if it is another model.

    Example:

    >>> HVAE(["yes", "no"], 2, 4, 8).save("tiny.keras")
    >>> load_model("tiny.keras").vocabulary_size
    6
    """
    if is_preset(path):
        return DocumentModel.from_preset(path)
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / MODEL_FILE
    if not path.is_file():
        raise FileNotFoundError(_missing(path))
    name = check_archive(path, DocumentModel)
    if find_class(name, DocumentModel) is None:
        raise ValueError(
            f"{path}: expected a model of keras_hvae. Received: a {name}"
        )
    try:
        return keras.saving.load_model(path)
    except MemoryError:
        raise
    # Keras raises many kinds of errors for a damaged file: OSError, KeyError,
    # TypeError ...
    except Exception as error:
        raise not_whole(path, error) from error


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
