"""Initial biases of words by Zipf's law."""

import keras
import numpy as np
from keras import ops

from keras_hvae.ids import BOS_ID, PAD_ID, SPECIAL_TOKENS


@keras.saving.register_keras_serializable("keras_hvae")
class Zipf(keras.initializers.Initializer):
    """Log-probabilities by Zipf's law: −log(rank + 2.7) + constant.

    For the bias of a softmax over ids in order of falling frequency. A model
    that starts from zeros spends its first steps on learning which words are
    frequent, and pushes the latents far out to do so; from here it does not.
    `[UNK]` and `[EOS]` count among the most frequent; padding and `[BOS]` are
    never written.

    Call arguments:
        shape: `(vocabulary_size,)`.

    Example:

    >>> [round(float(x), 1) for x in Zipf()((6,))]
    [-10.0, -1.2, -10.0, -1.2, -1.5, -1.7]

    Reference:
        - Mandelbrot, 1953, An informational theory of the statistical
          structure of language
    """

    def __call__(
        self, shape: tuple, dtype: str | None = None
    ) -> keras.KerasTensor:
        rank = np.maximum(np.arange(shape[0]) - len(SPECIAL_TOKENS) + 1, 0)
        bias = -np.log(rank + 2.7)
        never = np.isin(np.arange(shape[0]), (PAD_ID, BOS_ID))
        bias[never] = -10.0
        if not never.all():
            bias[~never] -= np.log(np.exp(bias[~never]).sum())
        return ops.convert_to_tensor(bias, dtype or keras.config.floatx())
