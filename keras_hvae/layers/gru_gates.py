"""The gates of a GRU."""

from keras import ops


def gates(given, kept):
    """z, r, n of a GRU from its two products.

    Args:
        given, kept: what the input and the state give to the gates: those of
            z and r as one tensor `(..., 2 H)`, and that of n, `(..., H)`.
    """
    z, r = ops.split(ops.sigmoid(given[0] + kept[0]), 2, axis=-1)
    return z, r, ops.tanh(given[1] + r * kept[1])


def next_state(given, kept, state):
    """The next state from products of all gates, each `(..., 3 H)`."""
    z, _, n = gates(split_gates(given), split_gates(kept))
    return n + z * (state - n)


def split_gates(x):
    """`(..., 3 H)` in the order of Keras to the parts for z and r, and n."""
    return ops.split(x, [x.shape[-1] // 3 * 2], axis=-1)
