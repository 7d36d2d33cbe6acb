"""A loop of a known number of turns."""

from collections.abc import Callable
from typing import Any

from keras import ops


def repeat(times: int, body: Callable, state: Any) -> Any:
    """`state = body(i, state)` for i = 0 … `times` − 1.

    Example:

    >>> int(repeat(3, lambda i, total: total + i, ops.array(0)))
    3
    """
    # XLA gets loops wrong that it knows to have one turn.
    if times == 1:
        return body(0, state)
    return ops.fori_loop(0, times, body, state)
