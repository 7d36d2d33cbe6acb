"""Reparameterised draw from a diagonal Gaussian."""

import keras
from keras import ops

from keras_hvae.data import replicas
from keras_hvae.distributions import DiagGaussian


@keras.saving.register_keras_serializable("keras_hvae")
class Sampling(keras.layers.Layer):
    """Draws z = μ + σ ε from a diagonal Gaussian, ε ~ N(0, I).

    The reparameterisation trick: gradients reach the mean and the
    log-variance. The layer samples in training *and* in inference; pass
    `noise` to fix the draw (zeros give the mean).

    Args:
        seed: int, optional.

    Call arguments:
        mean: tensor of shape `(..., d)`.
        log_var: tensor of shape `(..., d)`, the log-variance.
        noise: optional tensor of shape `(..., d)` to use for ε.

    Returns:
        A tensor of shape `(..., d)`.

    Example:

    >>> z = Sampling(seed=0)(ops.zeros((2, 3)), ops.zeros((2, 3)))
    >>> tuple(z.shape)
    (2, 3)

    Reference:
        - [Kingma & Welling, 2014](https://arxiv.org/abs/1312.6114)
    """

    def __init__(self, seed: int | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.supports_masking = True
        self.seed_generator = keras.random.SeedGenerator(seed)
        # Built here: inside other layers a functional model does not build it,
        # and a layer that is not built cannot be quantised.
        self.built = True

    def call(
        self,
        mean: keras.KerasTensor,
        log_var: keras.KerasTensor,
        noise: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        if noise is None:
            noise = replicas.draw(
                keras.random.normal,
                ops.shape(mean),
                dtype=mean.dtype,
                seed=self.seed_generator,
            )
        return DiagGaussian(mean, log_var).sample(noise)

    def compute_output_spec(self, mean: keras.KerasTensor, *args, **kwargs):
        return keras.KerasTensor(mean.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict:
        return {**super().get_config(), "seed": self.seed}
