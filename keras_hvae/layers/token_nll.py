"""Softmax over the vocabulary and the negative log-likelihood of words."""

import keras
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.ids import PAD_ID
from keras_hvae.layers.reductions import count_documents


@keras.saving.register_keras_serializable("keras_hvae")
class TokenNLL(keras.layers.Layer):
    """−log softmax(W h + b)[target] of every real word, in nats.

    The sum over the words of a document, averaged over the real documents
    of the batch, is added to the model's loss with `add_loss`.

    Args:
        vocabulary_size: number of ids, the special ones included.
        bias_initializer: initializer of b.

    Call arguments:
        hidden: tensor of shape `(B, ..., H)`.
        targets: int tensor of shape `(B, ...)`; padding is id 0.

    Returns:
        float32 tensor of shape `(B, ...)`: nats; 0 at padding.

    Raises:
        ValueError: if `vocabulary_size` is not an integer >= 1.

    Example:

    >>> layer = TokenNLL(10)
    >>> nll = layer(ops.zeros((1, 1, 2, 4)), ops.array([[[5, 0]]]))
    >>> ops.convert_to_numpy(nll)[0, 0].round(2)  # log 10, and padding
    array([2.3, 0. ], dtype=float32)
    """

    def __init__(self, vocabulary_size, bias_initializer="zeros", **kwargs):
        # Targets are not to be cast to the policy's float dtype.
        super().__init__(autocast=False, **kwargs)
        check_positive_int(vocabulary_size=vocabulary_size)
        self.vocabulary_size = vocabulary_size
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.projection = keras.layers.Dense(
            vocabulary_size,
            bias_initializer=self.bias_initializer,
            dtype=self.dtype_policy,
            name="projection",
        )

    def build(self, hidden_shape, targets_shape=None):
        self.projection.build(hidden_shape)

    def logits(self, hidden):
        """float32 logits: `(..., H)` to `(..., vocabulary_size)`."""
        return ops.cast(self.projection(hidden), "float32")

    def nll(self, hidden, targets):
        """What `call` returns, without adding a loss."""
        nll = ops.sparse_categorical_crossentropy(
            targets, self.logits(hidden), from_logits=True
        )
        return ops.where(targets != PAD_ID, nll, 0.0)

    def call(self, hidden, targets):
        nll = self.nll(hidden, targets)
        self.add_loss(ops.sum(nll) / count_documents(targets != PAD_ID))
        return nll

    def compute_mask(self, *args, **kwargs):
        return None  # A mask of the inputs is not needed here.

    def compute_output_spec(self, hidden, targets):
        return keras.KerasTensor(targets.shape, dtype="float32")

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "bias_initializer": keras.initializers.serialize(
                self.bias_initializer
            ),
        }
