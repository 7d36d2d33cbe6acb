"""A GRU over ragged rows in blocks, where shapes must be static."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_hvae.layers.recurrent.devices import on_gpu
from keras_hvae.layers.recurrent.gru_gates import gates, split_gates
from keras_hvae.layers.recurrent.xla import opaque

# Rows of a block, computed together on a CPU; they should end together.
BLOCK = 32
# Entries of one large product on a CPU.
CHUNK = 1024


class Blocks:
    """Where the entries of sorted rows stand, block after block.

    The rows, sorted by length, are cut into blocks of as many rows each. An
    *item* is a block at a step: there are as many of a block as its longest
    row has entries. They come block after block and step after step, so that
    the first `count` items are those to compute and loops can end there,
    though all shapes are fixed.
    """

    def __init__(self, lengths: keras.KerasTensor, steps: int) -> None:
        lengths = opaque(lengths)
        self.rows = lengths.shape[0]
        self.block, self.chunk = min(BLOCK, self.rows), CHUNK
        # A GPU would wait for many small products one after another: there
        # all rows are one block and all entries one chunk.
        gpu = on_gpu()
        if gpu:
            self.block, self.chunk = self.rows, self.rows * steps
        blocks = -(-self.rows // self.block)
        room = blocks * self.block
        self.order = ops.cast(ops.argsort(-lengths), "int32")
        self.rank = ops.cast(ops.argsort(self.order), "int32")
        # The last block is filled up with copies of the first row of length 0.
        self.order = ops.pad(self.order, ((0, room - self.rows),))
        place = ops.arange(room, dtype="int32")
        lengths = ops.where(
            place < self.rows, ops.take(lengths, self.order, axis=0), 0
        )
        longest = lengths[:: self.block]  # (blocks,)
        first = ops.cumsum(longest) - longest
        # XLA waits for a GPU at each turn of a loop whose number of turns it
        # does not know: there all steps run. What is not real stays.
        self.count = steps if gpu else ops.sum(longest)
        # The block and the step of each item.
        item = ops.arange(blocks * steps, dtype="int32")
        block = ops.searchsorted(ops.cumsum(longest), item, side="right")
        self.block_of = ops.minimum(ops.cast(block, "int32"), blocks - 1)
        self.time = item - ops.take(first, self.block_of)
        self.begins = self.time == 0
        # On a GPU a block whose rows are all empty has items, too.
        last = ops.maximum(longest, 1) - 1
        self.ends = self.time == ops.take(last, self.block_of)
        # Of every entry, (items · block,): its sorted row, its row and its
        # step.
        slot = ops.arange(self.block, dtype="int32")
        self.sorted_row = ops.reshape(
            self.block_of[:, None] * self.block + slot, (-1,)
        )
        self.row = ops.take(self.order, self.sorted_row)
        time = ops.repeat(self.time, self.block)
        self.real = time < ops.take(lengths, self.sorted_row)
        self.by_row = self.row * steps + ops.clip(time, 0, steps - 1)
        # Positions of the entries in (R, T); padding points to an added last
        # row of zeros.
        at = ops.take(first, self.rank // self.block)
        time = ops.arange(steps, dtype="int32")
        self.place = (at[:, None] + time) * self.block
        self.place = self.place + (self.rank % self.block)[:, None]  # (R, T)
        lengths = ops.take(lengths, self.rank)
        none = item.shape[0] * self.block
        self.place = ops.where(time < lengths[:, None], self.place, none)

    def sort(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Rows `(R, W)` in order, with those that fill the last block."""
        return ops.take(x, self.order, axis=0)

    def unsort(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return ops.take(x, self.rank, axis=0)

    def unpack(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Entries `(N, W)` to `(R, T, W)`, zeros behind the end of a row."""
        zeros = ops.zeros((1, x.shape[-1]), x.dtype)
        return ops.take(ops.concatenate([x, zeros]), self.place, axis=0)

    def chunks(
        self,
        function: Callable,
        widths: Sequence[int],
        sums: Sequence = (),
        dtype: str = "float32",
    ) -> list[keras.KerasTensor]:
        """Runs a function over the entries to compute, chunk by chunk.

        Args:
            function: of a slice function `at(x)`, which gives the chunk's
                part of what has an entry a row; returns a chunk for each of
                `widths`, then a term for each of `sums`. Its second argument
                says where the chunk is new; only that is to be summed.
            widths: of the entries to return.
            sums: shapes of sums to return, in float32.

        Returns:
            A list of tensors: `(N, width)` for each width, and the sums.
        """
        entries = self.real.shape[0]
        size = min(self.chunk, entries)
        if size == entries:
            results = function(lambda x: x, ops.ones((size, 1), "bool"))
            return [
                ops.cast(x, dtype if k < len(widths) else "float32")
                for k, x in enumerate(results)
            ]
        found = [ops.zeros((entries, width), dtype) for width in widths]
        found += [ops.zeros(shape, "float32") for shape in sums]

        def body(start, *found):
            # The last chunk begins earlier; entries that it repeats are not
            # summed again.
            begin = ops.minimum(start, entries - size)
            new = ops.arange(size, dtype="int32") + begin >= start

            def at(x):
                return ops.slice(
                    x, (begin, *(0,) * (x.ndim - 1)), (size, *x.shape[1:])
                )

            results = function(at, new[:, None])
            found = list(found)
            for k, x in enumerate(results):
                if k < len(widths):
                    found[k] = ops.slice_update(found[k], (begin, 0), x)
                else:
                    found[k] = found[k] + ops.cast(x, "float32")
            return start + size, *found

        end = self.count * self.block
        start = ops.zeros((), "int32")
        _, *found = ops.while_loop(
            lambda start, *_: start < end, body, (start, *found)
        )
        return found

    def scan(
        self,
        step: Callable,
        carry: Any,
        results: Sequence,
        reverse: bool = False,
    ) -> Any:
        """Runs a step over the items to compute.

        Args:
            step: of an item's number, the carry and a list of tensors, which
                it returns changed.
        """
        first = self.count - 1 if reverse else ops.zeros((), "int32")
        move = -1 if reverse else 1

        def cond(item, *_):
            return item >= 0 if reverse else item < self.count

        def body(item, carry, *results):
            carry, results = step(item, carry, results)
            return item + move, carry, *results

        _, _, *results = ops.while_loop(cond, body, (first, carry, *results))
        return results

    def item(
        self, x: keras.KerasTensor, k: keras.KerasTensor
    ) -> keras.KerasTensor:
        """The entries of an item: `(N, W)` to `(block, W)`."""
        return ops.slice(x, (k * self.block, 0), (self.block, x.shape[-1]))

    def put(
        self,
        x: keras.KerasTensor,
        k: keras.KerasTensor,
        value: keras.KerasTensor,
    ) -> keras.KerasTensor:
        return ops.slice_update(x, (k * self.block, 0), value)


def recurrence(lengths: keras.KerasTensor, return_sequences: bool) -> Callable:
    """The GRU as a function of its tensors, with its gradient.

    Of what depends on states, only these are kept for the way back. There the
    gates are computed again.
    """

    @ops.custom_gradient
    def run(inputs, initial, constant, kernel, recurrent, bias):
        blocks = Blocks(lengths, inputs.shape[1])
        units, dtype = initial.shape[-1], inputs.dtype
        flat = ops.reshape(inputs, (-1, inputs.shape[-1]))
        initial = blocks.sort(initial)
        shared = constant.shape[0] == 1
        constant = constant if shared else blocks.sort(constant)

        def entries(at):
            real = at(blocks.real)[:, None]  # values at padding are not read
            return ops.where(real, ops.take(flat, at(blocks.by_row), axis=0), 0)

        def give(at, _):
            added = (
                constant
                if shared
                else ops.take(constant, at(blocks.sorted_row), axis=0)
            )
            return [ops.matmul(entries(at), kernel) + added]

        (given,) = blocks.chunks(give, [3 * units], dtype=dtype)

        def step(k, state, results):
            states, last = results
            block, begins = blocks.block_of[k], blocks.begins[k]
            state = ops.where(begins, blocks.item(initial, block), state)
            kept = ops.matmul(state, recurrent) + bias
            z, _, n = gates(
                split_gates(blocks.item(given, k)), split_gates(kept)
            )
            real = blocks.item(blocks.real[:, None], k)
            state = ops.where(real, n + z * (state - n), state)
            states = blocks.put(states, k, state)
            return state, [states, blocks.put(last, block, state)]

        states = ops.zeros((blocks.real.shape[0], units), dtype)
        none = ops.zeros((blocks.block, units), dtype)
        states, last = blocks.scan(step, none, [states, initial])

        def grad(*args, upstream=None):
            if upstream is None:
                (upstream,) = args
            if return_sequences:
                arrived = ops.reshape(upstream, (-1, units))
            else:
                arrived = blocks.sort(upstream)
            # The state before each entry is that of the item before.
            shifted = ops.concatenate([none, states[: -blocks.block]])
            begins = ops.repeat(blocks.begins, blocks.block)

            def before(at):
                return ops.where(
                    at(begins)[:, None],
                    ops.take(initial, at(blocks.sorted_row), axis=0),
                    at(shifted),
                )

            def factors_of(at, _):
                """What a state's gradient is multiplied with, by gate.

                To get those of the sums within z, r and n, and of n's part
                from the state; of what is not real, the state just stays.
                """
                h = before(at)
                kept = ops.matmul(h, recurrent) + bias
                z, r, n = gates(split_gates(at(given)), split_gates(kept))
                to_n = (1 - z) * (1 - n * n)
                to_z = (h - n) * z * (1 - z)
                to_r = to_n * kept[:, 2 * units :] * r * (1 - r)
                all_of_them = [to_z, to_r, to_n * r, z, to_n]
                factors = ops.concatenate(all_of_them, axis=-1)
                stay = [0.0] * 3 * units + [1.0] * units + [0.0] * units
                stay = ops.convert_to_tensor(stay, dtype)
                return [ops.where(at(blocks.real)[:, None], factors, stay)]

            (factors,) = blocks.chunks(factors_of, [5 * units], dtype=dtype)
            recurrent_t = ops.transpose(recurrent)

            def step(k, d_state, results):
                d_states, d_initial = results
                block = blocks.block_of[k]
                if return_sequences:
                    rows = blocks.item(blocks.by_row[:, None], k)[:, 0]
                    real = blocks.item(blocks.real[:, None], k)
                    arrives = ops.take(arrived, rows, axis=0)
                    d_state = ops.where(blocks.ends[k], 0.0, d_state)
                    d_state = d_state + ops.where(real, arrives, 0.0)
                else:
                    first = blocks.item(arrived, block)
                    d_state = ops.where(blocks.ends[k], first, d_state)
                to = blocks.item(factors, k)
                d_kept = to[:, : 3 * units] * ops.tile(d_state, (1, 3))
                d_before = d_state * to[:, 3 * units : 4 * units]
                d_before = d_before + ops.matmul(d_kept, recurrent_t)
                d_states = blocks.put(d_states, k, d_state)
                return d_before, [
                    d_states,
                    blocks.put(d_initial, block, d_before),
                ]

            # The last state of an empty row is its initial state.
            d_initial = ops.zeros_like(initial) if return_sequences else arrived
            d_states, d_initial = blocks.scan(
                step, none, [ops.zeros_like(states), d_initial], reverse=True
            )
            kernel_t = ops.transpose(kernel)

            def gradients_of(at, new):
                to, d_h = at(factors), at(d_states)
                d_kept = to[:, : 3 * units] * ops.tile(d_h, (1, 3))
                d_given = ops.concatenate(
                    [d_kept[:, : 2 * units], d_h * to[:, 4 * units :]], axis=-1
                )
                d_inputs = ops.matmul(d_given, kernel_t)
                d_kept = ops.where(new, d_kept, 0.0)
                d_given = ops.where(new, d_given, 0.0)
                if shared:
                    d_constant = ops.sum(d_given, axis=0, keepdims=True)
                else:
                    d_constant = ops.segment_sum(
                        d_given, at(blocks.sorted_row), constant.shape[0]
                    )
                return [
                    d_inputs,
                    d_constant,
                    ops.matmul(ops.transpose(entries(at)), d_given),
                    ops.matmul(ops.transpose(before(at)), d_kept),
                    ops.sum(d_kept, axis=0),
                ]

            weights = constant, kernel, recurrent, bias
            d_inputs, d_constant, *d_weights = blocks.chunks(
                gradients_of,
                [inputs.shape[-1]],
                [x.shape for x in weights],
                dtype,
            )
            if not shared:
                d_constant = blocks.unsort(d_constant)
            return (
                blocks.unpack(d_inputs),
                blocks.unsort(d_initial),
                *(ops.cast(x, dtype) for x in (d_constant, *d_weights)),
            )

        if return_sequences:
            return blocks.unpack(states), grad
        return blocks.unsort(last), grad

    return run
