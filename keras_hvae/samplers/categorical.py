"""A random word from the (cut) distribution."""

import numbers
from collections.abc import Callable

import keras
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.samplers.sampler import Sampler


@keras.saving.register_keras_serializable("keras_hvae")
class Categorical(Sampler):
    """Draws each word from the model's distribution.

    Optionally only from the `top_k` most probable words, and from the
    smallest set of most probable words that together have at least
    probability `top_p` (nucleus sampling).

    Args:
        temperature: divides the logits; 0 takes the most probable word.
        top_k: int >= 1, optional.
        top_p: number in (0, 1], optional.
        seed: int, optional; used when the call gets no `uniforms`.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> sampler = Categorical(top_p=0.5)
    >>> probabilities = ops.array([[0.2, 0.7, 0.1]])
    >>> int(sampler.get_next_token(probabilities, ops.array([0.9]))[0])
    1

    Reference:
        - [Holtzman et al., 2020](https://arxiv.org/abs/1904.09751) (top-p)
    """

    def __init__(
        self,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(temperature)
        if top_k is not None:
            check_positive_int(top_k=top_k)
        if top_p is not None and not (
            isinstance(top_p, numbers.Real) and 0 < top_p <= 1
        ):
            raise ValueError(f"`top_p` must be in (0, 1]. Received: {top_p!r}")
        self.top_k = top_k
        self.top_p = top_p
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def __call__(
        self,
        next: Callable,
        prompt: keras.KerasTensor,
        *args,
        uniforms: keras.KerasTensor | None = None,
        **kwargs,
    ) -> keras.KerasTensor:
        if uniforms is None:
            # Before the loop: JAX allows no stateful draws inside.
            uniforms = keras.random.uniform(
                ops.shape(prompt), seed=self.seed_generator
            )
        kwargs["uniforms"] = uniforms
        return super().__call__(next, prompt, *args, **kwargs)

    def get_next_token(
        self,
        probabilities: keras.KerasTensor,
        uniforms: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        if uniforms is None:
            uniforms = keras.random.uniform(
                ops.shape(probabilities)[:1], seed=self.seed_generator
            )
        return draw(probabilities, uniforms, self.top_k, self.top_p)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "top_k": self.top_k,
            "top_p": self.top_p,
            "seed": self.seed,
        }


def draw(
    probabilities: keras.KerasTensor,
    uniforms: keras.KerasTensor,
    top_k: int | None = None,
    top_p: float | None = None,
) -> keras.KerasTensor:
    """A word a row, from the cut distribution: int32 `(R,)`.

    Args:
        probabilities: `(R, V)`.
        uniforms: numbers in [0, 1), `(R,)`.
        top_k: int, optional.
        top_p: number, or tensor `(R, 1)`, optional.
    """
    size = probabilities.shape[-1]
    if top_k is not None or top_p is not None:
        k = size if top_k is None else min(top_k, size)
        probabilities, words = ops.top_k(probabilities, k)  # in falling order
        if top_p is not None:
            # A word stays if the words before it sum to less than `top_p`.
            before = ops.cumsum(probabilities, axis=-1) - probabilities
            probabilities = ops.where(before < top_p, probabilities, 0.0)
    # Inverse of the cumulative distribution at the row's own number.
    cumulative = ops.cumsum(probabilities, axis=-1)
    goal = ops.cast(uniforms, "float32") * cumulative[:, -1]
    drawn = ops.sum(ops.cast(cumulative <= goal[:, None], "int32"), axis=-1)
    # By rounding the number may equal the total: then the last word kept is
    # drawn.
    if top_k is None and top_p is None:
        return ops.minimum(drawn, size - 1)
    kept = ops.sum(ops.cast(probabilities > 0, "int32"), axis=-1)
    drawn = ops.minimum(drawn, kept - 1)
    return ops.cast(
        ops.squeeze(
            ops.take_along_axis(words, drawn[:, None], axis=-1), axis=-1
        ),
        "int32",
    )
