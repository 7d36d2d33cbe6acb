"""Which documents and sentences of a batch are real."""

import keras
from keras import ops

from keras_hvae.ids import PAD_ID


def count_documents(mask: keras.KerasTensor) -> keras.KerasTensor:
    """Number of documents (rows of axis 0) with any real entry, at least 1.

    Args:
        mask: bool tensor of shape `(B, ...)`.

    Returns:
        A float32 scalar.
    """
    if len(mask.shape) > 1:
        mask = ops.any(mask, axis=tuple(range(1, len(mask.shape))))
    return ops.maximum(ops.sum(ops.cast(mask, "float32")), 1.0)


def sentence_mask(token_ids: keras.KerasTensor) -> keras.KerasTensor:
    """True where a sentence has any word: `(B, n, m)` to `(B, n)`."""
    return ops.any(token_ids != PAD_ID, axis=-1)
