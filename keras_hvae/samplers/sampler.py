"""The contract of all samplers, and their loop."""

import abc
import inspect
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_hvae.ids import PAD_ID

# Below this temperature a sampler is greedy: logits / temperature would
# overflow float32.
LOWEST_TEMPERATURE = 1e-4


class Sampler(abc.ABC):
    """Chooses words one after the other until every row has stopped.

    The contract is that of KerasHub's samplers: subclass and define
    `get_next_token(probabilities)`. One that draws may take `uniforms` too,
    the random numbers of the rows: what it writes for a row then depends on
    the row and its seed alone.

    Args:
        temperature: divides the logits; >= 0. From 1e-4 down all probability
            is the best word's, so that every sampler is greedy.

    Call arguments:
        next: function `(prompt, cache, index) -> (logits, hidden, cache)`
            with logits of shape `(R, V)` for position `index`.
        prompt: int tensor of shape `(R, L)`; filled from `index` on.
        cache: any structure of tensors with first axis `R`.
        index: the first position to write.
        mask: optional bool tensor of shape `(R, L)`: positions to keep.
        stop_token_ids: ids that end a row. After the first one a row is
            filled with padding (id 0).
        hidden_states, model: unused; part of the contract.
        uniforms: optional tensor of shape `(R, L)` with numbers in [0, 1):
            the randomness of each row, so that a row's result depends on
            nothing but the row. Default: drawn from the sampler's seed.

    Returns:
        int tensor of shape `(R, L)`.

    Raises:
        ValueError: if `temperature` is less or not a number.

    Example:

    >>> class Shy(Sampler):  # never says word 2
    ...     def get_next_token(self, probabilities):
    ...         others = ops.one_hot([2], 4) == 0
    ...         return ops.argmax(ops.where(others, probabilities, 0), axis=-1)
    >>> def next(prompt, cache, index):
    ...     return ops.array([[0.0, 1.0, 3.0, 2.0]]), None, cache
    >>> [int(x) for x in Shy()(next, ops.zeros((1, 2), "int32"))[0]]
    [3, 3]
    """

    def __init__(self, temperature: float = 1.0) -> None:
        number = isinstance(temperature, numbers.Real)
        if not number or not 0 <= temperature < float("inf"):
            raise ValueError(
                "`temperature` must be a finite number >= 0. "
                f"Received: {temperature!r}"
            )
        self.temperature = temperature

    def __call__(
        self,
        next: Callable,
        prompt: keras.KerasTensor,
        cache: Any = None,
        index: int = 0,
        mask: keras.KerasTensor | None = None,
        stop_token_ids: Sequence[int] | None = None,
        hidden_states: Any = None,
        model: Any = None,
        uniforms: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        length = ops.shape(prompt)[-1]
        positions = ops.arange(length, dtype="int32")  # (L,)
        cache = () if cache is None else cache
        stopped = ops.zeros_like(prompt[:, 0], dtype="bool")  # (R,)
        if "uniforms" not in inspect.signature(self.get_next_token).parameters:
            uniforms = None  # samplers of KerasHub take no uniforms

        def cond(prompt, cache, index, stopped):
            return ops.logical_not(ops.all(stopped))

        def body(prompt, cache, index, stopped):
            logits, _, cache = next(prompt, cache, index)
            drawn = {}
            if uniforms is not None:
                drawn["uniforms"] = ops.take(uniforms, index, axis=1)
            token = self.choose(logits, **drawn)
            token = ops.where(stopped, PAD_ID, ops.cast(token, prompt.dtype))
            if mask is not None:
                given = ops.take(mask, index, axis=1)
                token = ops.where(given, ops.take(prompt, index, 1), token)
            prompt = ops.where(positions == index, token[:, None], prompt)
            stopped = ops.logical_or(stopped, is_stop(token, stop_token_ids))
            return prompt, cache, index + 1, stopped

        prompt, _, _, _ = ops.while_loop(
            cond,
            body,
            (prompt, cache, ops.cast(index, "int32"), stopped),
            maximum_iterations=length - index,
        )
        return prompt

    def choose(self, logits: keras.KerasTensor, **drawn) -> keras.KerasTensor:
        """A word a row, `(R,)`, from logits `(R, V)`."""
        return self.get_next_token(self.compute_probabilities(logits), **drawn)

    def compute_probabilities(
        self, logits: keras.KerasTensor
    ) -> keras.KerasTensor:
        """Softmax of the tempered logits, in float32: `(R, V)`."""
        logits = ops.cast(logits, "float32")
        if self.temperature <= LOWEST_TEMPERATURE:
            return ops.one_hot(best(logits), logits.shape[-1])
        return ops.softmax(logits / self.temperature)

    @abc.abstractmethod
    def get_next_token(self, probabilities: keras.KerasTensor) -> None:
        """Chooses a word a row: `(R, V)` to an int tensor `(R,)`."""

    def get_config(self) -> dict:
        return {"temperature": self.temperature}

    @classmethod
    def from_config(cls, config: dict) -> "Sampler":
        return cls(**config)


def best(scores: keras.KerasTensor) -> keras.KerasTensor:
    """The id of each row's largest score: `(R, V)` to int32 `(R,)`."""
    # The first of equal scores, as `argmax` gives, which is slow on TensorFlow.
    _, token = ops.top_k(scores, 1)
    return ops.cast(token[:, 0], "int32")


def is_stop(
    token: keras.KerasTensor, stop_token_ids: Sequence[int]
) -> keras.KerasTensor:
    """Whether each token is one of the ids: bool `(R,)`."""
    stopped = ops.zeros_like(token, dtype="bool")
    for stop in stop_token_ids or ():
        stopped = ops.logical_or(stopped, token == stop)
    return stopped
