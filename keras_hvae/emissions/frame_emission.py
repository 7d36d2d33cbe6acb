"""The base class of emissions of vectors."""

import abc
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.emissions.emission import Emission
from keras_hvae.emissions.frames import Frames, check_frames
from keras_hvae.layers.step_nll import StepNLL
from keras_hvae.text.preprocessor import Preprocessor


class FrameEmission(Emission):
    """A step is a frame, a vector of D numbers: keys of a piano, sensors.

    A batch is a dict: `"frames"`, float `(B, n, D)`, and `"mask"`, bool
    `(B, n)`, True where real. A frame of zeros is data, not padding. h_i is
    tanh(W x_i); a frame is written from relu(V context_i). Subclasses define
    `params_dim` (or give `num_parameters`) and `distribution`.

    Args:
        dim: D.
        hidden_dim: width of h_i and of the layer that writes.
        num_parameters: how many parameters `distribution` takes for a frame;
            `params_dim` · D if not given.
    """

    unit = "frame"
    # Number of parameters of `distribution` for each of the D dimensions.
    params_dim = 1

    def __init__(
        self,
        dim: int,
        hidden_dim: int = 128,
        num_parameters: int | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        check_positive_int(dim=dim, hidden_dim=hidden_dim)
        self.dim = dim
        self.hidden_dim = hidden_dim
        policy = self.dtype_policy
        self.frame_encoder = keras.layers.Dense(
            hidden_dim, activation="tanh", dtype=policy, name="frame_encoder"
        )
        self.frame_decoder = keras.layers.Dense(
            hidden_dim, activation="relu", dtype=policy, name="frame_decoder"
        )
        self.parameters_of = keras.layers.Dense(
            num_parameters or self.params_dim * dim,
            dtype=policy,
            name="frame_parameters",
        )
        self.step_nll = StepNLL(name="step_nll")

    @abc.abstractmethod
    def distribution(self, parameters: keras.KerasTensor) -> Any:
        """p(x) of its parameters, `(..., num_parameters)`, float32.

        With `log_prob(x)` and `draw(distribution, uniforms)`.
        """

    def draw(
        self, distribution: Any, uniforms: keras.KerasTensor
    ) -> keras.KerasTensor:
        """A frame `(..., D)` of uniform numbers, `num_uniforms` of them."""
        return distribution.sample(uniforms)

    def inputs(self) -> dict[str, keras.KerasTensor]:
        return {
            "frames": keras.Input((None, self.dim), name="frames"),
            "mask": keras.Input((None,), dtype="bool", name="mask"),
        }

    def mask(self, x: dict) -> keras.KerasTensor:
        return x["mask"]

    def embed(self, x: dict) -> keras.KerasTensor:
        return self.frame_encoder(x["frames"])

    def _given(self, context):
        parameters = self.parameters_of(self.frame_decoder(context))
        return self.distribution(ops.cast(parameters, "float32"))

    def log_prob(
        self, x: dict, context: keras.KerasTensor
    ) -> keras.KerasTensor:
        frames = ops.where(x["mask"][..., None], x["frames"], 0.0)
        log_prob = self._given(context).log_prob(ops.cast(frames, "float32"))
        return ops.where(x["mask"], log_prob, 0.0)

    def nll(self, x: dict, context: keras.KerasTensor) -> keras.KerasTensor:
        return self.step_nll(self.log_prob(x, context), x["mask"])

    def sample(
        self,
        context: keras.KerasTensor,
        uniforms: keras.KerasTensor,
        real: keras.KerasTensor,
    ) -> keras.KerasTensor:
        frames = self.draw(self._given(context), uniforms)
        return ops.where(real[..., None], frames, 0.0)

    def num_uniforms(self, max_words: int | None = None) -> int:
        if max_words is not None:
            raise ValueError(
                "`max_words` is for models of words. "
                f"Received: {max_words} for a {type(self).__name__}"
            )
        return self.dim

    def decoder_layers(self) -> list[keras.layers.Layer]:
        return [self.frame_decoder, self.parameters_of]

    # === Data of the user ===

    def read(
        self, sequences: Any, preprocessor: Preprocessor | None = None
    ) -> "Frames":
        return Frames(sequences, self)

    def check(self, x: Any) -> None:
        if not isinstance(x, dict) or set(x) != {"frames", "mask"}:
            raise ValueError(
                '`x` must be a dict of "frames", float (B, n, '
                f'{self.dim}), and "mask", bool (B, n). Received: {type(x)}'
            )
        frames, mask = x["frames"], x["mask"]
        if isinstance(frames, np.ndarray):
            check_frames(frames, self)
        if isinstance(mask, np.ndarray) and (
            mask.dtype != bool or mask.shape != tuple(frames.shape[:2])
        ):
            raise ValueError(
                "`mask` must be bool of the shape of `frames` without D, "
                f"{tuple(frames.shape[:2])}. Received: {mask.dtype} of shape "
                f"{mask.shape}"
            )

    def check_values(self, frames: np.ndarray) -> None:
        """Raises `ValueError` if an array has numbers that cannot be."""

    def batch(self, sequences: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Arrays `(n_i, D)`, one a sequence, as one batch, padded with zeros.

        Raises:
            ValueError: for anything else than a list of such arrays.
        """
        if isinstance(sequences, np.ndarray) and sequences.ndim == 2:
            raise ValueError(
                "`sequences` must be a list of arrays (n, "
                f"{self.dim}). Received: one array of shape {sequences.shape}"
            )
        sequences = [check_frames(x, self, rank=2) for x in sequences]
        length = max((len(x) for x in sequences), default=0)
        if not length:
            raise ValueError(
                "`sequences` must have at least one frame. Received: "
                f"{len(sequences)} sequences of none"
            )
        length += -length % 8  # rounded up: fewer shapes are compiled
        frames = np.zeros((len(sequences), length, self.dim), "float32")
        for row, sequence in zip(frames, sequences):
            row[: len(sequence)] = sequence
        lengths = np.array([len(x) for x in sequences])
        return {
            "frames": frames,
            "mask": np.arange(length) < lengths[:, None],
        }

    def unbatch(self, x: dict) -> list[np.ndarray]:
        real = np.asarray(x["mask"], "bool")  # ints would be places
        return [frames[row] for frames, row in zip(x["frames"], real)]

    def units(self, x: dict) -> keras.KerasTensor:
        return ops.cast(x["mask"], "float32")

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "dim": self.dim,
            "hidden_dim": self.hidden_dim,
        }
