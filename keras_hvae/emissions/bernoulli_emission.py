"""Frames of zeros and ones."""

import keras
import numpy as np

from keras_hvae.distributions import Bernoulli
from keras_hvae.emissions.frame_emission import FrameEmission
from keras_hvae.emissions.frames import check_bits


@keras.saving.register_keras_serializable("keras_hvae")
class BernoulliEmission(FrameEmission):
    """A step is D coins, such as the 88 keys of a piano, down or up.

    p(x_i | context_i) = ∏_k p_ik^x_ik (1 − p_ik)^(1 − x_ik), p_i = sigmoid(W
    relu(V context_i)). `HVAE(emission=BernoulliEmission(88))` is a Deep
    Markov Model.

    Args:
        dim: D.
        hidden_dim: width of h_i and of the layer that writes.

    Example:

    >>> emission = BernoulliEmission(3, hidden_dim=4)
    >>> x = emission.batch([np.eye(3), np.ones((1, 3))])
    >>> x["mask"].sum(axis=1).tolist()
    [3, 1]
    >>> log_prob = emission.log_prob(x, ops.zeros((2, 8, 5)))
    >>> round(float(log_prob[0, 0]), 4)  # 3 log ½: no context yet
    -2.0794

    Reference:
        - [Krishnan et al., 2017](https://arxiv.org/abs/1609.09869)
    """

    def distribution(self, parameters: keras.KerasTensor) -> Bernoulli:
        return Bernoulli(parameters)

    def check_values(self, frames: np.ndarray) -> None:
        check_bits(frames)
