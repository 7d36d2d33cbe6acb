"""A loop over the steps of sequences."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops, tree


def scan(step: Callable, carry: Any, inputs: Any) -> Any:
    """Runs `step` over axis 1 of several tensors; returns all its carries.

    Keras' own scan takes several tensors on TensorFlow only if their length
    is static: there they go through it side by side, as one of float32.
    Randomness must come in by `inputs`: JAX allows no stateful draws inside.

    Args:
        step: function of the carry and a tuple of tensors `(B, k)`, that
            returns the next carry.
        carry: a structure of float32 tensors `(B, ...)`.
        inputs: tensors of shape `(B, n, k)`; bools come in as 0 and 1.

    Returns:
        A structure like `carry` of tensors `(B, n, ...)`.

    Example:

    >>> total = scan(lambda x, new: x + new[0], ops.zeros((1, 1)),
    ...              (ops.ones((1, 3, 1)),))
    >>> [float(x) for x in ops.ravel(total)]
    [1.0, 2.0, 3.0]
    """
    inputs = [
        ops.swapaxes(ops.cast(x, "float32"), 0, 1) for x in inputs
    ]  # (n, B, k)
    if keras.config.backend() == "tensorflow":
        cuts = np.cumsum([x.shape[-1] for x in inputs])[:-1]
        rows = ops.concatenate(inputs, axis=-1)
    else:
        cuts, rows = None, inputs

    def whole_step(carry, row):
        if cuts is not None:
            row = ops.split(row, cuts, axis=-1) if len(cuts) else [row]
        carry = step(carry, tuple(row))
        return carry, carry

    _, path = ops.scan(whole_step, carry, rows)
    return tree.map_structure(lambda x: ops.swapaxes(x, 0, 1), path)
