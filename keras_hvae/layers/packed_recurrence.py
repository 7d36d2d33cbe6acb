"""A GRU over packed rows, where shapes may depend on the data."""

from keras import ops

from keras_hvae.layers.gru_gates import gates


class Packing:
    """Where the entries of sorted rows stand, step after step.

    Packed, the entries of step 0 come first (row after row, the longest row
    first), then those of step 1, and so on: step t has `active(t)` entries
    and they begin at `offset(t)`. JAX knows fixed shapes only: there all rows
    are packed at every step, and those that have ended keep their state.
    """

    def __init__(self, lengths, steps):
        self.rows = ops.shape(lengths)[0]
        self.order = ops.cast(ops.argsort(-lengths), "int32")
        self.rank = ops.cast(ops.argsort(self.order), "int32")
        self.time = ops.arange(steps, dtype="int32")
        row = ops.arange(self.rows, dtype="int32")
        runs = lengths[None] > self.time[:, None]  # (T, R)
        self._active = ops.sum(ops.cast(runs, "int32"), axis=1)  # (T,)
        self._offset = ops.cumsum(self._active) - self._active
        # Of every packed entry: its row, its place in (T, R), in (R, T).
        self.row = ops.tile(self.order, (steps,))
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
        return ops.take(self._active, t)

    def at(self, x, t):
        """The entries of step t: `(N, W)` to `(active(t), W)`."""
        start = ops.take(self._offset, t)
        return ops.slice(x, (start, 0), (self.count(t), x.shape[-1]))

    def hold(self, t, new, old):
        """The new states of the rows that run, the old ones of the others."""
        held = ops.concatenate([new, old[self.count(t) :]])
        return ops.reshape(held, ops.shape(old))


def _flat(x):
    first, second, width = ops.shape(x)
    return ops.reshape(x, (first * second, width))


def _and_zeros(x):
    return ops.concatenate([x, ops.zeros((1, x.shape[-1]), x.dtype)])


def recurrence(lengths, return_sequences):
    """The GRU as a function of its tensors, with its gradient.

    Only the states are kept for the way back. There the gates are computed
    again, those of all entries at once.
    """

    @ops.custom_gradient
    def run(inputs, initial, constant, kernel, recurrent, bias):
        packing = Packing(lengths, ops.shape(inputs)[1])
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

    return run
