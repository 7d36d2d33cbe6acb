"""Beam search."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops, tree

from keras_hvae.arguments import check_positive_int
from keras_hvae.ids import PAD_ID
from keras_hvae.samplers.greedy import Greedy
from keras_hvae.samplers.sampler import is_stop

IMPOSSIBLE = -1e9


@keras.saving.register_keras_serializable("keras_hvae")
class Beam(Greedy):
    """Keeps the `num_beams` most probable beginnings at each step.

    Returns each row's most probable sequence, by the plain sum of its words'
    log-probabilities (no length normalisation).

    Args:
        num_beams: int >= 1; 1 is greedy search.

    Raises:
        ValueError: if `num_beams` is not an integer >= 1.
    """

    def __init__(self, num_beams: int = 5) -> None:
        super().__init__()
        check_positive_int(num_beams=num_beams)
        self.num_beams = num_beams

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
        beams, length = self.num_beams, ops.shape(prompt)[-1]
        rows = ops.shape(prompt)[0]
        positions = ops.arange(length, dtype="int32")
        spread = ops.repeat(ops.arange(rows), beams)  # (R·K,)
        prompt, cache, mask = tree.map_structure(
            lambda x: None if x is None else ops.take(x, spread, axis=0),
            (prompt, () if cache is None else cache, mask),
        )
        stopped = ops.zeros_like(prompt[:, 0], dtype="bool")  # (R·K,)
        # All beams of a row are equal at first: only the first one is expanded.
        score = ops.where(ops.arange(beams) == 0, 0.0, IMPOSSIBLE)
        score = ops.zeros((rows, 1)) + score  # (R, K)
        first_of_row = ops.arange(rows, dtype="int32")[:, None] * beams

        def cond(prompt, cache, index, stopped, score):
            # Scores only fall: no beam can overtake a stopped one that is best.
            best = ops.take(stopped, first_of_row[:, 0], axis=0)
            return ops.logical_not(ops.all(best))

        def body(prompt, cache, index, stopped, score):
            logits, _, cache = next(prompt, cache, index)
            step = ops.log_softmax(ops.cast(logits, "float32"))  # (R·K, V)
            size = step.shape[-1]
            # A stopped beam is continued by the pad id only, at no cost.
            only = ops.where(ops.arange(size) == PAD_ID, 0.0, IMPOSSIBLE)
            step = ops.where(stopped[:, None], only, step)
            if mask is not None:
                given = ops.take(mask, index, axis=1)
                kept = ops.take(prompt, index, axis=1)
                forced = ops.where(
                    ops.arange(size) == kept[:, None], 0.0, IMPOSSIBLE
                )
                step = ops.where(given[:, None], forced, step)
            total = ops.reshape(score, (-1, 1)) + step
            total = ops.reshape(total, (rows, beams * size))
            score, best = ops.top_k(total, beams)  # (R, K)
            best = ops.cast(best, "int32")
            parent = ops.reshape(first_of_row + best // size, (-1,))
            token = ops.reshape(best % size, (-1,))
            prompt, cache, stopped = tree.map_structure(
                lambda x: ops.take(x, parent, axis=0), (prompt, cache, stopped)
            )
            token = ops.cast(token, prompt.dtype)
            prompt = ops.where(positions == index, token[:, None], prompt)
            stopped = ops.logical_or(stopped, is_stop(token, stop_token_ids))
            return prompt, cache, index + 1, stopped, score

        prompt, *_ = ops.while_loop(
            cond,
            body,
            (prompt, cache, ops.cast(index, "int32"), stopped, score),
            maximum_iterations=length - index,
        )
        # `top_k` sorts: the first beam of each row is the best.
        return ops.take(prompt, first_of_row[:, 0], axis=0)

    def get_config(self) -> dict:
        return {"num_beams": self.num_beams}
