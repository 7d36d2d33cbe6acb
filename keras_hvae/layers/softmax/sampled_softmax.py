"""Sampled softmax, by importance sampling."""

import keras
import numpy as np
from keras import ops

from keras_hvae.layers.softmax.sampled_output import SampledOutput


@keras.saving.register_keras_serializable("keras_hvae")
class SampledSoftmax(SampledOutput):
    """Trains on the softmax over the target and a few sampled words.

    The logit of a drawn word j is corrected by −log(K q(j)), so that the sum
    over the sample estimates that over the vocabulary; a drawn word that is
    the target is left out. The gradient is biased, the less the more words
    are drawn.
    Only the training loss is sampled; see `SampledOutput`.

    Args:
        vocabulary_size, num_sampled, bias_initializer, embedding, seed: see
            `SampledOutput`, for the errors too.

    Example:

    >>> layer = SampledSoftmax(10, num_sampled=5, seed=0)
    >>> targets = ops.array([[[5, 0]]])
    >>> nll = layer(ops.zeros((1, 1, 2, 4)), targets)
    >>> round(float(nll[0, 0, 0]), 2)  # log 10: not in training, exact
    2.3

    Reference:
        - [Jean et al., 2015](https://arxiv.org/abs/1412.2007)
    """

    def loss_of(
        self,
        own: keras.KerasTensor,
        others: keras.KerasTensor,
        targets: keras.KerasTensor,
        drawn: keras.KerasTensor,
    ) -> keras.KerasTensor:
        log_k = float(np.log(self.num_sampled))
        others = others - (self.log_q(drawn) + log_k)
        others = ops.where(drawn == targets[:, None], -1e9, others)
        every = ops.concatenate([own[:, None], others], axis=-1)
        return ops.logsumexp(every, axis=-1) - own
