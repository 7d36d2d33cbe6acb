"""Top-p sampling with a temperature and a p for each row."""

from keras import ops

from keras_hvae.samplers.categorical import draw
from keras_hvae.samplers.sampler import LOWEST_TEMPERATURE, Sampler, best


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

    def compute_probabilities(self, logits):
        return ops.softmax(ops.cast(logits, "float32") / self.temperature)

    def get_next_token(self, probabilities, uniforms=None):
        return ops.where(
            self.temperature[:, 0] > LOWEST_TEMPERATURE,
            draw(probabilities, uniforms, top_p=self.top_p),
            best(probabilities),
        )
