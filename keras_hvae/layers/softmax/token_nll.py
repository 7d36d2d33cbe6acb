"""Softmax over the vocabulary and the negative log-likelihood of words."""

import keras

from keras_hvae.layers.softmax.linear_softmax import LinearSoftmax


@keras.saving.register_keras_serializable("keras_hvae")
class TokenNLL(LinearSoftmax):
    """−log softmax(W h + b)[target] of every real word, in nats.

    The full softmax: exact and simple. Logits of padding are not computed,
    those of the others chunk by chunk. See `OutputSoftmax` for the loss that
    is added.

    Args:
        vocabulary_size: number of ids, the special ones included.
        bias_initializer: initializer of b.
        embedding: optional `keras.layers.Embedding` whose table stands for W;
            see `LinearSoftmax`.

    Call arguments:
        hidden: tensor of shape `(B, ..., H)`.
        targets: int tensor of shape `(B, ...)`; padding is id 0.

    Returns:
        float32 tensor of shape `(B, ...)`: nats; 0 at padding.

    Raises:
        ValueError: if `vocabulary_size` is not an integer >= 1, or `embedding`
            is not of as many ids.

    Example:

    >>> layer = TokenNLL(10)
    >>> nll = layer(ops.zeros((1, 1, 2, 4)), ops.array([[[5, 0]]]))
    >>> ops.convert_to_numpy(nll)[0, 0].round(2)  # log 10, and padding
    array([2.3, 0. ], dtype=float32)
    """

    def flat_nll(
        self,
        hidden: keras.KerasTensor,
        targets: keras.KerasTensor,
        mask: keras.KerasTensor,
        training: bool = False,
    ) -> keras.KerasTensor:
        return self.full_nll(hidden, targets, mask, training)
