"""Mean and log-variance of a diagonal Gaussian from a hidden vector."""

import keras
from keras import ops

from keras_hvae.arguments import check_positive_int

LOWEST, HIGHEST = -15.0, 15.0  # log σ²
MEAN_SCALE, LOG_VAR_SCALE, LOG_VAR_BIAS = 0.1, 0.01, -2.0


@keras.saving.register_keras_serializable("keras_hvae")
class GaussianHead(keras.layers.Layer):
    """f_μ and f_σ: a hidden vector to the parameters of N(μ, σ²).

    Computed in float32 whatever the dtype policy; the log-variance is
    clipped to [−15, 15]. A fresh head gives small means and log-variances
    near −2.

    Args:
        latent_dim: dimension d of the Gaussian.
        lowest_log_var: optional bound l of the log-variance, which it then
            comes near to smoothly: l + softplus(log σ² − l).

    Call arguments:
        hidden: tensor of shape `(..., H)`.

    Returns:
        Mean and log-variance, float32 tensors of shape `(..., d)`.

    Raises:
        ValueError: if `latent_dim` is not an integer >= 1.

    Example:

    >>> mean, log_var = GaussianHead(4)(ops.ones((2, 3)))
    >>> tuple(log_var.shape)
    (2, 4)
    """

    def __init__(
        self, latent_dim: int, lowest_log_var: float | None = None, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        check_positive_int(latent_dim=latent_dim)
        self.supports_masking = True
        self.latent_dim = latent_dim
        self.lowest_log_var = lowest_log_var
        dtype = "float32"
        if isinstance(self.dtype_policy, keras.dtype_policies.DTypePolicyMap):
            # Set when a quantised model is loaded: policies by path.
            dtype = keras.dtype_policies.DTypePolicyMap(
                dtype, dict(self.dtype_policy)
            )
        # A fresh head gives small means and a σ of 0.4. With means as wide, a
        # chain of draws feeds its own noise and the first steps of training
        # blow it up; with σ = 1 the first draws are noise, and a decoder
        # that has learned to ignore them may never look at them again.
        self.mean, self.log_var = (
            keras.layers.Dense(
                latent_dim,
                kernel_initializer=keras.initializers.VarianceScaling(scale),
                bias_initializer=keras.initializers.Constant(bias),
                dtype=dtype,
                name=name,
            )
            for name, scale, bias in (
                ("mean", MEAN_SCALE, 0.0),
                ("log_var", LOG_VAR_SCALE, LOG_VAR_BIAS),
            )
        )

    def build(self, hidden_shape: tuple) -> None:
        self.mean.build(hidden_shape)
        self.log_var.build(hidden_shape)

    def call(
        self, hidden: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        log_var = ops.clip(self.log_var(hidden), LOWEST, HIGHEST)
        if self.lowest_log_var is not None:
            log_var = bounded_below(log_var, self.lowest_log_var)
        return self.mean(hidden), log_var

    def compute_output_spec(self, hidden: keras.KerasTensor):
        # Two tensors, not one twice: a functional model identifies tensors by
        # `id`.
        shape = (*hidden.shape[:-1], self.latent_dim)
        return tuple(keras.KerasTensor(shape, "float32") for _ in range(2))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "latent_dim": self.latent_dim,
            "lowest_log_var": self.lowest_log_var,
        }


def bounded_below(
    log_var: keras.KerasTensor, lowest: float
) -> keras.KerasTensor:
    """log σ², smoothly above `lowest`; far above it nearly the same."""
    return lowest + ops.softplus(log_var - lowest)
