"""A latent for a sentence, given the text before it."""

import keras
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.layers.latent.gaussian_head import GaussianHead
from keras_hvae.layers.latent.sampling import Sampling


@keras.saving.register_keras_serializable("keras_hvae")
class SentenceLatent(keras.layers.Layer):
    """z_i of the text before a sentence and, to infer it, the sentence.

    With the past c_i and the sentence vector h_i:

    - prior p_i = N(f_μ(t), f_σ(t)), t = tanh(W c_i);
    - posterior q_i = N(g_μ(t), g_σ(t)), t = tanh(V [c_i; h_i]).

    Args:
        latent_dim: dimension d of the latent.
        units: width of t.
        seed: int, optional.

    Call arguments:
        past: c, tensor of shape `(..., C)`.
        sentences: h, tensor of shape `(..., H)`.
        noise: optional ε, tensor of shape `(..., d)`.

    Returns:
        A dict: `"z"`, `"mean"`, `"log_var"`, `"prior_mean"`,
        `"prior_log_var"`, float32 of shape `(..., d)`.

    Raises:
        ValueError: if `latent_dim` or `units` is not an integer >= 1.

    Example:

    >>> layer = SentenceLatent(2, units=4, seed=0)
    >>> tuple(layer(ops.ones((1, 3, 5)), ops.ones((1, 3, 6)))["z"].shape)
    (1, 3, 2)

    Reference:
        - [Serban et al., 2017](https://arxiv.org/abs/1605.06069), section 3
    """

    def __init__(
        self, latent_dim: int, units: int, seed: int | None = None, **kwargs
    ) -> None:
        # Half precision would round `noise`.
        super().__init__(autocast=False, **kwargs)
        check_positive_int(latent_dim=latent_dim, units=units)
        self.latent_dim = latent_dim
        self.units = units
        self.seed = seed
        self.sampling = Sampling(seed=seed, dtype="float32", name="sampling")
        self.hidden, self.prior_hidden = (
            keras.layers.Dense(
                units, activation="tanh", dtype=self.dtype_policy, name=name
            )
            for name in ("hidden", "prior_hidden")
        )
        self.head, self.prior_head = (
            GaussianHead(latent_dim, dtype=self.dtype_policy, name=name)
            for name in ("head", "prior_head")
        )

    def build(
        self,
        past_shape: tuple,
        sentences_shape: tuple,
        noise_shape: tuple | None = None,
    ) -> None:
        self.hidden.build((None, past_shape[-1] + sentences_shape[-1]))
        self.prior_hidden.build((None, past_shape[-1]))
        for head in (self.head, self.prior_head):
            head.build((None, self.units))

    def call(
        self,
        past: keras.KerasTensor,
        sentences: keras.KerasTensor,
        noise: keras.KerasTensor | None = None,
    ) -> dict[str, keras.KerasTensor]:
        past, sentences = (
            ops.cast(x, self.compute_dtype) for x in (past, sentences)
        )
        both = ops.concatenate([past, sentences], axis=-1)
        mean, log_var = self.head(self.hidden(both))
        prior_mean, prior_log_var = self.prior(past)
        return {
            "z": self.sampling(mean, log_var, noise=noise),
            "mean": mean,
            "log_var": log_var,
            "prior_mean": prior_mean,
            "prior_log_var": prior_log_var,
        }

    def prior(
        self, past: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Mean and log-variance of the prior: `(..., C)` to `(..., d)`."""
        past = ops.cast(past, self.compute_dtype)
        return self.prior_head(self.prior_hidden(past))

    def compute_mask(self, *args, **kwargs):
        return None  # A mask of the inputs is not needed here.

    def compute_output_spec(self, past: keras.KerasTensor, *args, **kwargs):
        shape = (*past.shape[:-1], self.latent_dim)
        return {
            name: keras.KerasTensor(shape, dtype="float32")
            for name in ("z", "mean", "log_var", "prior_mean", "prior_log_var")
        }

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "latent_dim": self.latent_dim,
            "units": self.units,
            "seed": self.seed,
        }
