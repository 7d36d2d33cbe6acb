"""Frames of real numbers."""

import keras
from keras import ops

from keras_hvae.distributions import DiagGaussian, standard_normal
from keras_hvae.emissions.frame_emission import FrameEmission

# Keeps variances and densities finite in float32.
LOG_VAR_RANGE = (-15.0, 15.0)


@keras.saving.register_keras_serializable("keras_hvae")
class GaussianEmission(FrameEmission):
    """A step is D real numbers, independent given the context.

    p(x_i | context_i) = N(μ_i, diag σ_i²), both linear in relu(V context_i),
    log σ² clipped to [−15, 15]. A density: its nats depend on the units that
    the numbers are measured in, so give numbers of a mean near 0 and a
    variance near 1.

    Args:
        dim: D.
        hidden_dim: width of h_i and of the layer that writes.

    Example:

    >>> emission = GaussianEmission(2, hidden_dim=4)
    >>> x = emission.batch([np.zeros((1, 2))])
    >>> log_prob = emission.log_prob(x, ops.zeros((1, 8, 5)))
    >>> round(float(log_prob[0, 0]), 4)  # −log 2π: no context yet
    -1.8379
    """

    params_dim = 2

    def distribution(self, parameters: keras.KerasTensor) -> DiagGaussian:
        mean, log_var = ops.split(parameters, 2, axis=-1)
        return DiagGaussian(mean, ops.clip(log_var, *LOG_VAR_RANGE))

    def draw(
        self, distribution: DiagGaussian, uniforms: keras.KerasTensor
    ) -> keras.KerasTensor:
        return distribution.sample(standard_normal(uniforms))
