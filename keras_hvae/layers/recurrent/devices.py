"""The device that the layers run on."""

import keras
from keras import ops


def on_gpu() -> keras.KerasTensor:
    """Whether the backend computes on a GPU."""
    if keras.config.backend() == "torch":
        return ops.zeros(()).device.type == "cuda"
    return any("gpu" in x for x in keras.distribution.list_devices())
