"""The base class of mixtures."""

import keras
import numpy as np
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.distributions import one_of
from keras_hvae.generative.vector_model import VectorModel


class Mixture(VectorModel):
    """p(x) = Σ_k π_k p(x | k), exact, with any part of x observed.

    A subclass builds itself, and defines `log_likelihoods`, `draw_from` and
    `centers`.

    Args:
        dim: D.
        components: K.
        seed: int for the initial weights, optional.
    """

    def __init__(
        self, dim: int, components: int, seed: int | None, **kwargs
    ) -> None:
        check_positive_int(dim=dim, components=components)
        super().__init__((dim,), **kwargs)
        self.components = self.latent_dim = components
        self.seed = seed

    def build(self, input_shape: tuple) -> None:
        self.logits = self.add_weight(
            shape=(self.components,),
            initializer="zeros",
            autocast=False,
            name="logits",
        )

    # === What a subclass defines ===

    def log_likelihoods(
        self, x: keras.KerasTensor, observed: keras.KerasTensor | None = None
    ) -> keras.KerasTensor:
        """log p(x | k) of each component, `(B, K)`.

        Args:
            x: `(B, D)`.
            observed: optional bool `(B, D)`: then of these numbers alone.
        """
        raise NotImplementedError

    def draw_from(
        self,
        one: keras.KerasTensor,
        uniforms: keras.KerasTensor,
        given: keras.KerasTensor,
        observed: keras.KerasTensor,
    ) -> keras.KerasTensor:
        """Draws from p(x | k, what is observed), `(B, D)`.

        Args:
            one: `(B, K)`, 1 for k, else 0.
            uniforms, given, observed: `(B, D)`, see `draw`.
        """
        raise NotImplementedError

    def centers(self) -> keras.KerasTensor:
        """E[x | k], `(K, D)`."""
        raise NotImplementedError

    # === What follows ===

    def log_joint(
        self, x: keras.KerasTensor, observed: keras.KerasTensor | None = None
    ) -> keras.KerasTensor:
        """log π_k + log p(x | k), `(B, K)`; see `log_likelihoods`."""
        logits = ops.convert_to_tensor(self.logits)
        return ops.log_softmax(logits) + self.log_likelihoods(x, observed)

    def log_density(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return ops.logsumexp(self.log_joint(x), axis=-1)

    @property
    def num_uniforms(self) -> int:
        return 1 + self.dim

    def draw(
        self,
        uniforms: keras.KerasTensor,
        given: keras.KerasTensor,
        observed: keras.KerasTensor,
    ) -> dict[str, keras.KerasTensor]:
        one = one_of(self.log_joint(given, observed), uniforms[:, :1])
        x = self.draw_from(one, uniforms[:, 1:], given, observed)
        return {"x": ops.where(observed, given, x)}

    def encode(self, x: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """The responsibilities p(k | x), `(N, K)`; rows sum to 1."""
        x = self.check(x)
        return self.run(responsibilities, batch_size, x=x)["responsibilities"]

    def reconstruct(self, x: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """The mean of an x drawn anew, Σ_k p(k | x) E[x | k], `(N, D)`."""
        centers = ops.convert_to_numpy(self.centers())
        return self.encode(x, batch_size) @ centers

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "dim": self.dim,
            "components": self.components,
            "seed": self.seed,
        }


def responsibilities(
    model: Mixture, x: keras.KerasTensor
) -> dict[str, keras.KerasTensor]:
    """A compiled step: p(k | x)."""
    # Not `softmax`, which warns of a K of 1.
    return {"responsibilities": ops.exp(ops.log_softmax(model.log_joint(x)))}


def check_em(max_steps: int, tolerance: float) -> None:
    """Raises `ValueError` for arguments of `fit_em` out of range."""
    check_positive_int(max_steps=max_steps)
    if not 0 <= tolerance < np.inf:
        raise ValueError(
            f"`tolerance` must be a number >= 0. Received: {tolerance}"
        )
