"""The word encoder: words to sentence vectors."""

import keras
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.layers.recurrent.packed_gru import PackedGRU


@keras.saving.register_keras_serializable("keras_hvae")
class WordEncoder(keras.layers.Layer):
    """Reads the words of every sentence with a GRU: h_i, its last real state.

    Args:
        units: width of the GRU and of the sentence vectors.
        use_cudnn: `True`, `False` or `"auto"`; see `PackedGRU`.

    Call arguments:
        words: embedded words, tensor of shape `(B, n, m, E)`.
        mask: bool tensor of shape `(B, n, m)`, True for real words, which
            come first in each sentence.

    Returns:
        A tensor of shape `(B, n, units)`; zeros for sentences without words.

    Raises:
        ValueError: if `units` is not an integer >= 1.

    Example:

    >>> layer = WordEncoder(5)
    >>> h = layer(ops.ones((1, 2, 3, 4)), mask=ops.ones((1, 2, 3), "bool"))
    >>> tuple(h.shape)
    (1, 2, 5)
    """

    def __init__(
        self, units: int, use_cudnn: bool | str = "auto", **kwargs
    ) -> None:
        super().__init__(**kwargs)
        check_positive_int(units=units)
        self.units = units
        self.use_cudnn = use_cudnn
        self.gru = PackedGRU(
            units, use_cudnn=use_cudnn, dtype=self.dtype_policy, name="gru"
        )

    def build(
        self, words_shape: tuple, mask_shape: tuple | None = None
    ) -> None:
        self.gru.build((None, None, words_shape[-1]))

    def call(
        self, words: keras.KerasTensor, mask: keras.KerasTensor
    ) -> keras.KerasTensor:
        batch, sentences, length, width = ops.shape(words)
        rows = batch * sentences
        lengths = ops.sum(ops.cast(mask, "int32"), axis=-1)  # (B, n)
        last = self.gru(
            ops.reshape(words, (rows, length, width)),
            ops.reshape(lengths, (rows,)),
        )
        return ops.reshape(last, (batch, sentences, self.units))

    def compute_mask(self, *args, **kwargs):
        return None  # The mask is an argument of `call`; the result has none.

    def compute_output_spec(self, words: keras.KerasTensor, *args, **kwargs):
        return keras.KerasTensor(
            (*words.shape[:2], self.units), dtype=self.compute_dtype
        )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.units,
            "use_cudnn": self.use_cudnn,
        }
