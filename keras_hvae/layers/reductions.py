"""Which documents and sentences of a batch are real."""

import keras
from keras import ops

from keras_hvae.data.replicas import mean_over_replicas
from keras_hvae.ids import PAD_ID


def count_documents(mask: keras.KerasTensor) -> keras.KerasTensor:
    """Number of documents (rows of axis 0) with any real entry.

    1 if there is none. Under a `tf.distribute.Strategy` the mean number of a
    replica, as Keras divides the losses of the replicas by their number: so a
    sum over documents, divided by it, is the average over the global batch.

    Args:
        mask: bool tensor of shape `(B, ...)`.

    Returns:
        A float32 scalar.
    """
    if len(mask.shape) > 1:
        mask = ops.any(mask, axis=tuple(range(1, len(mask.shape))))
    count = mean_over_replicas(ops.sum(ops.cast(mask, "float32")))
    return ops.where(count > 0, count, 1.0)


def sentence_mask(token_ids: keras.KerasTensor) -> keras.KerasTensor:
    """True where a sentence has any word: `(B, n, m)` to `(B, n)`."""
    return ops.any(token_ids != PAD_ID, axis=-1)
