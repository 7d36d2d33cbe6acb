"""The word decoder: sentence contexts to words."""

import keras
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.layers.recurrent.gru_gates import cell_step
from keras_hvae.layers.recurrent.packed_gru import PackedGRU


@keras.saving.register_keras_serializable("keras_hvae")
class WordDecoder(keras.layers.Layer):
    """A GRU that writes each sentence from its context d_i.

    The context sets the initial state, tanh(W d_i), *and* stands beside the
    embedding of every input word.

    `call` is teacher forcing: all words of all sentences at once. `step` is
    one word of generation; both use the same weights.

    Args:
        units: width of the GRU.
        use_cudnn: `True`, `False` or `"auto"`; see `PackedGRU`.

    Call arguments:
        words: embeddings of the *previous* words (the first is `[BOS]`),
            tensor of shape `(B, n, m, E)`.
        contexts: tensor of shape `(B, n, H)`.
        mask: optional bool tensor of shape `(B, n, m)`, True for the words
            to write, which come first in each sentence.

    Returns:
        Hidden states, a tensor of shape `(B, n, m, units)`, not defined where
        the mask is False.

    Raises:
        ValueError: if `units` is not an integer >= 1.

    Example:

    >>> layer = WordDecoder(5)
    >>> states = layer(ops.ones((1, 2, 3, 4)), ops.ones((1, 2, 6)))
    >>> tuple(states.shape)
    (1, 2, 3, 5)
    >>> context = ops.ones((1, 6))
    >>> first = layer.step(
    ...     ops.ones((1, 4)),
    ...     layer.prepare(context),
    ...     layer.initial_state(context),
    ... )
    >>> bool(ops.all(ops.abs(first - states[0, :1, 0]) < 1e-6))
    True
    """

    def __init__(
        self, units: int, use_cudnn: bool | str = "auto", **kwargs
    ) -> None:
        super().__init__(**kwargs)
        check_positive_int(units=units)
        self.units = units
        self.use_cudnn = use_cudnn
        self.state = keras.layers.Dense(
            units, activation="tanh", dtype=self.dtype_policy, name="state"
        )
        self.gru = PackedGRU(
            units,
            return_sequences=True,
            use_cudnn=use_cudnn,
            dtype=self.dtype_policy,
            name="gru",
        )

    def build(
        self,
        words_shape: tuple,
        contexts_shape: tuple,
        mask_shape: tuple | None = None,
    ) -> None:
        self.state.build((None, contexts_shape[-1]))
        self.gru.build(
            (None, None, words_shape[-1]),
            beside_shape=(None, contexts_shape[-1]),
        )

    def call(
        self,
        words: keras.KerasTensor,
        contexts: keras.KerasTensor,
        mask: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        batch, sentences, length, width = ops.shape(words)
        rows = batch * sentences
        words = ops.reshape(words, (rows, length, width))
        contexts = ops.reshape(contexts, (rows, contexts.shape[-1]))
        if mask is None:
            lengths = ops.zeros((rows,), "int32") + length
        else:
            lengths = ops.sum(ops.cast(mask, "int32"), axis=-1)
            lengths = ops.reshape(lengths, (rows,))
        states = self.gru(
            words,
            lengths,
            beside=contexts,
            initial_state=self.initial_state(contexts),
        )
        return ops.reshape(states, (batch, sentences, length, self.units))

    def initial_state(self, contexts: keras.KerasTensor) -> keras.KerasTensor:
        """State before the first word: `(R, H)` to `(R, units)`."""
        return self.state(contexts)

    def prepare(self, contexts: keras.KerasTensor) -> keras.KerasTensor:
        """What a context adds at each of its words, to give to `step`.

        Args:
            contexts: tensor of shape `(R, H)`.

        Returns:
            A tensor `(R, 3 · units)`.
        """
        kernel = ops.cast(self.gru.cell.kernel, contexts.dtype)
        bias = ops.cast(self.gru.cell.bias, contexts.dtype)
        return ops.matmul(contexts, kernel[-contexts.shape[-1] :]) + bias[0]

    def step(
        self,
        words: keras.KerasTensor,
        prepared: keras.KerasTensor,
        state: keras.KerasTensor,
    ) -> keras.KerasTensor:
        """One word: `(R, E)`, `prepare`'s, `(R, units)` to the next state."""
        return cell_step(self.gru.cell, words, prepared, state)

    def compute_mask(self, *args, **kwargs):
        return None  # A mask of the inputs is not needed here.

    def compute_output_spec(self, words: keras.KerasTensor, *args, **kwargs):
        return keras.KerasTensor(
            (*words.shape[:3], self.units), dtype=self.compute_dtype
        )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.units,
            "use_cudnn": self.use_cudnn,
        }
