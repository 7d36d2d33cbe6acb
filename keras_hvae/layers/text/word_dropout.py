"""Word dropout on the decoder's inputs."""

import keras
from keras import ops

from keras_hvae.arguments import check_rate
from keras_hvae.data import replicas
from keras_hvae.ids import BOS_ID, UNK_ID


@keras.saving.register_keras_serializable("keras_hvae")
class WordDropout(keras.layers.Layer):
    """Replaces words by `[UNK]` at random in training.

    A decoder that cannot lean on the previous words has to read the latent.
    Special tokens (padding, `[BOS]`) stay.

    Args:
        rate: probability in [0, 1) that a word is replaced.
        seed: int, optional.

    Call arguments:
        token_ids: int tensor of any shape.
        training: whether to drop.

    Returns:
        An int tensor of the same shape.

    Raises:
        ValueError: if `rate` is outside [0, 1).

    Example:

    >>> ids = WordDropout(0.5)(ops.array([4, 5]))  # inference: no dropout
    >>> [int(x) for x in ids]
    [4, 5]

    Reference:
        - [Bowman et al., 2016](https://arxiv.org/abs/1511.06349), section 3.1
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs) -> None:
        # Ids must not be cast to the policy's float dtype.
        super().__init__(autocast=False, **kwargs)
        check_rate(rate=rate)
        self.rate = rate
        self.seed = seed
        if rate > 0:
            self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(
        self, token_ids: keras.KerasTensor, training: bool = False
    ) -> keras.KerasTensor:
        if not training or self.rate == 0:
            return token_ids
        drop = replicas.draw(
            keras.random.uniform,
            ops.shape(token_ids),
            seed=self.seed_generator,
        )
        drop = ops.logical_and(drop < self.rate, token_ids > BOS_ID)
        return ops.where(drop, ops.cast(UNK_ID, token_ids.dtype), token_ids)

    def compute_output_spec(
        self, token_ids: keras.KerasTensor, *args, **kwargs
    ):
        return keras.KerasTensor(token_ids.shape, dtype=token_ids.dtype)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "rate": self.rate,
            "seed": self.seed,
        }
