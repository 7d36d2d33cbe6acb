"""The contract between a model of sequences and what its steps are."""

import abc
import zlib
from typing import Any

import keras
import numpy as np

from keras_hvae.text.preprocessor import Preprocessor


class Emission(keras.layers.Layer, abc.ABC):
    """Reads and writes one step of a sequence: p(x_i | context_i).

    A model such as `HVAE` infers a context for each step; what a step is, a
    sentence of words or a frame of music, only its emission knows. A
    sequence batch `x` is whatever `inputs` describes; padding is told by
    `mask`, never guessed from values. `embed`, `log_prob`, `nll` and `sample`
    are made of this layer's sub-layers and work on symbolic tensors, so that
    a model can trace them one by one.

    Subclasses define `inputs`, `mask`, `embed`, `log_prob`, `sample` and, for
    data of the user, `batch`, `unbatch`, `units` and `read`.
    """

    # The name of what `units` counts, used as a key by `evaluate`.
    unit: str = "step"
    # The default sampler of `generate`, for emissions that have a choice.
    sampler: str | None = None

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        # The layer has no weights of its own and is never called itself.
        self.built = True

    @abc.abstractmethod
    def inputs(self) -> Any:
        """Symbolic inputs of a batch of sequences: what `x` is."""

    @abc.abstractmethod
    def mask(self, x: Any) -> keras.KerasTensor:
        """Which steps are real: bool `(B, n)`."""

    @abc.abstractmethod
    def embed(self, x: Any) -> keras.KerasTensor:
        """Step vectors h_i for the inference network: `(B, n, H)`."""

    @abc.abstractmethod
    def log_prob(self, x: Any, context: keras.KerasTensor) -> keras.KerasTensor:
        """log p(x_i | context_i), nats, float32 `(B, n)`; 0 at padding.

        Args:
            x: a batch of sequences.
            context: `(B, n, C)`.
        """

    @abc.abstractmethod
    def nll(self, x: Any, context: keras.KerasTensor) -> keras.KerasTensor:
        """−log p(x_i | context_i), `(B, n)`, added to the model's loss.

        In training it may be another loss that stands for it, such as that
        of a sampled softmax.
        """

    @abc.abstractmethod
    def sample(
        self,
        context: keras.KerasTensor,
        uniforms: keras.KerasTensor,
        real: keras.KerasTensor,
        **options,
    ) -> keras.KerasTensor:
        """Draws a step from each context.

        Args:
            context: `(B, n, C)`.
            uniforms: numbers in [0, 1), `(B, n, k)`; k from `num_uniforms`.
            real: bool `(B, n)`, where to write; elsewhere is padding.
            **options: what `sample_options` returned.

        Returns:
            A tensor `(B, n, ...)`.
        """

    def sample_options(self, **options) -> dict:
        """Checks the options of `generate`; returns those of `sample`."""
        if options := {k: v for k, v in options.items() if v is not None}:
            raise ValueError(
                f"A {type(self).__name__} has no options to sample with. "
                f"Received: {', '.join(sorted(options))}"
            )
        return {}

    @abc.abstractmethod
    def num_uniforms(self, max_words: int | None = None) -> int:
        """How many uniform numbers `sample` takes for a step."""

    @abc.abstractmethod
    def decoder_layers(self) -> list[keras.layers.Layer]:
        """The layers that write: what is reset, or held fixed, by cures."""

    # === Data of the user, in NumPy ===

    @abc.abstractmethod
    def read(
        self, sequences: Any, preprocessor: Preprocessor | None = None
    ) -> Any:
        """The user's sequences, with `batches` to iterate over."""

    @abc.abstractmethod
    def check(self, x: Any) -> None:
        """Raises `ValueError` if a batch is not what `inputs` says."""

    @abc.abstractmethod
    def batch(self, sequences: Any) -> Any:
        """Arrays `(n_i, ...)`, one a sequence, as one batch `x`."""

    @abc.abstractmethod
    def unbatch(self, x: Any) -> list[np.ndarray]:
        """The arrays `(n_i, ...)` of the real steps of a batch."""

    @abc.abstractmethod
    def units(self, x: Any) -> keras.KerasTensor:
        """Number of units of each step, `(B, n)`: tokens, or frames."""

    def checked_batch(self, x: Any) -> Any:
        """A batch of a dataset, as arrays; `ValueError` if it is none."""
        self.check(x)
        return x

    def crc32(self, steps: np.ndarray) -> int:
        """Tells sequences, or single steps, of arrays apart by content."""
        return zlib.crc32(np.ascontiguousarray(steps).tobytes())
