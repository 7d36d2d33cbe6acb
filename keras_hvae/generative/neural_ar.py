"""Neural autoregression."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_hvae.arguments import check_positive_int
from keras_hvae.generative.autoregressive import Autoregressive
from keras_hvae.generative.conditionals import BernoulliConditional
from keras_hvae.layers.vectors.masked_dense import MaskedDense


@keras.saving.register_keras_serializable("keras_hvae")
class NeuralAR(Autoregressive):
    """Neural autoregression of bits (Bengio and Bengio, 2000).

    Each number has a group of hidden units of its own, h_i = tanh(c_i +
    Σ_{j<i} W_ij x_j), and p(x_i = 1 | x_<i) = sigmoid(b_i + Σ_{j≤i} V_ij h_j +
    Σ_{j<i} U_ij x_j): what groups before have found is used again.

    Args:
        dim: D.
        units: width of a group.
        order: see `Autoregressive`.

    Call arguments:
        x: zeros and ones, `(B, D)`; numbers between give the cross-entropy.

    Returns:
        A dict: `"nll"`, −log p(x), nats, float32 `(B,)`.

    Raises:
        ValueError: for an argument out of range, or data of another kind.

    Example:

    >>> model = generative.NeuralAR(3, units=2)
    >>> bits = np.array(list(np.ndindex(2, 2, 2)))
    >>> round(float(np.exp(model.log_prob(bits)).sum()), 4)
    1.0

    Reference:
        - [Bengio and Bengio, 2000](
          https://proceedings.neurips.cc/paper/1999)
    """

    def __init__(
        self,
        dim: int,
        units: int = 8,
        order: Sequence[int] | None = None,
        **kwargs,
    ) -> None:
        check_positive_int(dim=dim, units=units)
        super().__init__(dim, BernoulliConditional(), order, **kwargs)
        self.units = units
        before = np.triu(np.ones((dim, dim)), 1)
        upto = np.triu(np.ones((dim, dim)))
        self.hidden = MaskedDense(
            before.repeat(units, axis=1),
            "tanh",
            dtype=self.dtype_policy,
            name="hidden",
        )
        self.outputs_of = MaskedDense(
            upto.repeat(units, axis=0),
            dtype=self.dtype_policy,
            name="outputs_of",
        )
        self.direct = MaskedDense(
            before,
            kernel_initializer="zeros",
            dtype=self.dtype_policy,
            name="direct",
        )
        self.build((None, dim))

    def build(self, input_shape: tuple) -> None:
        self.hidden.build(input_shape)
        self.outputs_of.build((None, self.dim * self.units))
        self.direct.build(input_shape)

    def conditional_parameters(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return (self.outputs_of(self.hidden(x)) + self.direct(x))[..., None]

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}
