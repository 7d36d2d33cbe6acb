"""Which classes and functions the config of a saved model may name."""

import os
from typing import Any

import keras

from keras_hvae.files import DamagedFileError

# They run code of the file, or read other files.
UNSAFE = (
    "__lambda__",
    "FlaxLayer",
    "IntegerLookup",
    "JaxLayer",
    "Lambda",
    "StringLookup",
    "TFSMLayer",
    "TextVectorization",
    "TorchModuleWrapper",
)
# Of Keras, those that compute only.
FUNCTIONS = (
    "keras.activations",
    "keras.initializers",
    "keras.losses",
    "keras.metrics",
    "keras.ops",
)
# Values that Keras writes as if they were objects.
VALUES = ("__bytes__", "__ellipsis__", "__numpy__", "__slice__", "__tensor__")


def check_objects(saved: Any, path: str | os.PathLike) -> None:
    """Checks every object that a config tells Keras to make.

    A config names classes and functions. Allowed are those that this package
    or its user has registered, and those of Keras that run no code of the
    file's and read no other file.

    Args:
        saved: JSON value.
        path: of its file, for messages.

    Raises:
        DamagedFileError: if it names something else.
    """
    values = [saved]
    while values:
        value = values.pop()
        if isinstance(value, list):
            values.extend(value)
        elif isinstance(value, dict):
            values.extend(value.values())
            if "class_name" in value and not _is_safe(value):
                raise DamagedFileError(
                    path,
                    "only objects that are registered here (import the module "
                    "that defines them first), or of Keras and without code or "
                    "files of their own",
                    f"{value.get('module')!r:.40} {value['class_name']!r:.40} "
                    f"{value.get('registered_name')!r:.40}",
                )


def _is_safe(value):
    name, module = value["class_name"], value.get("module")
    # Of a function the name is its config.
    function = name == "function"
    key = value.get("config" if function else "registered_name")
    key = name if key is None else key
    if not isinstance(name, str) or not isinstance(key, str):
        return False
    if {name, key, key.rpartition(">")[2]} & {*UNSAFE}:
        return False
    if name in VALUES or keras.saving.get_registered_object(key) is not None:
        return True
    if not isinstance(module, str):
        return False
    if function:
        return module in FUNCTIONS
    return module == "keras" or module.startswith("keras.")
