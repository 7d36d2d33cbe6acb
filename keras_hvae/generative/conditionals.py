"""What one number is, given those before: the ends of autoregressive nets."""

from typing import Any

import keras
from keras import ops

from keras_hvae.distributions import (
    Bernoulli,
    DiagGaussian,
    MixtureOfGaussians,
    standard_normal,
)

# Keeps variances and densities finite in float32.
LOG_VAR_RANGE = (-12.0, 12.0)


class Conditional:
    """A kind of number: its distribution, by parameters `(..., P)`.

    Args:
        params_dim: P.
        num_uniforms: how many uniform numbers a draw takes.
        binary: whether the number is 0 or 1.
    """

    params_dim = 1
    num_uniforms = 1
    binary = False

    def distribution(self, parameters: keras.KerasTensor) -> Any:
        """Of vectors of one number: tensors `(..., 1)`."""
        raise NotImplementedError

    def sample(
        self, parameters: keras.KerasTensor, uniforms: keras.KerasTensor
    ) -> keras.KerasTensor:
        """A draw, `(...)`, by uniform numbers `(..., num_uniforms)`."""
        return self.distribution(parameters).sample(uniforms)[..., 0]


class BernoulliConditional(Conditional):
    """0 or 1; the parameter is the log-odds."""

    binary = True

    def distribution(self, parameters: keras.KerasTensor) -> Bernoulli:
        return Bernoulli(parameters)


class GaussianConditional(Conditional):
    """A real number; the parameters are mean and log-variance."""

    params_dim = 2

    def distribution(self, parameters: keras.KerasTensor) -> DiagGaussian:
        mean, log_var = ops.split(parameters, 2, axis=-1)
        return DiagGaussian(mean, ops.clip(log_var, *LOG_VAR_RANGE))

    def sample(
        self, parameters: keras.KerasTensor, uniforms: keras.KerasTensor
    ) -> keras.KerasTensor:
        return super().sample(parameters, standard_normal(uniforms))


class MixtureConditional(Conditional):
    """A real number; a mixture of K Gaussians: 3 K parameters."""

    num_uniforms = 2

    def __init__(self, components: int) -> None:
        self.components = components
        self.params_dim = 3 * components

    def distribution(self, parameters: keras.KerasTensor) -> MixtureOfGaussians:
        logits, mean, log_var = ops.split(parameters, 3, axis=-1)
        # Apart at first: equal components would stay equal.
        places = ops.arange(self.components, dtype="float32")
        places = (places + 0.5) / self.components * 4.0 - 2.0
        log_var = ops.clip(log_var, *LOG_VAR_RANGE)
        return MixtureOfGaussians(
            logits, (mean + places)[..., None], log_var[..., None]
        )
