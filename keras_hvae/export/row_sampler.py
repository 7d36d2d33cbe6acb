"""Top-p sampling with a temperature and a p for each row."""

from typing import Any

import keras
from keras import ops

from keras_hvae.samplers.categorical import draw
from keras_hvae.samplers.sampler import LOWEST_TEMPERATURE, Sampler, best


class RowSampler(Sampler):
    """Top-p sampling whose settings are tensors.

    Args:
        temperature: `(R, 1)`, >= 0; 0 takes the most probable word.
        top_p: `(R, 1)`, in (0, 1].
    """

    def __init__(
        self, temperature: keras.KerasTensor, top_p: keras.KerasTensor
    ) -> None:
        # Not those of the base class, which checks numbers.
        self.temperature: Any = ops.maximum(temperature, LOWEST_TEMPERATURE)
        self.top_p = top_p

    def compute_probabilities(
        self, logits: keras.KerasTensor
    ) -> keras.KerasTensor:
        return ops.softmax(ops.cast(logits, "float32") / self.temperature)

    def get_next_token(
        self,
        probabilities: keras.KerasTensor,
        uniforms: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        return ops.where(
            self.temperature[:, 0] > LOWEST_TEMPERATURE,
            draw(probabilities, uniforms, top_p=self.top_p),
            best(probabilities),
        )
