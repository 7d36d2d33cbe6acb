"""A network that gives all conditionals, whatever is observed."""

from typing import Any

import keras
from keras import ops

from keras_hvae.arguments import check_positive_int


@keras.saving.register_keras_serializable("keras_hvae")
class OrderlessConditionals(keras.layers.Layer):
    """Parameters of p(x_i | what is observed), for all i.

    Dense layers get m ⊙ x and the mask m of what is observed.

    Args:
        dim: D.
        units: width of the hidden layers.
        hidden_layers: how many.
        params_dim: P, how many parameters a conditional has.
        activation: of the hidden layers.

    Call arguments:
        x: tensor of shape `(..., D)`.
        observed: bool tensor of shape `(..., D)`.

    Returns:
        float32 tensor of shape `(..., D, P)`. Those of the x_i that are
        observed may say anything.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> layer = OrderlessConditionals(3, units=4)
    >>> seen = ops.array([[True, False, False]])
    >>> a, b = (layer(ops.array([x]), seen) for x in ([1.0, 0, 0], [1.0, 1, 1]))
    >>> bool(ops.all(a == b))  # what is not observed is not read
    True

    Reference:
        - [Uria et al., 2014](https://arxiv.org/abs/1310.1757)
    """

    def __init__(
        self,
        dim: int,
        units: int = 128,
        hidden_layers: int = 1,
        params_dim: int = 1,
        activation: Any = "relu",
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        check_positive_int(
            dim=dim,
            units=units,
            hidden_layers=hidden_layers,
            params_dim=params_dim,
        )
        self.dim = dim
        self.units = units
        self.hidden_layers = hidden_layers
        self.params_dim = params_dim
        self.activation = keras.activations.get(activation)
        policy = self.dtype_policy
        self.hidden = [
            keras.layers.Dense(
                units, self.activation, dtype=policy, name=f"hidden_{i}"
            )
            for i in range(hidden_layers)
        ]
        self.parameters_of = keras.layers.Dense(
            dim * params_dim, dtype=policy, name="parameters"
        )

    def build(self, *shapes) -> None:
        width = 2 * self.dim
        for layer in self.hidden:
            layer.build((None, width))
            width = self.units
        self.parameters_of.build((None, width))

    def call(
        self, x: keras.KerasTensor, observed: keras.KerasTensor
    ) -> keras.KerasTensor:
        mask = ops.cast(observed, x.dtype)
        # `where`, not a product: what is not observed may be infinite.
        seen = ops.where(observed, x, ops.zeros_like(x))
        y = ops.concatenate([seen, mask], axis=-1)
        for layer in self.hidden:
            y = layer(y)
        y = ops.cast(self.parameters_of(y), "float32")
        return ops.reshape(y, (*ops.shape(x), self.params_dim))

    def compute_output_spec(self, x, observed) -> keras.KerasTensor:
        return keras.KerasTensor((*x.shape, self.params_dim), dtype="float32")

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "dim": self.dim,
            "units": self.units,
            "hidden_layers": self.hidden_layers,
            "params_dim": self.params_dim,
            "activation": keras.activations.serialize(self.activation),
        }
