"""The base class of autoregressive models."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.generative.conditionals import Conditional
from keras_hvae.generative.vector_model import VectorModel
from keras_hvae.layers.recurrent.repeat import repeat


def check_order(order: Sequence[int] | None, dim: int) -> np.ndarray:
    """An order of D numbers; `ValueError` if it is no permutation."""
    if order is None:
        return np.arange(dim)
    order = np.asarray(order)
    if order.shape != (dim,) or (np.sort(order) != np.arange(dim)).any():
        raise ValueError(
            f"`order` must be a permutation of 0 to {dim - 1}. Received: "
            f"{np.array2string(order, threshold=10)}"
        )
    return order


class Autoregressive(VectorModel):
    """p(x) = ∏_i p(x_{o_i} | x_{o_<i}), exact, in an order o.

    A subclass defines `conditional_parameters`, and may draw faster.

    Args:
        dim: D.
        conditional: what a number is, of `conditionals`.
        order: o, a permutation of 0 … D − 1; as they stand if not given.
    """

    def __init__(
        self,
        dim: int,
        conditional: Conditional,
        order: Sequence[int] | None,
        **kwargs,
    ) -> None:
        check_positive_int(dim=dim)
        super().__init__((dim,), **kwargs)
        self.order = check_order(order, dim)
        self.conditional = conditional
        self.binary = conditional.binary

    def conditional_parameters(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Those of the conditionals, `(B, D, P)`, of x in the model's order.

        The i-th may depend on the x before the i-th only.
        """
        raise NotImplementedError

    def log_density(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return ops.sum(self.each_in_order(x), axis=-1)

    def each_in_order(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """log p(x_{o_i} | x_{o_<i}) for i = 1 … D, float32 `(B, D)`."""
        x = ops.take(x, self.order, axis=-1)
        parameters = ops.cast(self.conditional_parameters(x), "float32")
        given = self.conditional.distribution(parameters)
        return given.log_prob(x[..., None])

    @property
    def num_uniforms(self) -> int:
        return self.dim * self.conditional.num_uniforms

    def draw(
        self,
        uniforms: keras.KerasTensor,
        given: keras.KerasTensor,
        observed: keras.KerasTensor,
    ) -> dict[str, keras.KerasTensor]:
        given, observed = (
            ops.take(x, self.order, axis=-1) for x in (given, observed)
        )
        uniforms = ops.reshape(
            uniforms, (-1, self.dim, self.conditional.num_uniforms)
        )
        x = self.draw_in_order(uniforms, given, observed)
        return {"x": ops.take(x, np.argsort(self.order), axis=-1)}

    def draw_in_order(
        self,
        uniforms: keras.KerasTensor,
        given: keras.KerasTensor,
        observed: keras.KerasTensor,
    ) -> keras.KerasTensor:
        """Draws of all numbers: a pass for each, `(B, D)`."""

        def body(i, x):
            parameters = ops.take(self.conditional_parameters(x), i, 1)
            new = ops.where(
                ops.take(observed, i, 1),
                ops.take(given, i, 1),
                self.conditional.sample(
                    ops.cast(parameters, "float32"), ops.take(uniforms, i, 1)
                ),
            )
            return ops.where(ops.arange(self.dim) == i, new[:, None], x)

        return repeat(self.dim, body, ops.zeros_like(given))

    def check_observed(self, observed: np.ndarray) -> None:
        seen = observed[:, self.order]
        # Once one is not observed, none behind it may be.
        if (seen[:, 1:] & ~seen[:, :-1]).any():
            raise ValueError(
                "`observed` must be the first numbers in the model's order, "
                "as it knows no other conditionals (a `NADE` with "
                "`orderless=True` does). Received: others"
            )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "dim": self.dim,
            "order": self.order.tolist(),
        }
