"""The base class of softmaxes with a sampled training loss."""

import abc

import keras
import numpy as np
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.layers.softmax.linear_softmax import LinearSoftmax
from keras_hvae.layers.text.word_embedding import take_rows


class SampledOutput(LinearSoftmax):
    """A full softmax whose training loss needs a few sampled words only.

    The words, `num_sampled` for the whole batch, are drawn with replacement
    from the log-uniform distribution q(k) = log((k + 2) / (k + 1)) /
    log(V + 1), which is close to that of words in order of falling frequency.
    Outside of training nll and logits are those of the full softmax, exact
    and comparable with those of other models; what `fit` logs of training is
    the sampled loss. Subclasses define it.

    Args:
        vocabulary_size: number of ids V.
        num_sampled: number of words to draw in each step.
        bias_initializer: initializer of the bias.
        embedding: optional `keras.layers.Embedding` to tie to; see
            `LinearSoftmax`.
        seed: int of the draws, optional.

    Raises:
        ValueError: if a number is not an integer >= 1, or `embedding` is not
            of as many ids.
    """

    by_word = True

    def __init__(
        self,
        vocabulary_size: int,
        num_sampled: int = 1000,
        bias_initializer: str | keras.initializers.Initializer = "zeros",
        embedding: keras.layers.Embedding | None = None,
        seed: int | None = None,
        **kwargs,
    ) -> None:
        super().__init__(vocabulary_size, bias_initializer, embedding, **kwargs)
        check_positive_int(num_sampled=num_sampled)
        self.num_sampled = num_sampled
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def flat_nll(
        self,
        hidden: keras.KerasTensor,
        targets: keras.KerasTensor,
        mask: keras.KerasTensor,
        training: bool = False,
    ) -> keras.KerasTensor:
        if not training:
            return self.full_nll(hidden, targets, mask)
        kernel, bias = self.rows(), ops.convert_to_tensor(self.bias)
        drawn = self._draw()  # (K,)
        hidden = ops.cast(self.narrow(hidden), "float32")
        own = ops.sum(hidden * take_rows(kernel, targets), axis=-1)
        own = own + take_rows(bias, targets)  # (N,)
        others = ops.matmul(hidden, ops.transpose(take_rows(kernel, drawn)))
        others = others + take_rows(bias, drawn)  # (N, K)
        loss = self.loss_of(own, others, targets, drawn)
        return ops.where(mask, loss, 0.0)

    @abc.abstractmethod
    def loss_of(
        self,
        own: keras.KerasTensor,
        others: keras.KerasTensor,
        targets: keras.KerasTensor,
        drawn: keras.KerasTensor,
    ) -> None:
        """The training loss of rows, `(N,)`.

        Args:
            own: logits of the targets, `(N,)`.
            others: logits of the drawn words, `(N, K)`.
            targets: ids, `(N,)`.
            drawn: ids, `(K,)`.
        """

    def log_q(self, ids: keras.KerasTensor) -> keras.KerasTensor:
        """log q of ids."""
        k = ops.cast(ids, "float32")
        log_total = float(np.log(np.log(self.vocabulary_size + 1)))
        return ops.log(ops.log1p(1 / (k + 1))) - log_total

    def _draw(self):
        uniform = keras.random.uniform(
            (self.num_sampled,), dtype="float32", seed=self.seed_generator
        )
        top = float(np.log(self.vocabulary_size + 1))
        drawn = ops.cast(ops.exp(uniform * top), "int32") - 1
        return ops.clip(drawn, 0, self.vocabulary_size - 1)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_sampled": self.num_sampled,
            "seed": self.seed,
        }
