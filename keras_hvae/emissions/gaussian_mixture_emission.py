"""Frames of real numbers, with several modes."""

import keras
import numpy as np
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.distributions import MixtureOfGaussians
from keras_hvae.emissions.frame_emission import FrameEmission
from keras_hvae.emissions.gaussian_emission import LOG_VAR_RANGE


@keras.saving.register_keras_serializable("keras_hvae")
class GaussianMixtureEmission(FrameEmission):
    """A step is D real numbers: a draw from one of K Gaussians.

    p(x_i | context_i) = Σ_k π_ik N(x_i; μ_ik, diag σ_ik²), the log-weights, the
    means and the log-variances linear in relu(V context_i), log σ² clipped to
    [−15, 15]. Given the context, the numbers of a frame depend on each other
    through k. A density, as that of a `GaussianEmission`: give numbers of a
    mean near 0 and a variance near 1.

    Args:
        dim: D.
        components: K.
        hidden_dim: width of h_i and of the layer that writes.

    Example: two places that a frame may be at, not the mean of them.

    >>> emission = GaussianMixtureEmission(2, components=2, hidden_dim=4)
    >>> x = emission.batch([np.zeros((3, 2))])
    >>> context = ops.zeros((1, 8, 5))
    >>> tuple(emission.log_prob(x, context).shape)
    (1, 8)
    >>> emission.num_uniforms()  # one number draws k
    3

    Reference:
        - [Bishop, 1994](https://publications.aston.ac.uk/id/eprint/373/)
          (mixture density networks)
    """

    def __init__(
        self,
        dim: int,
        components: int = 5,
        hidden_dim: int = 128,
        **kwargs,
    ) -> None:
        check_positive_int(dim=dim, components=components)
        super().__init__(
            dim,
            hidden_dim,
            num_parameters=components * (1 + 2 * dim),
            **kwargs,
        )
        self.components = components
        # Apart at first: equal components would stay equal. About as far
        # from each other whatever D is.
        places = np.random.default_rng(0).standard_normal((components, dim))
        self.places = (places / np.sqrt(dim)).astype("float32")

    def distribution(self, parameters: keras.KerasTensor) -> MixtureOfGaussians:
        k, size = self.components, self.components * self.dim
        # Not `reshape`, which takes one unknown length only.
        mean, log_var = (
            ops.stack(ops.split(x, k, axis=-1), axis=-2)
            for x in (
                parameters[..., k : k + size],
                parameters[..., k + size :],
            )
        )
        return MixtureOfGaussians(
            parameters[..., :k],
            ops.add(mean, self.places),  # not `+`: it is an array
            ops.clip(log_var, *LOG_VAR_RANGE),
        )

    def num_uniforms(self, max_words: int | None = None) -> int:
        return super().num_uniforms(max_words) + 1

    def get_config(self) -> dict:
        return {**super().get_config(), "components": self.components}
