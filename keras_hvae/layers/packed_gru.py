"""A GRU over many short sequences of unlike length, without their padding."""

import keras
from keras import ops

from keras_hvae.arguments import check_positive_int


@keras.saving.register_keras_serializable("keras_hvae")
class PackedGRU(keras.layers.Layer):
    """`keras.layers.GRU` for ragged batches: pads are not computed.

    The rows are sorted by length, and step t runs the rows that are longer
    than t only (PyTorch calls this a packed sequence). The gradient is
    written out: one loop back, then one product for each weight. Weights,
    equations and results are those of `keras.layers.GRU`.

    On JAX, where shapes are fixed, all rows run and those that have ended
    keep their state. Where there is a GPU and its cuDNN has a GRU (on
    TensorFlow and PyTorch), `keras.layers.GRU` itself runs, pads and all.

    Args:
        units: width H of the state.
        return_sequences: whether to return the states behind each entry, or
            only those behind the last ones.
        use_cudnn: `True` to use `keras.layers.GRU` on cuDNN, `False` not to,
            `"auto"` where it is there.

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
        self, units, return_sequences=False, use_cudnn="auto", **kwargs
    ):
        super().__init__(**kwargs)
        check_positive_int(units=units)
        self.units = units
        self.return_sequences = return_sequences
        self.use_cudnn = use_cudnn
        # It keeps the weights, whoever computes.
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
            # Sizes that depend on the data are nothing for XLA.
            self.supports_jit = not self.packs

    def build(
        self,
        inputs_shape,
        lengths_shape=None,
        beside_shape=None,
        initial_state_shape=None,
    ):
        beside = 0 if beside_shape is None else beside_shape[-1]
        self.gru.build((None, None, inputs_shape[-1] + beside))

    @property
    def cell(self):
        """The `keras.layers.GRUCell` with the weights, for single steps."""
        return self.gru.cell

    def call(self, inputs, lengths, beside=None, initial_state=None):
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
        # What the gates get at every step.
        constant = bias[:1]
        if beside is not None:
            beside = ops.cast(beside, inputs.dtype)
            constant = constant + ops.matmul(beside, kernel[width:])
        if initial_state is None:
            initial_state = ops.zeros((rows, self.units), inputs.dtype)
        recurrence = _recurrence(
            ops.cast(lengths, "int32"), self.return_sequences
        )
        return recurrence(
            inputs,
            ops.cast(initial_state, inputs.dtype),
            constant,
            kernel[:width],
            recurrent,
            bias[1],
        )

    def _unpacked(self, inputs, lengths, beside, initial_state):
        if beside is not None:
            beside = ops.repeat(beside[:, None], ops.shape(inputs)[1], axis=1)
            inputs = ops.concatenate([inputs, beside], axis=-1)
        states = self.gru(inputs, initial_state=initial_state)
        if self.return_sequences:
            return states
        # Unmasked, then gathered: the pads stand behind what is gathered.
        index = ops.maximum(ops.cast(lengths, "int32") - 1, 0)[:, None, None]
        last = ops.take_along_axis(states, index, axis=1)[:, 0]
        if initial_state is None:
            initial_state = ops.zeros_like(last)
        return ops.where((lengths > 0)[:, None], last, initial_state)

    def compute_mask(self, *args, **kwargs):
        return None  # `lengths` is an argument here; results carry none.

    def compute_output_spec(self, inputs, *args, **kwargs):
        shape = (*inputs.shape[: 1 + self.return_sequences], self.units)
        return keras.KerasTensor(shape, self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "return_sequences": self.return_sequences,
            "use_cudnn": self.use_cudnn,
        }


def _has_cudnn_gru():
    """Whether a GRU of Keras would run on cuDNN: not on JAX, not on CPUs."""
    backend = keras.config.backend()
    if backend == "torch":
        return ops.zeros(()).device.type == "cuda"
    return backend == "tensorflow" and bool(
        keras.distribution.list_devices("gpu")
    )


def gates(given, kept):
    """z, r, n of a GRU from its two products, each `(..., 3 H)`."""
    given, given_n = ops.split(given, [given.shape[-1] // 3 * 2], axis=-1)
    kept, kept_n = ops.split(kept, [kept.shape[-1] // 3 * 2], axis=-1)
    z, r = ops.split(ops.sigmoid(given + kept), 2, axis=-1)
    return z, r, ops.tanh(given_n + r * kept_n)


class _Packing:
    """Where the entries of sorted rows stand, step after step.

    Packed, the entries of step 0 come first (row after row, the longest row
    first), then those of step 1, and so on: step t has `active(t)` entries
    and they begin at `offset(t)`. JAX knows fixed shapes only: there all rows
    are packed at every step, and those that have ended keep their state.
    """

    def __init__(self, lengths, steps):
        self.fixed = keras.config.backend() == "jax"
        self.rows = ops.shape(lengths)[0]
        self.order = ops.cast(ops.argsort(-lengths), "int32")
        self.rank = ops.cast(ops.argsort(self.order), "int32")
        self.lengths = ops.take(lengths, self.order, axis=0)
        self.time = ops.arange(steps, dtype="int32")
        row = ops.arange(self.rows, dtype="int32")
        runs = lengths[None] > self.time[:, None]  # (T, R)
        if self.fixed:
            runs = ops.ones_like(runs)
        self._active = ops.sum(ops.cast(runs, "int32"), axis=1)  # (T,)
        self._offset = ops.cumsum(self._active) - self._active
        # Of every packed entry: its row, its place in (T, R), in (R, T).
        self.row = ops.tile(self.order, (steps,))
        self.by_time = ops.arange(steps * self.rows, dtype="int32")
        if not self.fixed:
            runs = ops.reshape(row < self._active[:, None], (-1,))
            self.by_time = ops.cast(ops.nonzero(runs)[0], "int32")
            self.row = ops.take(self.row, self.by_time, axis=0)
        self.by_row = self.row * steps + self.by_time // self.rows
        # The way back. What is not real points to a last row of zeros.
        none = ops.shape(self.by_time)[0]
        rank = self.rank[:, None]
        real = self.time < lengths[:, None]  # (R, T)
        self.place = ops.where(real, self._offset + rank, none)

    def unpack(self, x):
        """`(N, W)` to `(R, T, W)`, zeros behind the end of a row."""
        return ops.take(_and_zeros(x), self.place, axis=0)

    def count(self, t):
        """How many rows run at step t."""
        return self.rows if self.fixed else ops.take(self._active, t)

    def at(self, x, t):
        """The entries of step t: `(N, W)` to `(active(t), W)`."""
        start = ops.take(self._offset, t)
        return ops.slice(x, (start, 0), (self.count(t), x.shape[-1]))

    def hold(self, t, new, old):
        """The new states of the rows that run, the old ones of the others."""
        if self.fixed:
            return ops.where((self.lengths > t)[:, None], new, old)
        held = ops.concatenate([new, old[self.count(t) :]])
        return ops.reshape(held, ops.shape(old))


def _flat(x):
    first, second, width = ops.shape(x)
    return ops.reshape(x, (first * second, width))


def _and_zeros(x):
    return ops.concatenate([x, ops.zeros((1, x.shape[-1]), x.dtype)])


def _recurrence(lengths, return_sequences):
    """The GRU as a function of its tensors, with its gradient.

    Only the states are kept for the way back. There the gates are computed
    again, those of all entries at once.
    """

    @ops.custom_gradient
    def recurrence(inputs, initial, constant, kernel, recurrent, bias):
        packing = _Packing(lengths, ops.shape(inputs)[1])
        entries = ops.take(_flat(inputs), packing.by_row, axis=0)  # (N, E)
        initial = ops.take(initial, packing.order, axis=0)
        given = ops.matmul(entries, kernel)  # (N, 3 H)
        given = given + (
            constant
            if constant.shape[0] == 1
            else ops.take(constant, packing.row, axis=0)
        )

        def step(state, t):
            h = state[: packing.count(t)]
            kept = ops.matmul(h, recurrent) + bias
            z, _, n = gates(packing.at(given, t), kept)
            state = packing.hold(t, n + z * (h - n), state)
            return state, state

        last, states = ops.scan(step, initial, packing.time)  # (T, R, H)

        def packed(x):
            return ops.take(_flat(x), packing.by_time, axis=0)

        def grad(*args, upstream=None):
            if upstream is None:
                (upstream,) = args
            before = packed(ops.concatenate([initial[None], states[:-1]]))
            kept = ops.matmul(before, recurrent) + bias
            z, r, n = gates(given, kept)
            # What a state's gradient is multiplied with to get those of the
            # sums within z, r and n, and of n's part from the state.
            to_n = (1 - z) * (1 - n * n)
            to_z = (before - n) * z * (1 - z)
            to_r = to_n * kept[:, -z.shape[-1] :] * r * (1 - r)
            factors = ops.concatenate([to_z, to_r, to_n * r, z], axis=-1)
            if return_sequences:
                upstream = ops.take(_flat(upstream), packing.by_row, axis=0)
            else:
                d_last = ops.take(upstream, packing.order, axis=0)
            recurrent_t = ops.transpose(recurrent)

            def step(carry, t):
                d_state, _ = carry
                d_h = d_state[: packing.count(t)]
                if return_sequences:
                    d_h = d_h + packing.at(upstream, t)
                to_kept, z = ops.split(
                    packing.at(factors, t), [3 * d_h.shape[-1]], axis=-1
                )
                d_kept = to_kept * ops.tile(d_h, (1, 3))
                d_before = d_h * z + ops.matmul(d_kept, recurrent_t)
                held = packing.hold(t, d_h, d_state)
                carry = packing.hold(t, d_before, d_state), held
                return carry, carry

            first = ops.zeros_like(initial)
            if not return_sequences:
                first = d_last
            (d_initial, _), (_, d_states) = ops.scan(
                step, (first, first), packing.time, reverse=True
            )
            d_h = packed(d_states)  # (N, H)
            if packing.fixed:  # not of rows that have ended
                real = packing.lengths > packing.time[:, None]  # (T, R)
                d_h = ops.where(ops.reshape(real, (-1, 1)), d_h, 0)
            d_kept = factors[:, : kept.shape[-1]] * ops.tile(d_h, (1, 3))
            d_given = ops.concatenate(
                [d_kept[:, : -d_h.shape[-1]], d_h * to_n], axis=-1
            )
            d_inputs = ops.matmul(d_given, ops.transpose(kernel))
            if constant.shape[0] == 1:
                d_constant = ops.sum(d_given, axis=0, keepdims=True)
            else:
                d_constant = ops.segment_sum(d_given, packing.row, packing.rows)
            return (
                packing.unpack(d_inputs),
                ops.take(d_initial, packing.rank, axis=0),
                d_constant,
                ops.matmul(ops.transpose(entries), d_given),
                ops.matmul(ops.transpose(before), d_kept),
                ops.sum(d_kept, axis=0),
            )

        if return_sequences:
            return packing.unpack(packed(states)), grad
        return ops.take(last, packing.rank, axis=0), grad

    return recurrence
