"""The most probable word at each step."""

import keras
from keras import ops

from keras_hvae.samplers.sampler import Sampler


@keras.saving.register_keras_serializable("keras_hvae")
class Greedy(Sampler):
    """Takes the most probable word at each step.

    Example:

    >>> int(Greedy().get_next_token(ops.array([[0.2, 0.7, 0.1]]))[0])
    1
    """

    def __init__(self):
        super().__init__()

    def compute_probabilities(self, logits):
        return ops.cast(logits, "float32")  # the largest is the same one

    def get_next_token(self, probabilities, uniforms=None):
        # Of equals the first, like `argmax`, which is slow on TensorFlow.
        _, token = ops.top_k(probabilities, 1)
        return ops.cast(token[:, 0], "int32")

    def get_config(self):
        return {}
