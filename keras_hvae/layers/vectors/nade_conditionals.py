"""The conditionals of a neural autoregressive density estimator."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.layers.recurrent.repeat import repeat


@keras.saving.register_keras_serializable("keras_hvae")
class NADEConditionals(keras.layers.Layer):
    """Parameters of p(x_i | x_<i) for all i, by one pass.

    a_i = c + Σ_{j<i} W_j x_j,   h_i = f(a_i),   parameters_i = b_i + V_i h_i

    The columns of W are shared between the conditionals, as a restricted
    Boltzmann machine's are (one step of its mean field gives this form). A
    context may shift b and c, as in an RNN-NADE.

    Args:
        dim: D.
        units: width H of h_i.
        params_dim: P, how many parameters a conditional has.
        activation: f.

    Call arguments:
        x: tensor of shape `(..., D)`.
        hidden_shift: optional, added to c, `(..., H)`.
        shift: optional, added to b, `(..., D, P)`.

    Returns:
        Tensor of shape `(..., D, P)`. The pass holds `(..., D, H)` numbers.

    Raises:
        ValueError: for an argument out of range, or x of another width.

    Example:

    >>> layer = NADEConditionals(3, units=4)
    >>> a, b = (layer(ops.array([x])) for x in ([1.0, 0, 0], [1.0, 1, 1]))
    >>> (ops.convert_to_numpy(a == b)[0, :, 0]).tolist()  # x_1 is the same
    [True, True, False]

    Reference:
        - [Larochelle and Murray, 2011](
          https://proceedings.mlr.press/v15/larochelle11a.html)
    """

    def __init__(
        self,
        dim: int,
        units: int = 128,
        params_dim: int = 1,
        activation: Any = "sigmoid",
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        check_positive_int(dim=dim, units=units, params_dim=params_dim)
        self.dim = dim
        self.units = units
        self.params_dim = params_dim
        self.activation = keras.activations.get(activation)

    def build(self, x_shape: tuple, *shapes) -> None:
        if x_shape[-1] != self.dim:
            raise ValueError(
                f"`x` must have {self.dim} numbers. Received: shape "
                f"{tuple(x_shape)}"
            )
        self.kernel = self.add_weight(
            shape=(self.dim, self.units), name="kernel"
        )
        self.hidden_bias = self.add_weight(
            shape=(self.units,), initializer="zeros", name="hidden_bias"
        )
        self.out_kernel = self.add_weight(
            shape=(self.dim, self.params_dim, self.units),
            initializer=keras.initializers.VarianceScaling(
                1.0, "fan_avg", "uniform"
            ),
            name="out_kernel",
        )
        self.bias = self.add_weight(
            shape=(self.dim, self.params_dim), initializer="zeros", name="bias"
        )

    def call(
        self,
        x: keras.KerasTensor,
        hidden_shift: keras.KerasTensor | None = None,
        shift: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        first = self.first(hidden_shift)
        if hidden_shift is not None:
            first = first[..., None, :]
        hidden = self.activation(first + self._before(x))
        # A product for each i, of all rows at once.
        rows = ops.reshape(hidden, (-1, self.dim, self.units))
        out = ops.matmul(
            ops.swapaxes(rows, 0, 1), ops.swapaxes(self.out_kernel, 1, 2)
        )
        out = ops.reshape(
            ops.swapaxes(out, 0, 1), (*ops.shape(x), self.params_dim)
        )
        out = out + self.bias
        return out if shift is None else out + shift

    def _before(self, x):
        """Σ_{j<i} W_j x_j for all i: `(..., D)` to `(..., D, H)`.

        In blocks of √D numbers: products, as running sums take several times
        as long (TensorFlow on a CPU).
        """
        size = math.isqrt(self.dim - 1) + 1
        blocks = -(-self.dim // size)
        room = blocks * size - self.dim
        rows = ops.reshape(x, (-1, self.dim))
        rows = ops.pad(rows, ((0, 0), (0, room)))
        rows = ops.swapaxes(ops.reshape(rows, (-1, blocks, size)), 0, 1)
        kernel = ops.pad(self.kernel, ((0, room), (0, 0)))
        kernel = ops.reshape(kernel, (blocks, size, self.units))
        earlier, before = (
            ops.cast(np.tri(n, k=-1), x.dtype) for n in (blocks, size)
        )
        # Of the numbers j of a block, those before each i of it.
        inside = ops.reshape(rows[:, :, None] * before, (blocks, -1, size))
        inside = ops.reshape(
            ops.matmul(inside, kernel), (blocks, -1, size, self.units)
        )
        whole = ops.reshape(ops.matmul(rows, kernel), (blocks, -1))
        whole = ops.reshape(
            ops.matmul(earlier, whole), (blocks, -1, 1, self.units)
        )
        total = ops.reshape(
            ops.swapaxes(inside + whole, 0, 1),
            (-1, blocks * size, self.units),
        )[:, : self.dim]
        return ops.reshape(total, (*ops.shape(x), self.units))

    def first(
        self, hidden_shift: keras.KerasTensor | None = None
    ) -> keras.KerasTensor:
        """a_1: c and what the context adds, `(..., H)` or `(H,)`."""
        bias = ops.convert_to_tensor(self.hidden_bias)
        return bias if hidden_shift is None else bias + hidden_shift

    def draw(
        self,
        sample: Callable,
        uniforms: keras.KerasTensor,
        given: keras.KerasTensor,
        observed: keras.KerasTensor,
        hidden_shift: keras.KerasTensor | None = None,
        shift: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        """Draws x_1 … x_D, each given those before.

        Args:
            sample: function of parameters `(R, P)` and uniforms `(R, U)` that
                gives `(R,)`.
            uniforms: numbers in [0, 1), `(R, D, U)`.
            given, observed: `(R, D)`; where `observed`, x is what is `given`.
            hidden_shift, shift: see above, `(R, H)` and `(R, D, P)`.

        Returns:
            Tensor of shape `(R, D)`.
        """
        kernel, out_kernel, bias = (
            ops.convert_to_tensor(x)
            for x in (self.kernel, self.out_kernel, self.bias)
        )
        x = ops.zeros_like(given)
        a = self.first(hidden_shift) + ops.zeros_like(x[:, :1])  # (R, H)

        def body(i, state):
            x, a = state
            parameters = ops.matmul(
                self.activation(a), ops.transpose(ops.take(out_kernel, i, 0))
            ) + ops.take(bias, i, 0)
            if shift is not None:
                parameters = parameters + ops.take(shift, i, 1)
            new = ops.where(
                ops.take(observed, i, 1),
                ops.take(given, i, 1),
                sample(parameters, ops.take(uniforms, i, 1)),
            )[:, None]
            x = ops.where(ops.arange(self.dim) == i, new, x)
            return x, a + new * ops.take(kernel, i, 0)

        return repeat(self.dim, body, (x, a))[0]

    def compute_output_shape(self, x_shape: tuple, *shapes) -> tuple:
        return (*x_shape, self.params_dim)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "dim": self.dim,
            "units": self.units,
            "params_dim": self.params_dim,
            "activation": keras.activations.serialize(self.activation),
        }
