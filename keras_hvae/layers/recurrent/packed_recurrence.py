"""A GRU over packed rows, where shapes may depend on the data."""

from collections.abc import Callable

import keras
from keras import ops

from keras_hvae.layers.recurrent.gru_gates import gates, split_gates


class Packing:
    """Where the entries of sorted rows stand, step after step.

    Packed, the entries of step 0 come first (row after row, the longest row
    first), then those of step 1, and so on.
    """

    def __init__(self, lengths: keras.KerasTensor, steps: int) -> None:
        self.rows = ops.shape(lengths)[0]
        self.order = ops.cast(ops.argsort(-lengths), "int32")
        self.rank = ops.cast(ops.argsort(self.order), "int32")
        self.time = ops.arange(steps, dtype="int32")
        row = ops.arange(self.rows, dtype="int32")
        runs = lengths[None] > self.time[:, None]  # (T, R)
        self._active = ops.sum(ops.cast(runs, "int32"), axis=1)  # (T,)
        self._offset = ops.cumsum(self._active) - self._active
        # After the last step no row is active.
        self._active = ops.pad(self._active, ((0, 1),))
        self._offset = ops.pad(self._offset, ((0, 1),))
        # Of every packed entry: its row, its place in (T, R) and in (R, T).
        self.row = ops.tile(self.order, (steps,))
        runs = ops.reshape(row < self._active[:-1, None], (-1,))
        self.by_time = ops.cast(ops.nonzero(runs)[0], "int32")
        self.row = ops.take(self.row, self.by_time, axis=0)
        self.by_row = self.row * steps + self.by_time // self.rows
        # Positions of the entries in (R, T); padding points to an added last
        # row of zeros.
        none = ops.shape(self.by_time)[0]
        rank = self.rank[:, None]
        real = self.time < lengths[:, None]  # (R, T)
        self.place = ops.where(real, self._offset[:-1] + rank, none)

    def unpack(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """`(N, W)` to `(R, T, W)`, zeros behind the end of a row."""
        return ops.take(_and_zeros(x), self.place, axis=0)

    def count(self, t: keras.KerasTensor) -> keras.KerasTensor:
        """How many rows run at step t."""
        return ops.take(self._active, t)

    def at(
        self, x: keras.KerasTensor, t: keras.KerasTensor
    ) -> keras.KerasTensor:
        """The entries of step t: `(N, ...)` to `(count(t), ...)`."""
        start = ops.take(self._offset, t), *(0,) * (len(x.shape) - 1)
        return ops.slice(x, start, (self.count(t), *x.shape[1:]))

    def spread(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """What stands beside rows, (1, W) or (R, W), to their entries."""
        return x if x.shape[0] == 1 else ops.take(x, self.row, axis=0)

    def hold(
        self,
        t: keras.KerasTensor,
        new: keras.KerasTensor,
        old: keras.KerasTensor,
    ) -> keras.KerasTensor:
        """The new states of the rows that run, the old ones of the others."""
        held = ops.concatenate([new, old[self.count(t) :]])
        return ops.reshape(held, ops.shape(old))


def _flat(x):
    first, second, width = ops.shape(x)
    return ops.reshape(x, (first * second, width))


def _and_zeros(x):
    return ops.concatenate([x, ops.zeros((1, x.shape[-1]), x.dtype)])


def recurrence(lengths: keras.KerasTensor, return_sequences: bool) -> Callable:
    """The GRU as a function of its tensors, with its gradient.

    Of what depends on states, only these are kept for the way back. There the
    gates are computed again, those of all entries at once.
    """

    @ops.custom_gradient
    def run(inputs, initial, constant, kernel, recurrent, bias):
        packing = Packing(lengths, ops.shape(inputs)[1])
        entries = ops.take(_flat(inputs), packing.by_row, axis=0)  # (N, E)
        initial = ops.take(initial, packing.order, axis=0)
        # The input's part is split once; the state's is one product a step.
        given = [
            ops.matmul(entries, x) + packing.spread(y)
            for x, y in zip(split_gates(kernel), split_gates(constant))
        ]

        def keep(h):
            return split_gates(ops.matmul(h, recurrent) + bias)

        def step(state, t):
            h = state[: packing.count(t)]
            z, _, n = gates([packing.at(x, t) for x in given], keep(h))
            state = packing.hold(t, n + z * (h - n), state)
            return state, state

        last, states = ops.scan(step, initial, packing.time)  # (T, R, H)

        def packed(x):
            return ops.take(_flat(x), packing.by_time, axis=0)

        def grad(*args, upstream=None):
            if upstream is None:
                (upstream,) = args
            before = packed(ops.concatenate([initial[None], states[:-1]]))
            kept = keep(before)
            z, r, n = gates(given, kept)
            # Factors that turn the gradient of a state into those of the sums
            # within z, r and n, and of the part of n from the state.
            to_n = (1 - z) * (1 - n * n)
            to_z = (before - n) * z * (1 - z)
            to_r = to_n * kept[1] * r * (1 - r)
            to_kept = ops.stack([to_z, to_r, to_n * r], axis=1)  # (N, 3, H)
            if return_sequences:
                upstream = ops.take(_flat(upstream), packing.by_row, axis=0)
            else:
                d_last = ops.take(upstream, packing.order, axis=0)
            recurrent_t = ops.transpose(recurrent)

            def back(d_state, t):
                """The gradient of the states before step t."""
                d_h = d_state[: packing.count(t)]
                to = packing.at(to_kept, t) * d_h[:, None]
                to = ops.reshape(to, (-1, 3 * d_h.shape[-1]))
                d_before = d_h * packing.at(z, t) + ops.matmul(to, recurrent_t)
                return packing.hold(t, d_before, d_state)

            def step(d_state, t):
                d_state = back(d_state, t + 1)
                if return_sequences:
                    d_h = d_state[: packing.count(t)] + packing.at(upstream, t)
                    d_state = packing.hold(t, d_h, d_state)
                return d_state, d_state

            first = ops.zeros_like(initial) if return_sequences else d_last
            d_first, d_states = ops.scan(
                step, first, packing.time, reverse=True
            )
            d_initial = back(d_first, 0)
            d_h = packed(d_states)  # (N, H)
            d_kept = ops.reshape(
                to_kept * d_h[:, None], (-1, 3 * d_h.shape[-1])
            )
            d_given = ops.concatenate(
                [d_kept[:, : -d_h.shape[-1]], d_h * to_n], axis=-1
            )
            d_inputs = ops.matmul(d_given, ops.transpose(kernel))
            if constant.shape[0] == 1:
                d_constant = ops.sum(d_given, axis=0, keepdims=True)
            else:
                # Sums in half precision stop growing.
                d_constant = ops.segment_sum(
                    ops.cast(d_given, "float32"), packing.row, packing.rows
                )
                d_constant = ops.cast(d_constant, d_given.dtype)
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
