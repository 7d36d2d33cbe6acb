"""The gates of a GRU."""

from keras import ops


def gates(given, kept):
    """z, r, n of a GRU from its two products, each `(..., 3 H)`."""
    given, given_n = ops.split(given, [given.shape[-1] // 3 * 2], axis=-1)
    kept, kept_n = ops.split(kept, [kept.shape[-1] // 3 * 2], axis=-1)
    z, r = ops.split(ops.sigmoid(given + kept), 2, axis=-1)
    return z, r, ops.tanh(given_n + r * kept_n)
