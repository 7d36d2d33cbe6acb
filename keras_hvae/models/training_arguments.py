"""What `fit` and `evaluate` do not take."""

from typing import Any

import keras


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
