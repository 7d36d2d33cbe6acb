"""The context encoder: sentence vectors to contexts."""

import keras
from keras import ops

from keras_hvae.arguments import check_choice, check_positive_int
from keras_hvae.layers.recurrent.masked_gru import MaskedGRU

BACKWARD_READINGS = ("inclusive", "exclusive")
INFERENCES = ("smoothing", "filtering")


@keras.saving.register_keras_serializable("keras_hvae")
class ContextEncoder(keras.layers.Layer):
    """Reads the sentences of a document forward, then backward.

    The forward GRU reads h_1 … h_n: c_i is what is known up to sentence i.
    A second GRU reads the *contexts* backward, c_n … c_1; its last state b
    sums up the whole document and feeds the first latent. With
    `backward="exclusive"` it stops at c_2 and never reads c_1 (the literal
    recursion of the model's notes), so that a document of one sentence gives
    its first latent no information.

    With `inference="filtering"` nothing knows what comes later: b sums up the
    first sentence alone.

    Args:
        units: width of both GRUs.
        backward: `"inclusive"` or `"exclusive"`.
        inference: `"smoothing"` or `"filtering"`.

    Call arguments:
        sentences: tensor of shape `(B, n, H)`.
        mask: optional bool tensor of shape `(B, n)`, True for real
            sentences; all are real without it.

    Returns:
        The contexts c, shape `(B, n, units)`, and b, shape `(B, units)`.

    Raises:
        ValueError: if `units` is not an integer >= 1 or `backward` unknown.

    Example:

    >>> layer = ContextEncoder(5)
    >>> c, b = layer(ops.ones((1, 2, 3)))
    >>> tuple(c.shape), tuple(b.shape)
    ((1, 2, 5), (1, 5))
    """

    def __init__(
        self,
        units: int,
        backward: str = "inclusive",
        inference: str = "smoothing",
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        check_positive_int(units=units)
        check_choice(BACKWARD_READINGS, backward=backward)
        check_choice(INFERENCES, inference=inference)
        self.units = units
        self.backward = backward
        self.inference = inference
        self.forward_gru = MaskedGRU(
            units,
            return_sequences=True,
            dtype=self.dtype_policy,
            name="forward_gru",
        )
        self.backward_gru = MaskedGRU(
            units, dtype=self.dtype_policy, name="backward_gru"
        )

    def build(
        self, sentences_shape: tuple, mask_shape: tuple | None = None
    ) -> None:
        self.forward_gru.build(sentences_shape)
        self.backward_gru.build((*sentences_shape[:2], self.units))

    def call(
        self,
        sentences: keras.KerasTensor,
        mask: keras.KerasTensor | None = None,
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        if mask is None:
            mask = ops.ones(ops.shape(sentences)[:2], dtype="bool")
        if self.inference == "filtering":
            return self.filter(sentences, mask)
        contexts = self.forward_gru(sentences, mask)
        return contexts, self._backward(contexts, mask)

    def filter(
        self,
        sentences: keras.KerasTensor,
        mask: keras.KerasTensor,
        initial_state: keras.KerasTensor | None = None,
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Contexts, and b of the first sentence alone.

        Args:
            sentences, mask: see the call arguments.
            initial_state: optional context `(B, units)` to read on from.
        """
        contexts = self.forward_gru(
            sentences, mask, initial_state=initial_state
        )
        return contexts, self._backward(contexts[:, :1], mask[:, :1])

    def _backward(self, contexts, mask):
        """b of the contexts `(B, n, units)`."""
        if self.backward == "exclusive":
            not_first = ops.arange(ops.shape(contexts)[1]) > 0  # (n,)
            mask = ops.logical_and(mask, not_first[None])
        reverse = ops.flip(contexts, axis=1), ops.flip(mask, axis=1)
        return self.backward_gru(*reverse)

    def compute_mask(self, *args, **kwargs):
        return None  # The mask is an argument of `call`; the result has none.

    def compute_output_spec(
        self, sentences: keras.KerasTensor, *args, **kwargs
    ):
        batch, count = sentences.shape[:2]
        return (
            keras.KerasTensor((batch, count, self.units), self.compute_dtype),
            keras.KerasTensor((batch, self.units), self.compute_dtype),
        )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.units,
            "backward": self.backward,
            "inference": self.inference,
        }
