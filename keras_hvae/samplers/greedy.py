"""The most probable word at each step."""

import keras
from keras import ops

from keras_hvae.samplers.sampler import Sampler, best


@keras.saving.register_keras_serializable("keras_hvae")
class Greedy(Sampler):
    """Takes the most probable word at each step.

    Example:

    >>> int(Greedy().get_next_token(ops.array([[0.2, 0.7, 0.1]]))[0])
    1
    """

    def __init__(self) -> None:
        super().__init__()

    def compute_probabilities(
        self, logits: keras.KerasTensor
    ) -> keras.KerasTensor:
        """The logits: the largest one has the largest probability."""
        return ops.cast(logits, "float32")

    def get_next_token(
        self, probabilities: keras.KerasTensor
    ) -> keras.KerasTensor:
        return best(probabilities)

    def get_config(self) -> dict:
        return {}
