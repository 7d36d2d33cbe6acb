"""A fully visible sigmoid belief net."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_hvae.generative.autoregressive import Autoregressive
from keras_hvae.generative.conditionals import BernoulliConditional
from keras_hvae.layers.vectors.masked_dense import MaskedDense


@keras.saving.register_keras_serializable("keras_hvae")
class LogisticAR(Autoregressive):
    """Logistic autoregression of bits: a fully visible sigmoid belief net.

    p(x_i = 1 | x_<i) = sigmoid(b_i + Σ_{j<i} W_ji x_j): D logistic
    regressions, one pass for all.

    Args:
        dim: D.
        order: see `Autoregressive`.

    Call arguments:
        x: zeros and ones, `(B, D)`; numbers between give the cross-entropy.

    Returns:
        A dict: `"nll"`, −log p(x), nats, float32 `(B,)`.

    Raises:
        ValueError: for an argument out of range, or data of another kind.

    Example:

    >>> model = generative.LogisticAR(2)
    >>> model.compile(keras.optimizers.Adam(0.5))
    >>> x = np.array([[0, 0], [1, 1]] * 50)
    >>> history = model.fit(x, epochs=10, verbose=0)
    >>> bool((np.exp(model.log_prob(x)) > 0.4).all())
    True

    Reference:
        - [Frey, 1998](https://mitpress.mit.edu/9780262062022/)
        - [Neal, 1992](https://doi.org/10.1016/0004-3702(92)90065-6)
    """

    def __init__(
        self, dim: int, order: Sequence[int] | None = None, **kwargs
    ) -> None:
        super().__init__(dim, BernoulliConditional(), order, **kwargs)
        self.dense = MaskedDense(
            np.triu(np.ones((dim, dim)), 1),
            kernel_initializer="zeros",
            dtype=self.dtype_policy,
            name="dense",
        )
        self.build((None, dim))

    def build(self, input_shape: tuple) -> None:
        self.dense.build(input_shape)

    def conditional_parameters(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return self.dense(x)[..., None]
