"""How the loss layers average: over the real documents of a batch."""

from keras import ops


def count_documents(mask):
    """Number of documents (rows of axis 0) with any real entry, at least 1.

    Args:
        mask: bool tensor of shape `(B, ...)`.

    Returns:
        A float32 scalar.
    """
    if len(mask.shape) > 1:
        mask = ops.any(mask, axis=tuple(range(1, len(mask.shape))))
    return ops.maximum(ops.sum(ops.cast(mask, "float32")), 1.0)


def last_real(sequence, lengths):
    """The entry at `lengths − 1` of each row; zeros where `lengths` is 0.

    Args:
        sequence: tensor of shape `(S, T, H)`.
        lengths: int tensor of shape `(S,)`.

    Returns:
        A tensor of shape `(S, H)`.
    """
    index = ops.maximum(lengths - 1, 0)[:, None, None]
    last = ops.squeeze(ops.take_along_axis(sequence, index, axis=1), axis=1)
    return last * ops.cast(lengths > 0, last.dtype)[:, None]
