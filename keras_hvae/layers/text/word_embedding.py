"""Word embeddings with dense gradients."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_hvae")
class WordEmbedding(keras.layers.Embedding):
    """`keras.layers.Embedding` with a dense gradient on every backend.

    On TensorFlow, that of a lookup has an entry for each word of a batch, not
    for each of the vocabulary, and Keras' optimizers square the entries of a
    word before they add them up: the second moments of Adam come out too small
    for words that occur often, and the norm that `global_clipnorm` sees too.

    Args:
        input_dim: number of ids V.
        output_dim: width E.
        **kwargs: as those of `keras.layers.Embedding`.

    Call arguments:
        ids: int tensor of any shape.

    Returns:
        A tensor with one more axis, of width E.

    Example:

    >>> tuple(WordEmbedding(20, 4)(ops.array([[5, 3]])).shape)
    (1, 2, 4)
    """

    def add_weight(self, *args, **kwargs) -> keras.Variable:
        # The rows of a batch are cast, not the whole table.
        return super().add_weight(*args, **{**kwargs, "autocast": False})

    def call(self, ids: keras.KerasTensor) -> keras.KerasTensor:
        rows = take_rows(ops.convert_to_tensor(self.embeddings), ids)
        return ops.cast(rows, self.compute_dtype)


def take_rows(
    table: keras.KerasTensor, ids: keras.KerasTensor
) -> keras.KerasTensor:
    """Rows of a table, `(V, ...)`, whose gradient is dense."""
    # Where the gradient is dense anyway.
    if keras.config.backend() != "tensorflow":
        return ops.take(table, ids, axis=0)

    @ops.custom_gradient
    def take(table):
        def grad(upstream):
            flat = ops.reshape(upstream, (-1, *table.shape[1:]))
            total = ops.segment_sum(
                # Sums in half precision stop growing.
                ops.cast(flat, "float32"),
                ops.reshape(ids, (-1,)),
                table.shape[0],
            )
            return ops.cast(total, table.dtype)

        return ops.take(table, ids, axis=0), grad

    return take(ops.cast(table, table.dtype))  # a variable becomes a tensor
