"""A GRU over sequences with gaps."""

import keras
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.layers.recurrent.packed_gru import PackedGRU


@keras.saving.register_keras_serializable("keras_hvae")
class MaskedGRU(keras.layers.Layer):
    """A `PackedGRU` whose real entries may stand anywhere in a row.

    An entry that is not real has the state before it.

    Args:
        units: width H of the state.
        return_sequences: whether to return the states behind each entry, or
            only those behind the last ones.
        use_cudnn: see `PackedGRU`. Default: `"auto"` on PyTorch, `False`
            elsewhere, since what TensorFlow exports must run without a GPU.

    Call arguments:
        inputs: tensor of shape `(R, T, E)`.
        mask: bool tensor of shape `(R, T)`, True where real.
        beside: optional tensor `(R, C)`; see `PackedGRU`.
        initial_state: optional tensor `(R, H)`; zeros if not given.

    Returns:
        A tensor of shape `(R, T, H)` or `(R, H)`.

    Raises:
        ValueError: if `units` is not an integer >= 1.

    Example:

    >>> layer = MaskedGRU(3, return_sequences=True)
    >>> states = layer(ops.ones((1, 2, 5)), ops.array([[True, False]]))
    >>> bool(ops.all(states[0, 0] == states[0, 1]))
    True
    """

    def __init__(
        self,
        units: int,
        return_sequences: bool = False,
        use_cudnn: bool | str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        check_positive_int(units=units)
        self.units = units
        self.return_sequences = return_sequences
        self.use_cudnn = use_cudnn
        if use_cudnn is None:
            use_cudnn = "auto" if keras.config.backend() == "torch" else False
        self.gru = PackedGRU(
            units,
            return_sequences,
            use_cudnn=use_cudnn,
            dtype=self.dtype_policy,
            name="gru",
        )

    def build(
        self,
        inputs_shape: tuple,
        mask_shape: tuple | None = None,
        beside_shape: tuple | None = None,
        initial_state_shape: tuple | None = None,
    ) -> None:
        self.gru.build(inputs_shape, beside_shape=beside_shape)

    @property
    def cell(self) -> keras.layers.GRUCell:
        """The `keras.layers.GRUCell` with the weights, for single steps."""
        return self.gru.cell

    def call(
        self,
        inputs: keras.KerasTensor,
        mask: keras.KerasTensor,
        beside: keras.KerasTensor | None = None,
        initial_state: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        count = ops.shape(mask)[1]
        place = ops.arange(count, dtype="int32")
        order = ops.argsort(ops.where(mask, place, place + count), axis=1)
        states = self.gru(
            ops.take_along_axis(inputs, order[..., None], axis=1),
            ops.sum(ops.cast(mask, "int32"), axis=1),
            beside=beside,
            initial_state=initial_state,
        )
        if not self.return_sequences:
            return states
        place = ops.cumsum(ops.cast(mask, "int32"), axis=1) - 1  # (R, T)
        states = ops.take_along_axis(
            states, ops.maximum(place, 0)[..., None], axis=1
        )
        if initial_state is None:
            first = ops.zeros_like(states[:, :1])
        else:
            first = ops.cast(initial_state, states.dtype)[:, None]
        return ops.where(place[..., None] >= 0, states, first)

    def compute_mask(self, *args, **kwargs):
        return None  # The mask is an argument of `call`; the result has none.

    def compute_output_spec(self, inputs: keras.KerasTensor, *args, **kwargs):
        rows, length = inputs.shape[:2]
        middle = (length,) if self.return_sequences else ()
        return keras.KerasTensor(
            (rows, *middle, self.units), dtype=self.compute_dtype
        )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.units,
            "return_sequences": self.return_sequences,
            "use_cudnn": self.use_cudnn,
        }
