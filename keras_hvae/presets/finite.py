"""Whether all weights of a model are numbers."""

import keras
import numpy as np


def find_not_finite(model: keras.Model) -> str | None:
    """Path of the first weight with NaN or infinity in it, or `None`.

    Such a model answers NaN, or the same word for ever.

    Example:

    >>> model = HVAE(["yes", "no"], 2, 4, 8)
    >>> find_not_finite(model) is None
    True
    """
    for weight in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            return weight.path
    return None
