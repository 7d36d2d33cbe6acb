"""Top-p sampling with a temperature and a p for each row."""

from keras import ops

from keras_hvae.samplers.categorical import draw
from keras_hvae.samplers.sampler import LOWEST_TEMPERATURE, Sampler


class RowSampler(Sampler):
    """Top-p sampling whose settings are tensors.

    Args:
        temperature: `(R, 1)`, >= 0; 0 takes the most probable word.
        top_p: `(R, 1)`, in (0, 1].
    """

    def __init__(self, temperature, top_p):
        # Not those of the base class, which checks numbers.
        self.temperature = ops.maximum(temperature, LOWEST_TEMPERATURE)
        self.top_p = top_p

    def get_next_token(self, probabilities, uniforms=None):
        drawn = draw(probabilities, uniforms, top_p=self.top_p)
        best = ops.cast(ops.argmax(probabilities, axis=-1), "int32")
        return ops.where(
            self.temperature[:, 0] > LOWEST_TEMPERATURE, drawn, best
        )
