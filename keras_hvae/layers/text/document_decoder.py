"""A GRU over all words of a document."""

import keras
from keras import ops

from keras_hvae.arguments import check_choice, check_positive_int
from keras_hvae.layers.recurrent.gru_gates import cell_step
from keras_hvae.layers.recurrent.masked_gru import MaskedGRU

SCOPES = ("document", "sentence")


@keras.saving.register_keras_serializable("keras_hvae")
class DocumentDecoder(keras.layers.Layer):
    """A GRU that writes a document word by word, from first to last sentence.

    The `WordDecoder` of a language model: what it writes a sentence from, its
    context, is its own state behind the sentence before.

    Args:
        units: width of the GRU.
        scope: `"document"`, or `"sentence"`: start anew with each sentence.
        use_cudnn: `True`, `False` or `"auto"`; see `PackedGRU`.

    Call arguments:
        words: embeddings of the *previous* words (that of a sentence's first
            word is `[BOS]`), tensor of shape `(B, n, m, E)`.
        contexts: not used: a `WordDecoder` has them here.
        mask: bool tensor of shape `(B, n, m)`, True for the words to write.

    Returns:
        Hidden states, a tensor of shape `(B, n, m, units)`; where the mask
        is False, the state before.

    Raises:
        ValueError: if `units` is not an integer >= 1 or `scope` unknown.

    Example:

    >>> layer = DocumentDecoder(5)
    >>> mask = ops.ones((1, 2, 3), "bool")
    >>> states = layer(ops.ones((1, 2, 3, 4)), mask=mask)
    >>> tuple(states.shape), tuple(layer.contexts_of(states).shape)
    ((1, 2, 3, 5), (1, 2, 5))
    """

    def __init__(
        self,
        units: int,
        scope: str = "document",
        use_cudnn: bool | str = "auto",
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        check_positive_int(units=units)
        check_choice(SCOPES, scope=scope)
        self.units = units
        self.scope = scope
        self.use_cudnn = use_cudnn
        self.gru = MaskedGRU(
            units,
            return_sequences=True,
            use_cudnn=use_cudnn,
            dtype=self.dtype_policy,
            name="gru",
        )

    def build(
        self,
        words_shape: tuple,
        contexts_shape: tuple | None = None,
        mask_shape: tuple | None = None,
    ) -> None:
        self.gru.build((None, None, words_shape[-1]))

    def call(
        self,
        words: keras.KerasTensor,
        contexts: keras.KerasTensor | None = None,
        mask: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        batch, sentences, length, width = ops.shape(words)
        row = length if self.scope == "sentence" else sentences * length
        states = self.gru(
            ops.reshape(words, (-1, row, width)), ops.reshape(mask, (-1, row))
        )
        return ops.reshape(states, (batch, sentences, length, self.units))

    def contexts_of(self, states: keras.KerasTensor) -> keras.KerasTensor:
        """The states before each sentence: `(B, n, m, H)` to `(B, n, H)`."""
        if self.scope == "sentence":
            return ops.zeros_like(states[:, :, 0])
        return ops.pad(states[:, :-1, -1], ((0, 0), (1, 0), (0, 0)))

    def initial_state(self, contexts: keras.KerasTensor) -> keras.KerasTensor:
        """State before the first word: the context, `(R, units)`, itself."""
        return contexts

    def prepare(self, contexts: keras.KerasTensor) -> keras.KerasTensor:
        """What is added at each word, to give to `step`."""
        bias = ops.cast(self.gru.cell.bias, contexts.dtype)
        return ops.zeros_like(contexts[:, :1]) + bias[0]

    def step(
        self,
        words: keras.KerasTensor,
        prepared: keras.KerasTensor,
        state: keras.KerasTensor,
    ) -> keras.KerasTensor:
        """One word: `(R, E)`, `prepare`'s, `(R, units)` to the next state."""
        return cell_step(self.gru.cell, words, prepared, state)

    def compute_mask(self, *args, **kwargs):
        return None  # The mask is an argument of `call`; the result has none.

    def compute_output_spec(self, words: keras.KerasTensor, *args, **kwargs):
        return keras.KerasTensor(
            (*words.shape[:3], self.units), dtype=self.compute_dtype
        )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.units,
            "scope": self.scope,
            "use_cudnn": self.use_cudnn,
        }
