"""Linear autoregression: a Gaussian."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_hvae.generative.autoregressive import Autoregressive
from keras_hvae.generative.conditionals import GaussianConditional
from keras_hvae.layers.vectors.masked_dense import MaskedDense


@keras.saving.register_keras_serializable("keras_hvae")
class LinearAR(Autoregressive):
    """Linear autoregression of real numbers: any Gaussian.

    p(x_i | x_<i) = N(b_i + Σ_{j<i} W_ji x_j, σ_i²). With L the Cholesky factor
    of a covariance, σ_i = L_ii and (I − Wᵀ)⁻¹ = L diag(σ)⁻¹: the models are the
    Gaussians with a full covariance (log σ_i² is clipped to [−12, 12]).

    Args:
        dim: D.
        order: see `Autoregressive`.

    Call arguments:
        x: real numbers, `(B, D)`.

    Returns:
        A dict: `"nll"`, −log p(x), nats, float32 `(B,)`.

    Raises:
        ValueError: for an argument out of range, or data of another kind.

    Example:

    >>> model = generative.LinearAR(2)
    >>> round(float(model.log_prob(np.zeros((1, 2)))[0]), 4)  # −log 2π
    -1.8379
    """

    def __init__(
        self, dim: int, order: Sequence[int] | None = None, **kwargs
    ) -> None:
        super().__init__(dim, GaussianConditional(), order, **kwargs)
        self.dense = MaskedDense(
            np.triu(np.ones((dim, dim)), 1),
            kernel_initializer="zeros",
            dtype=self.dtype_policy,
            name="dense",
        )
        self.build((None, dim))

    def build(self, input_shape: tuple) -> None:
        self.dense.build(input_shape)
        self.log_var = self.add_weight(
            shape=(self.dim,),
            initializer="zeros",
            autocast=False,
            name="log_var",
        )

    def conditional_parameters(self, x: keras.KerasTensor) -> keras.KerasTensor:
        mean = ops.cast(self.dense(x), "float32")
        return ops.stack([mean, ops.zeros_like(mean) + self.log_var], axis=-1)
