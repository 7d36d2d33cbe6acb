"""The gates of a GRU."""

from collections.abc import Sequence

import keras
from keras import ops


def gates(
    given: Sequence[keras.KerasTensor], kept: Sequence[keras.KerasTensor]
) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:
    """z, r, n of a GRU from its two products.

    Args:
        given, kept: what the input and the state give to the gates: those of
            z and r as one tensor `(..., 2 H)`, and that of n, `(..., H)`.
    """
    dtype = given[0].dtype
    # TensorFlow's sigmoid of bfloat16 takes twice the time on a CPU.
    zr = ops.sigmoid(ops.cast(given[0] + kept[0], "float32"))
    z, r = ops.split(ops.cast(zr, dtype), 2, axis=-1)
    return z, r, ops.tanh(given[1] + r * kept[1])


def next_state(
    given: keras.KerasTensor, kept: keras.KerasTensor, state: keras.KerasTensor
) -> keras.KerasTensor:
    """The next state from products of all gates, each `(..., 3 H)`."""
    # In three: to split at other places, Keras waits for a GPU on PyTorch.
    given_z, given_r, given_n = ops.split(given, 3, axis=-1)
    kept_z, kept_r, kept_n = ops.split(kept, 3, axis=-1)
    z, r = (
        ops.cast(ops.sigmoid(ops.cast(x, "float32")), given.dtype)
        for x in (given_z + kept_z, given_r + kept_r)
    )
    n = ops.tanh(given_n + r * kept_n)
    return n + z * (state - n)


def split_gates(x: keras.KerasTensor) -> list[keras.KerasTensor]:
    """`(..., 3 H)` in the order of Keras to the parts for z and r, and n."""
    return ops.split(x, [x.shape[-1] // 3 * 2], axis=-1)


def cell_step(
    cell: keras.layers.GRUCell,
    inputs: keras.KerasTensor,
    beside: keras.KerasTensor,
    state: keras.KerasTensor,
) -> keras.KerasTensor:
    """One step of a `keras.layers.GRUCell`.

    Args:
        cell: the cell.
        inputs: tensor of shape `(R, E)`, for the kernel's first E rows.
        beside: what else the gates get, the bias too, `(R or 1, 3 H)`.
        state: tensor of shape `(R, H)`.

    Returns:
        The next state, `(R, H)`.
    """
    kernel, recurrent, bias = (
        ops.cast(x, state.dtype)
        for x in (cell.kernel, cell.recurrent_kernel, cell.bias)
    )
    given = ops.matmul(inputs, kernel[: inputs.shape[-1]]) + beside
    return next_state(given, ops.matmul(state, recurrent) + bias[1], state)
