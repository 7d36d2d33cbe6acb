"""Noise-contrastive estimation of the softmax."""

import keras
import numpy as np
from keras import ops

from keras_hvae.layers.softmax.sampled_output import SampledOutput


@keras.saving.register_keras_serializable("keras_hvae")
class NoiseContrastive(SampledOutput):
    """Trains to tell the target from sampled words: logistic regressions.

    loss = −log σ(g_t) − Σ_j log σ(−g_j) over K drawn words j, for the
    corrected logits g_w = f_w − log(K q(w)). The logits f learn to be
    log-probabilities. (Negative sampling as in word2vec leaves the correction
    out, and learns log(p / q), which is no language model.)
    Only the training loss is sampled; see `SampledOutput`.

    Args:
        vocabulary_size, num_sampled, bias_initializer, embedding, seed: see
            `SampledOutput`, for the errors too.
            Log-probabilities, as of `Zipf`, are the best initial bias here:
            the logits have to become some.

    Example:

    >>> layer = NoiseContrastive(10, num_sampled=5, seed=0)
    >>> targets = ops.array([[[5, 0]]])
    >>> nll = layer(ops.zeros((1, 1, 2, 4)), targets)
    >>> round(float(nll[0, 0, 0]), 2)  # log 10: not in training, exact
    2.3

    Reference:
        - [Mnih and Teh, 2012](https://arxiv.org/abs/1206.6426)
        - [Mikolov et al., 2013](https://arxiv.org/abs/1310.4546) (negative
          sampling)
    """

    def loss_of(
        self,
        own: keras.KerasTensor,
        others: keras.KerasTensor,
        targets: keras.KerasTensor,
        drawn: keras.KerasTensor,
    ) -> keras.KerasTensor:
        log_k = float(np.log(self.num_sampled))
        own = own - (self.log_q(targets) + log_k)
        others = others - (self.log_q(drawn) + log_k)
        return ops.softplus(-own) + ops.sum(ops.softplus(others), axis=-1)
