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

    def choose(self, logits: keras.KerasTensor, **drawn) -> keras.KerasTensor:
        # The largest logit has the largest probability: no softmax is needed,
        # unless a subclass looks at the probabilities.
        for name in ("compute_probabilities", "get_next_token"):
            if getattr(type(self), name) is not getattr(Greedy, name):
                return super().choose(logits, **drawn)
        return best(ops.cast(logits, "float32"))

    def get_next_token(
        self, probabilities: keras.KerasTensor
    ) -> keras.KerasTensor:
        return best(probabilities)

    def get_config(self) -> dict:
        return {}
