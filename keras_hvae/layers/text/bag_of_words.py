"""Auxiliary loss: a sentence's words, in no order, from its context."""

import keras
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.data.replicas import own_loss
from keras_hvae.ids import EOS_ID, PAD_ID
from keras_hvae.layers.reductions import count_documents


@keras.saving.register_keras_serializable("keras_hvae")
class BagOfWords(keras.layers.Layer):
    """Makes a sentence's decoder context d predict all words of it at once.

    A decoder that sees the words before can do without the latent; this
    loss, which sees none, cannot:

    −Σ_words log softmax(W tanh(U d + a) + b)[word]

    in nats, over the words of a sentence as often as they occur, without
    `[EOS]` and padding. In training, `weight` times the sum over a document,
    averaged over the real documents of the batch, is added to the model's
    loss. The contexts pass through unchanged, and in inference nothing else
    happens: no figure of evaluation contains the auxiliary loss.

    Args:
        vocabulary_size: number of ids, the special ones included.
        units: width of the hidden layer.
        weight: of the loss, >= 0.
        bias_initializer: initializer of b, such as `Zipf`.

    Call arguments:
        contexts: d, tensor of shape `(B, n, H)`.
        token_ids: int tensor of shape `(B, n, m)`; padding is id 0.
        training: whether to add the loss.

    Returns:
        The contexts.

    Raises:
        ValueError: if `vocabulary_size` or `units` is not an integer >= 1, or
            `weight` is negative.

    Example:

    >>> layer = BagOfWords(10, units=4)
    >>> ids = ops.array([[[5, 5, 3, 0]]])  # two words
    >>> contexts = layer(ops.zeros((1, 1, 6)), ids, training=True)
    >>> round(float(layer.losses[0]), 2)  # 2 log 10
    4.61

    Reference:
        - [Zhao et al., 2017](https://arxiv.org/abs/1703.10960), section 3.3
    """

    def __init__(
        self,
        vocabulary_size: int,
        units: int,
        weight: float = 1.0,
        bias_initializer: str | keras.initializers.Initializer = "zeros",
        **kwargs,
    ) -> None:
        # Ids must not be cast to the policy's float dtype.
        super().__init__(autocast=False, **kwargs)
        check_positive_int(vocabulary_size=vocabulary_size, units=units)
        if not weight >= 0:
            raise ValueError(f"`weight` must be >= 0. Received: {weight}")
        self.vocabulary_size = vocabulary_size
        self.units = units
        self.weight = weight
        self.bias_initializer = keras.initializers.get(bias_initializer)
        if keras.config.backend() == "tensorflow":
            # XLA needs static sizes.
            self.supports_jit = False
        self.hidden = keras.layers.Dense(
            units, activation="tanh", dtype=self.dtype_policy, name="hidden"
        )
        self.logits = keras.layers.Dense(
            vocabulary_size,
            bias_initializer=self.bias_initializer,
            dtype=self.dtype_policy,
            name="logits",
        )

    def build(
        self, contexts_shape: tuple, token_ids_shape: tuple | None = None
    ) -> None:
        self.hidden.build(contexts_shape)
        self.logits.build((*contexts_shape[:-1], self.units))

    def call(
        self,
        contexts: keras.KerasTensor,
        token_ids: keras.KerasTensor,
        training: bool = False,
    ) -> keras.KerasTensor:
        if training:
            documents = count_documents(token_ids != PAD_ID)
            nll = self._nll(contexts, token_ids)
            self.add_loss(own_loss(self.weight * nll / documents))
        return contexts

    def _nll(self, contexts, token_ids):
        """−Σ log p(word | d) of all sentences: a float32 scalar."""
        contexts = ops.reshape(contexts, (-1, contexts.shape[-1]))  # (R, H)
        ids = ops.reshape(token_ids, (-1, ops.shape(token_ids)[-1]))  # (R, m)
        words = ops.logical_and(ids != PAD_ID, ids != EOS_ID)
        if keras.config.backend() != "jax":  # which needs static shapes
            (rows,) = ops.nonzero(ops.any(words, axis=-1))
            contexts, ids, words = (
                ops.take(x, rows, axis=0) for x in (contexts, ids, words)
            )
        logits = self.logits(self.hidden(contexts))
        logits = ops.cast(logits, "float32")  # (R, V)
        log_sum = ops.logsumexp(logits, axis=-1, keepdims=True)
        own = ops.take_along_axis(logits, ids, axis=-1)  # (R, m)
        return ops.sum(ops.where(words, log_sum - own, 0.0))

    def compute_mask(self, *args, **kwargs):
        return None  # A mask of the inputs is not needed here.

    def compute_output_spec(self, contexts: keras.KerasTensor, *args, **kwargs):
        return keras.KerasTensor(contexts.shape, dtype=contexts.dtype)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "units": self.units,
            "weight": self.weight,
            "bias_initializer": keras.initializers.serialize(
                self.bias_initializer
            ),
        }
