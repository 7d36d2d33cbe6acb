"""The model that a command uses, and what its folder tells of it."""

import hashlib
import json
import math
import os
import pathlib
from typing import Any

import keras

from keras_hvae.files import (
    DamagedFileError,
    check_inside,
    check_regular,
    json_line,
    read_json,
    write_json,
)
from keras_hvae.models import loading

SETTINGS_FILE = "settings.json"
DIGEST = "sha256"  # of the settings beside it
# A corpus counts its documents by their number of sentences, in an array.
MOST_SENTENCES = 2**16


def load_model(path: str | os.PathLike) -> Any:
    """Loads a model of words: see `keras_hvae.load_model`."""
    model = loading.load_model(path)
    if model.preprocessor is None:
        raise ValueError(
            f"{path}: expected a model with a vocabulary of words. "
            f"Received: a model of {model.vocabulary_size} ids"
        )
    return model


def write_settings(folder: pathlib.Path, settings: dict) -> None:
    """Writes what a model was trained with, for `trained_with`."""
    settings = json.loads(json_line(settings))  # as it will be read
    write_json(folder / SETTINGS_FILE, {**settings, DIGEST: _digest(settings)})


def _digest(settings):
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def trained_with(
    model: keras.Model,
    name: str,
    default: Any,
    lowest: float = 0,
    highest: float = math.inf,
) -> Any:
    """A setting of the training, from the model's folder, if it is there.

    Args:
        model: path of the model, as the command got it.
        name: of the setting.
        default: what to return where it is not known; a setting must be of
            the same type.
        lowest, highest: the smallest and the largest value of a number.

    Raises:
        DamagedFileError: if it is another, or the file is not whole.
    """
    path = pathlib.Path(model)
    path = (path if path.is_dir() else path.parent) / SETTINGS_FILE
    if not pathlib.Path(model).exists() or not os.path.lexists(path):
        return default  # a preset, or a model that `train` did not write
    check_inside(path, path.parent)
    check_regular(path)
    settings = read_json(path)
    digest = settings.pop(DIGEST, None)
    # Those of before had none.
    if digest is not None and digest != _digest(settings):
        raise DamagedFileError(
            path, f"settings of which `{DIGEST}` is the digest", "others"
        )
    value = settings.get(name, default)
    kind = type(default)
    if type(value) is not kind or (
        kind is int and not lowest <= value <= highest
    ):
        expected = f"`{name}` to be a str"
        if kind is int:
            expected = f"`{name}` to be an int >= {lowest}"
            if highest < math.inf:
                expected += f" and <= {highest:,}"
        raise DamagedFileError(path, expected, f"{value!r:.80}")
    return value
