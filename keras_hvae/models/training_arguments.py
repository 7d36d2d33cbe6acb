"""What `fit` and `evaluate` do not take; what callbacks are told of `fit`."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import tree


def refuse_ignored(
    model: keras.Model,
    y: Any = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    **kwargs,
) -> None:
    """Raises `ValueError` for arguments that a training would ignore.

    Args:
        model: compiled or not; of its arguments to `compile`, `loss` and
            `loss_weights` are refused.
        y, sample_weight, class_weight: those of `fit`.
        **kwargs: others, which are not looked at.
    """
    compiled = model.get_compile_config() or {}
    for name in ("loss", "loss_weights"):
        if compiled.get(name) is not None:
            raise ValueError(
                "`compile` takes no `loss` and no `loss_weights`: the "
                f"loss is part of {type(model).__name__}. "
                f"Received: {name}={compiled[name]!r}"
            )
    given = {
        "y": y,
        "sample_weight": sample_weight,
        "class_weight": class_weight,
    }
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"`{name}` must be left out: {type(model).__name__} learns "
                "from documents alone, and each of them counts once. "
                f"Received: a {type(value).__name__}"
            )


@contextlib.contextmanager
def announced(data: Any, callbacks: Any) -> Iterator[None]:
    """Around a `fit`: tells its callbacks what Keras does not.

    A callback with a method `fitting(data, callbacks)`, a context manager, is
    entered with what `fit` trains on and the list of all callbacks.

    Args:
        data: `x` of `fit`.
        callbacks: what `fit` takes as such.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    flat = tree.flatten(callbacks) if callbacks else []
    with contextlib.ExitStack() as stack:
        for callback in flat:
            if hasattr(callback, "fitting"):
                stack.enter_context(callback.fitting(data, flat))
        yield
