"""The one-vs-each bound of the softmax."""

import keras
from keras import ops

from keras_hvae.layers.softmax.sampled_output import SampledOutput


@keras.saving.register_keras_serializable("keras_hvae")
class OneVsEach(SampledOutput):
    """Trains on the one-vs-each bound of the softmax, over sampled words.

    log p(t) ≥ Σ_{j≠t} log σ(f_t − f_j) for the logits f. The sum over all
    words is estimated, without bias, by the drawn words, each weighted with
    1 / (K q(j)). Only the training loss is sampled; see `SampledOutput`.

    Args:
        vocabulary_size, num_sampled, bias_initializer, embedding, seed: see
            `SampledOutput`, for the errors too.

    Example:

    >>> layer = OneVsEach(10, num_sampled=5, seed=0)
    >>> targets = ops.array([[[5, 0]]])
    >>> nll = layer(ops.zeros((1, 1, 2, 4)), targets)
    >>> round(float(nll[0, 0, 0]), 2)  # log 10: not in training, exact
    2.3

    Reference:
        - [Titsias, 2016](https://arxiv.org/abs/1609.07410)
    """

    def loss_of(
        self,
        own: keras.KerasTensor,
        others: keras.KerasTensor,
        targets: keras.KerasTensor,
        drawn: keras.KerasTensor,
    ) -> keras.KerasTensor:
        each = -ops.log_sigmoid(own[:, None] - others)  # (N, K)
        weight = ops.exp(-self.log_q(drawn)) / self.num_sampled
        each = ops.where(drawn == targets[:, None], 0.0, each)
        return ops.sum(weight * each, axis=-1)
