"""The objects in the saved config of a model."""

import keras

from keras_hvae.emissions import Emission
from keras_hvae.layers import OutputSoftmax
from keras_hvae.text import Preprocessor

# A file is not to name any other class that Keras knows.
PARTS = {
    "vocabulary": Preprocessor,
    "softmax": OutputSoftmax,
    "emission": Emission,
    "dtype": keras.dtype_policies.DTypePolicy,
}


def read_parts(config: dict, custom_objects: dict | None = None) -> dict:
    """The config with its objects made from their dictionaries.

    Raises:
        ValueError: if one of them is of another class than it must be.
    """
    config = dict(config)
    for key, kind in PARTS.items():
        part = config.get(key)
        if not isinstance(part, dict):
            continue
        name = part.get("registered_name") or part.get("class_name")
        if key == "dtype":  # policies are Keras' own, and not registered
            module = str(part.get("module")).partition(".")[0]
            right = module == "keras" and "Policy" in str(name)
        else:
            cls = keras.saving.get_registered_object(name, custom_objects)
            right = isinstance(cls, type) and issubclass(cls, kind)
        if not right:
            raise ValueError(
                f"`{key}` of a saved model must be a {kind.__name__}. "
                f"Received: {name!r}"
            )
        config[key] = keras.saving.deserialize_keras_object(
            part, custom_objects
        )
    return config
