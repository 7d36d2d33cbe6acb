"""A GRU over many short sequences of unlike length, without their padding."""

import keras
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.layers.recurrent import (
    block_recurrence,
    packed_recurrence,
    torch_recurrence,
)
from keras_hvae.layers.recurrent.devices import on_gpu
from keras_hvae.layers.shards import on_own_rows


@keras.saving.register_keras_serializable("keras_hvae")
class PackedGRU(keras.layers.Layer):
    """`keras.layers.GRU` for ragged batches: pads are not computed.

    The rows are sorted by length, and step t runs the rows that are longer
    than t only (PyTorch calls this a packed sequence). The gradient is
    written out: one loop back, then large products for the weights. Weights,
    equations and results are those of `keras.layers.GRU`.

    On JAX, where shapes are fixed, the sorted rows run block by block, each
    for as many steps as its longest row has entries; on a GPU all rows are one
    block. Where there is a GPU and its cuDNN has a GRU, that one runs: on
    PyTorch over packed rows, on TensorFlow, by `keras.layers.GRU`, pads and
    all.

    Args:
        units: width H of the state.
        return_sequences: whether to return the states behind each entry, or
            only those behind the last ones.
        use_cudnn: `True` to use the GRU of cuDNN, `False` not to, `"auto"`
            where it is there.

    Call arguments:
        inputs: tensor of shape `(R, T, E)`.
        lengths: int tensor of shape `(R,)`: how many entries of each row are
            real; they come first.
        beside: optional tensor of shape `(R, C)`, an input that stands beside
            every entry of its row. It is multiplied once a row, not once an
            entry.
        initial_state: optional tensor of shape `(R, H)`; zeros if not given.

    Returns:
        A tensor of shape `(R, T, H)`, not defined behind the end of a row,
        or `(R, H)` (of an empty row its initial state).

    Raises:
        ValueError: if `units` is not an integer >= 1.

    Example:

    >>> layer = PackedGRU(3, return_sequences=True)
    >>> states = layer(ops.ones((2, 4, 5)), ops.array([4, 2]))
    >>> bool(ops.all(ops.abs(states[0, :2] - states[1, :2]) < 1e-6))
    True
    """

    def __init__(
        self,
        units: int,
        return_sequences: bool = False,
        use_cudnn: bool | str = "auto",
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        check_positive_int(units=units)
        self.units = units
        self.return_sequences = return_sequences
        self.use_cudnn = use_cudnn
        # The layer that holds the weights, whichever algorithm computes.
        self.gru = keras.layers.GRU(
            units,
            return_sequences=True,
            use_cudnn=use_cudnn,
            dtype=self.dtype_policy,
            name="gru",
        )
        self.packs = use_cudnn is False or (
            use_cudnn == "auto" and not _has_cudnn_gru()
        )
        if keras.config.backend() == "tensorflow":
            # XLA needs static sizes.
            self.supports_jit = not self.packs

    def build(
        self,
        inputs_shape: tuple,
        lengths_shape: tuple | None = None,
        beside_shape: tuple | None = None,
        initial_state_shape: tuple | None = None,
    ) -> None:
        beside = 0 if beside_shape is None else beside_shape[-1]
        self.gru.build((None, None, inputs_shape[-1] + beside))

    @property
    def cell(self) -> keras.layers.GRUCell:
        """The `keras.layers.GRUCell` with the weights, for single steps."""
        return self.gru.cell

    def call(
        self,
        inputs: keras.KerasTensor,
        lengths: keras.KerasTensor | None,
        beside: keras.KerasTensor | None = None,
        initial_state: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        if not self.packs:
            return self._unpacked(inputs, lengths, beside, initial_state)
        kernel, recurrent, bias = (
            ops.cast(ops.convert_to_tensor(x), inputs.dtype)
            for x in (
                self.cell.kernel,
                self.cell.recurrent_kernel,
                self.cell.bias,
            )
        )
        rows, _, width = ops.shape(inputs)
        # The part of the gates from `beside`, equal at every step.
        constant = bias[:1]
        if beside is not None:
            kernel, of_beside = ops.split(kernel, [width])
            beside = ops.cast(beside, inputs.dtype)
            constant = constant + ops.matmul(beside, of_beside)
        if initial_state is None:
            initial_state = ops.zeros((rows, self.units), inputs.dtype)
        fixed = keras.config.backend() == "jax"
        shapes = block_recurrence if fixed else packed_recurrence
        initial_state = ops.cast(initial_state, inputs.dtype)
        by_row = [ops.cast(lengths, "int32"), inputs, initial_state]
        weights = [kernel, recurrent, bias[1]]
        # `beside` differs from row to row.
        (weights if beside is None else by_row).append(constant)

        def run(lengths, inputs, initial_state, *rest):
            *weights, constant = rest
            if beside is not None:
                constant, *weights = rest
            recurrence = shapes.recurrence(lengths, self.return_sequences)
            return recurrence(inputs, initial_state, constant, *weights)

        return on_own_rows(run, by_row, weights)

    def _unpacked(self, inputs, lengths, beside, initial_state):
        rows, steps, _ = ops.shape(inputs)
        if beside is not None:
            beside = ops.cast(beside, inputs.dtype)
            beside = ops.repeat(beside[:, None], steps, axis=1)
            inputs = ops.concatenate([inputs, beside], axis=-1)
        if keras.config.backend() == "torch":
            if initial_state is None:
                initial_state = ops.zeros((rows, self.units))
            weights = (
                self.cell.kernel,
                self.cell.recurrent_kernel,
                self.cell.bias,
            )
            return torch_recurrence.recurrence(
                inputs,
                lengths,
                *(ops.cast(x, inputs.dtype) for x in (initial_state, *weights)),
                return_sequences=self.return_sequences,
            )
        states = self.gru(inputs, initial_state=initial_state)
        if self.return_sequences:
            return states
        # No mask: the states gathered are those before the padding.
        index = ops.maximum(ops.cast(lengths, "int32") - 1, 0)[:, None, None]
        last = ops.take_along_axis(states, index, axis=1)[:, 0]
        if initial_state is None:
            initial_state = ops.zeros_like(last)
        return ops.where((lengths > 0)[:, None], last, initial_state)

    def compute_mask(self, *args, **kwargs):
        # The lengths are an argument of `call`; the result has no mask.
        return None

    def compute_output_spec(self, inputs: keras.KerasTensor, *args, **kwargs):
        shape = (*inputs.shape[: 1 + self.return_sequences], self.units)
        return keras.KerasTensor(shape, self.compute_dtype)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.units,
            "return_sequences": self.return_sequences,
            "use_cudnn": self.use_cudnn,
        }


def _has_cudnn_gru():
    """Whether a GRU of Keras would run on cuDNN: not on JAX, not on CPUs."""
    return keras.config.backend() != "jax" and on_gpu()
