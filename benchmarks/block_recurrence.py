"""What do packed rows save of a word GRU, against a masked scan?

    KERAS_BACKEND=jax taskset -c 0 python benchmarks/block_recurrence.py

Times forward and backward passes, compiled, over rows like the sentences of a
batch of DailyDialog: 320 rows of up to 30 words, 512 units. It compares
`keras.layers.GRU` with a mask, which computes the padding too, with blocks of
rows (`block_recurrence`, what runs on JAX) and, where shapes may depend on the
data, with packed entries (`packed_recurrence`, what runs on TensorFlow). Also
prints which share of the entries that are multiplied is real.
"""

import argparse
import time

import keras
import numpy as np
from keras import ops

from keras_hvae.layers.recurrent import block_recurrence, packed_recurrence


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=320)
    parser.add_argument("--length", type=int, default=30)
    parser.add_argument("--units", type=int, default=512)
    parser.add_argument("--width", type=int, default=256, help="of the inputs")
    parser.add_argument("--mean", type=float, default=13.0, help="words a row")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()

    rng = np.random.default_rng(0)
    # Log-normal, as lengths of sentences nearly are.
    lengths = rng.lognormal(np.log(args.mean) - 0.18, 0.6, args.rows)
    lengths = lengths.round().clip(1, args.length).astype("int32")
    shape = args.rows, args.length, args.width
    inputs = rng.standard_normal(shape).astype("float32")
    gru = keras.layers.GRU(
        args.units, return_sequences=True, use_cudnn=False, unroll=False
    )
    gru.build(shape)
    weights = [
        ops.convert_to_numpy(x)
        for x in (gru.cell.kernel, gru.cell.recurrent_kernel, gru.cell.bias)
    ]

    runs = {"masked scan": masked(gru), "blocks": ragged(block_recurrence)}
    if keras.config.backend() != "jax":
        runs["packed"] = ragged(packed_recurrence)
    real = lengths.sum() / lengths.size / args.length
    print(f"{keras.config.backend()}; {real:.0%} of the positions are words")
    seconds, values = {}, {}
    for name, loss in runs.items():
        step = compiled(loss)
        values[name] = step(inputs, lengths, *weights)
        times = []
        for _ in range(args.repeats):
            begin = time.perf_counter()
            step(inputs, lengths, *weights)
            times.append(time.perf_counter() - begin)
        seconds[name] = float(np.median(times))
    first = values["masked scan"]
    for name, value in values.items():
        ratio = seconds["masked scan"] / seconds[name]
        error = max(
            np.abs(x - y).max() / np.abs(y).max() for x, y in zip(value, first)
        )
        print(
            f"{name:12} {seconds[name]:7.3f} s a step, {ratio:5.2f} times as "
            f"fast; gradients differ by {error:.1e}"
        )
    print(f"utilisation of the large products: {utilisation(lengths):.0%}")


def masked(gru):
    def loss(inputs, lengths, *weights):
        mask = ops.arange(inputs.shape[1]) < lengths[:, None]
        own = gru.cell.kernel, gru.cell.recurrent_kernel, gru.cell.bias
        with keras.StatelessScope(state_mapping=list(zip(own, weights))):
            states = gru(inputs, mask=mask)
        states = ops.where(mask[..., None], states, 0.0)
        return ops.mean(ops.square(states))

    return loss


def ragged(module):
    def loss(inputs, lengths, kernel, recurrent, bias):
        initial = ops.zeros((inputs.shape[0], recurrent.shape[0]))
        run = module.recurrence(lengths, return_sequences=True)
        states = run(inputs, initial, bias[:1], kernel, recurrent, bias[1])
        return ops.mean(ops.square(states))

    return loss


def compiled(loss):
    """A step: the gradients of the inputs and the weights, as arrays."""
    if keras.config.backend() == "jax":
        import jax

        gradients = jax.jit(jax.grad(loss, argnums=(0, 2, 3, 4)))
    else:
        import tensorflow as tf

        @tf.function
        def gradients(inputs, lengths, *weights):
            with tf.GradientTape() as tape:
                tape.watch([inputs, *weights])
                value = loss(inputs, lengths, *weights)
            found = tape.gradient(value, [inputs, *weights])
            return [tf.convert_to_tensor(x) for x in found]

    def step(*arrays):
        arrays = [ops.convert_to_tensor(x) for x in arrays]
        return [np.asarray(x) for x in gradients(*arrays)]

    return step


def utilisation(lengths):
    """Words as a share of the entries in all blocks, each as its longest."""
    block = min(block_recurrence.BLOCK, len(lengths))
    longest = np.sort(lengths)[::-1][::block]
    return lengths.sum() / (longest.sum() * block)


if __name__ == "__main__":
    main()
