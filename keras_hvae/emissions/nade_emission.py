"""Frames of zeros and ones that depend on each other."""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.distributions import Bernoulli
from keras_hvae.emissions.frame_emission import FrameEmission
from keras_hvae.emissions.frames import check_bits
from keras_hvae.layers.vectors.nade_conditionals import NADEConditionals


@keras.saving.register_keras_serializable("keras_hvae")
class NADEEmission(FrameEmission):
    """A step is D bits, each given those before it in the frame.

    p(x_i | context_i) = ∏_d p(x_id | x_i,<d, context_i): a neural
    autoregressive density estimator whose biases the context shifts, b_i = b +
    W_b r_i and c_i = c + W_c r_i with r_i = relu(V context_i); see
    `layers.NADEConditionals`. Two keys of a piano that are struck together, or
    never, are no longer independent given the context. The probability of a
    frame takes one pass, which holds D · `units` numbers for each frame; a draw
    goes bit by bit. The context may be a chain's, in `HVAE(emission=...)`, that
    of a GRU over the frames before (an RNN-NADE), or zeros.

    Args:
        dim: D.
        units: width of the hidden layer between the bits.
        hidden_dim: width of h_i and of the layer that writes.

    Example: a GRU's outputs as the context.

    >>> emission = NADEEmission(3, units=4, hidden_dim=5)
    >>> x = emission.inputs()
    >>> before = ops.pad(x["frames"], [(0, 0), (1, 0), (0, 0)])[:, :-1]
    >>> context = keras.layers.GRU(6, return_sequences=True)(before)
    >>> model = keras.Model(x, emission.nll(x, context))
    >>> model.compile("adam")
    >>> songs = emission.batch([np.eye(3), np.ones((2, 3))])
    >>> model.predict(songs, verbose=0).shape
    (2, 8)

    Reference:
        - [Boulanger-Lewandowski et al., 2012](https://arxiv.org/abs/1206.6392)
        - [Larochelle and Murray, 2011](
          https://proceedings.mlr.press/v15/larochelle11a.html)
    """

    def __init__(
        self, dim: int, units: int = 128, hidden_dim: int = 128, **kwargs
    ) -> None:
        check_positive_int(dim=dim, units=units)
        super().__init__(dim, hidden_dim, num_parameters=units + dim, **kwargs)
        # In float32: it adds up D terms.
        self.conditionals = NADEConditionals(
            dim, units, dtype="float32", name="conditionals"
        )
        self.conditionals.build((None, dim))

    def distribution(self, parameters: keras.KerasTensor) -> "ShiftedNADE":
        units = self.conditionals.units
        return ShiftedNADE(
            self.conditionals,
            parameters[..., :units],
            parameters[..., units:, None],
        )

    def decoder_layers(self) -> list[keras.layers.Layer]:
        return [*super().decoder_layers(), self.conditionals]

    def check_values(self, frames: np.ndarray) -> None:
        check_bits(frames)

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.conditionals.units}


class ShiftedNADE(NamedTuple):
    """A distribution of bits whose biases are shifted.

    Args:
        conditionals: a layer, `NADEConditionals`.
        hidden_shift: `(..., H)`.
        shift: `(..., D, 1)`.
    """

    conditionals: NADEConditionals
    hidden_shift: keras.KerasTensor
    shift: keras.KerasTensor

    def log_prob(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Nats, `(...)`, of zeros and ones `(..., D)`."""
        logits = self.conditionals(
            x, hidden_shift=self.hidden_shift, shift=self.shift
        )
        return Bernoulli(logits[..., 0]).log_prob(x)

    def sample(self, uniforms: keras.KerasTensor) -> keras.KerasTensor:
        """Zeros and ones by uniform numbers, both `(..., D)`."""
        dim, units = self.conditionals.dim, self.conditionals.units
        rows = ops.reshape(uniforms, (-1, dim, 1))
        x = self.conditionals.draw(
            lambda logits, u: Bernoulli(logits).sample(u)[:, 0],
            rows,
            given=ops.zeros_like(rows[..., 0]),
            observed=ops.zeros_like(rows[..., 0], dtype="bool"),
            hidden_shift=ops.reshape(self.hidden_shift, (-1, units)),
            shift=ops.reshape(self.shift, (-1, dim, 1)),
        )
        return ops.reshape(x, ops.shape(uniforms))
