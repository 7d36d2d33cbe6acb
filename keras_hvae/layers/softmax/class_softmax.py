"""Class-based hierarchical softmax."""

import math

import keras
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.layers.float_weights import kernel_and_bias, linear
from keras_hvae.layers.softmax.linear_nll import linear_nll
from keras_hvae.layers.softmax.output_softmax import OutputSoftmax
from keras_hvae.layers.text.word_embedding import take_rows

# Rows of a class in one product.
BLOCK = 16
IMPOSSIBLE = -1e9


@keras.saving.register_keras_serializable("keras_hvae")
class ClassSoftmax(OutputSoftmax):
    """p(w | h) = p(class of w | h) · p(w | its class, h).

    It sums to one over the vocabulary, and a word costs as many logits as
    there are classes and words in its class: about 2 √V instead of V.
    Classes are runs of as many ids each; with ids in order of falling
    frequency, of words about as frequent.

    Args:
        vocabulary_size: number of ids V, the special ones included.
        num_classes: at most how many classes. Default: √V.
        bias_initializer: initializer of a bias over V ids, such as `Zipf`;
            words take their part of it, classes the sum.

    Raises:
        ValueError: if a number is not an integer >= 1, or there are more
            classes than ids.

    Example:

    >>> layer = ClassSoftmax(10, num_classes=4)
    >>> layer.class_size
    3
    >>> nll = layer(ops.ones((1, 1, 2, 4)), ops.array([[[4, 9]]]))
    >>> log_probs = layer.logits(ops.ones((1, 4)))
    >>> round(float(ops.sum(ops.exp(log_probs))), 5)
    1.0

    Reference:
        - [Goodman, 2001](https://arxiv.org/abs/cs/0108006)
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_classes: int | None = None,
        bias_initializer: str | keras.initializers.Initializer = "zeros",
        **kwargs,
    ) -> None:
        super().__init__(vocabulary_size, **kwargs)
        if num_classes is None:
            num_classes = math.isqrt(vocabulary_size)
        check_positive_int(num_classes=num_classes)
        if num_classes > vocabulary_size:
            raise ValueError(
                "`num_classes` must be at most vocabulary_size = "
                f"{vocabulary_size}. Received: {num_classes}"
            )
        self.class_size = -(-vocabulary_size // num_classes)
        # The last class may have fewer words, but at least one.
        self.num_classes = -(-vocabulary_size // self.class_size)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.classes = keras.layers.Dense(
            self.num_classes,
            bias_initializer=self._class_bias,
            dtype=self.dtype_policy,
            name="classes",
        )

    def build(
        self, hidden_shape: tuple, targets_shape: tuple | None = None
    ) -> None:
        units = hidden_shape[-1]
        self.classes.build(hidden_shape)
        # Fans as of one Dense layer for each class.
        scale = math.sqrt(6 / (units + self.class_size))
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.num_classes, self.class_size, units),
            initializer=keras.initializers.RandomUniform(-scale, scale),
            autocast=False,
        )
        self.bias = self.add_weight(
            name="bias",
            shape=(self.num_classes, self.class_size),
            initializer=self._word_bias,
            autocast=False,
        )

    def flat_nll(
        self,
        hidden: keras.KerasTensor,
        targets: keras.KerasTensor,
        mask: keras.KerasTensor,
        training: bool = False,
    ) -> keras.KerasTensor:
        class_id, word = targets // self.class_size, targets % self.class_size
        nll = linear_nll(
            hidden,
            *kernel_and_bias(self.classes, hidden.dtype),
            class_id,
            mask,
            training,
        )
        return nll + ops.where(
            mask, self._within(hidden, class_id, word, mask), 0
        )

    def _within(self, hidden, class_id, word, mask):
        """−log p(word | class, h) of rows, `(N,)`.

        Rows are regrouped into blocks of one class each: as few products as
        there are blocks. What of a block is empty points to a row of zeros.
        """
        rows = ops.shape(hidden)[0]
        classes = ops.arange(self.num_classes, dtype="int32")
        # Masked rows are sorted last, as an extra class without a block.
        class_id = ops.cast(class_id, "int32")
        class_id = ops.where(mask, class_id, self.num_classes)
        order = ops.cast(ops.argsort(class_id), "int32")
        counts = ops.sum(
            ops.cast(class_id[:, None] == classes, "int32"), axis=0
        )  # (C,)
        blocks = -(-counts // BLOCK)
        # (C,): the first block of the next class.
        last = ops.cumsum(blocks)
        total = rows // BLOCK + self.num_classes  # at most
        if keras.config.backend() != "jax":  # which needs static shapes
            total = last[-1]
        # The slot of each row: the first of its class, plus its rank there.
        start = ops.pad(last - blocks, ((0, 1),)) * BLOCK
        start = start - ops.pad(ops.cumsum(counts) - counts, ((0, 1),))
        ranked = ops.take(class_id, order)
        slot = ops.take(start, ranked) + ops.arange(rows, dtype="int32")
        slot = ops.where(ranked == self.num_classes, total * BLOCK, slot)
        row_of = ops.zeros((total * BLOCK + 1,), "int32") + rows
        row_of = ops.scatter_update(row_of, slot[:, None], order)[:-1]
        # Of each row, in the given order.
        slot = ops.take(slot, ops.argsort(order))
        class_of = ops.searchsorted(
            last, ops.arange(total, dtype="int32"), side="right"
        )
        class_of = ops.minimum(
            ops.cast(class_of, "int32"), self.num_classes - 1
        )
        none = ops.zeros((1, hidden.shape[-1]), hidden.dtype)
        padded = ops.concatenate([hidden, none])
        padded = ops.take(padded, row_of, axis=0)
        padded = ops.reshape(padded, (total, BLOCK, hidden.shape[-1]))
        logits = self._word_logits(padded, class_of)
        log_probs = ops.reshape(ops.log_softmax(logits), (-1,))
        slot = ops.minimum(slot, total * BLOCK - 1)
        place = slot * self.class_size + ops.cast(word, "int32")
        return -ops.take(log_probs, place)

    def _word_logits(self, hidden, ids):
        """float32: `(K, R, H)` of classes `(K,)` to `(K, R, S)`."""
        kernel, bias = (
            ops.cast(take_rows(ops.convert_to_tensor(x), ids), hidden.dtype)
            for x in (self.kernel, self.bias)
        )
        logits = ops.matmul(hidden, ops.swapaxes(kernel, 1, 2))
        logits = ops.cast(logits + bias[:, None], "float32")
        place = ops.arange(self.class_size, dtype="int32")
        word = ids[:, None] * self.class_size + place  # (K, S)
        real = word[:, None] < self.vocabulary_size
        return ops.where(real, logits, IMPOSSIBLE)

    def logits(self, hidden: keras.KerasTensor) -> keras.KerasTensor:
        """float32 log-probabilities: `(..., H)` to `(..., V)`."""
        shape = ops.shape(hidden)[:-1]
        flat = ops.reshape(hidden, (-1, hidden.shape[-1]))
        classes = ops.cast(linear(self.classes, flat), "float32")
        classes = ops.log_softmax(classes)  # (R, C)
        kernel = ops.reshape(self.kernel, (-1, hidden.shape[-1]))
        words = ops.matmul(flat, ops.transpose(ops.cast(kernel, flat.dtype)))
        words = ops.cast(words, "float32") + ops.reshape(self.bias, (-1,))
        # Places after the end of the vocabulary are no words.
        words = words[:, : self.vocabulary_size]
        short = self.num_classes * self.class_size - self.vocabulary_size
        words = ops.pad(words, ((0, 0), (0, short)), constant_values=IMPOSSIBLE)
        words = ops.reshape(words, (-1, self.num_classes, self.class_size))
        log_probs = classes[..., None] + ops.log_softmax(words)
        log_probs = ops.reshape(log_probs, (*shape, -1))
        return log_probs[..., : self.vocabulary_size]

    def _full_bias(self, dtype):
        """Over all places, those that are no words with next to nothing."""
        bias = self.bias_initializer((self.vocabulary_size,), dtype=dtype)
        short = self.num_classes * self.class_size - self.vocabulary_size
        bias = ops.pad(bias, ((0, short),), constant_values=IMPOSSIBLE)
        return ops.reshape(bias, (self.num_classes, self.class_size))

    def _class_bias(self, shape, dtype=None):
        return ops.logsumexp(self._full_bias(dtype), axis=-1)

    def _word_bias(self, shape, dtype=None):
        bias = self._full_bias(dtype)
        return ops.where(bias > IMPOSSIBLE / 2, bias, 0)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "bias_initializer": keras.initializers.serialize(
                self.bias_initializer
            ),
        }
