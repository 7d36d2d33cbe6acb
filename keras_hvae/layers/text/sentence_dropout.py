"""Sentence dropout on the context encoder's inputs."""

import keras
from keras import ops

from keras_hvae.arguments import check_rate
from keras_hvae.data import replicas


@keras.saving.register_keras_serializable("keras_hvae")
class SentenceDropout(keras.layers.Layer):
    """Replaces sentence vectors by a learned one at random in training.

    A context that cannot lean on every sentence before leaves more for the
    latents to say.

    Args:
        rate: probability in [0, 1) that a sentence is replaced.
        seed: int, optional.

    Call arguments:
        sentences: tensor of shape `(B, n, H)`.
        training: whether to drop.

    Returns:
        A tensor of the same shape.

    Raises:
        ValueError: if `rate` is outside [0, 1).

    Example:

    >>> sentences = SentenceDropout(0.5)(ops.ones((1, 2, 1)))  # inference
    >>> [float(x) for x in ops.ravel(sentences)]
    [1.0, 1.0]

    Reference:
        - [Park et al., 2018](https://arxiv.org/abs/1804.03424), section 3.2
          (utterance drop)
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        check_rate(rate=rate)
        self.supports_masking = True
        self.rate = rate
        self.seed = seed
        if rate > 0:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, sentences_shape: tuple) -> None:
        if self.rate > 0:
            self.unknown = self.add_weight(
                name="unknown",
                shape=(sentences_shape[-1],),
                initializer="zeros",
            )

    def call(
        self, sentences: keras.KerasTensor, training: bool = False
    ) -> keras.KerasTensor:
        if not training or self.rate == 0:
            return sentences
        drop = replicas.draw(
            keras.random.uniform,
            ops.shape(sentences)[:-1],
            seed=self.seed_generator,
        )
        unknown = ops.cast(self.unknown, sentences.dtype)
        return ops.where(drop[..., None] < self.rate, unknown, sentences)

    def compute_output_spec(
        self, sentences: keras.KerasTensor, *args, **kwargs
    ):
        return keras.KerasTensor(sentences.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "rate": self.rate,
            "seed": self.seed,
        }
