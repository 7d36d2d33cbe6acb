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
