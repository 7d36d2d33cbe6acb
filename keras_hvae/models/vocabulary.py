"""Reads the argument `vocabulary` of the models."""

import numbers
from typing import Any

from keras_hvae.ids import SPECIAL_TOKENS
from keras_hvae.text import Preprocessor


def read_vocabulary(
    vocabulary: Any,
) -> tuple[Preprocessor | None, int]:
    """A preprocessor, or None for a model of ids, and the number of ids."""
    if vocabulary is None:
        raise ValueError(
            "A model needs a `vocabulary` or an `emission`. Received: neither"
        )
    if isinstance(vocabulary, numbers.Integral):
        if vocabulary <= len(SPECIAL_TOKENS):
            raise ValueError(
                "`vocabulary` must have room for a word besides the "
                f"{len(SPECIAL_TOKENS)} special ones. Received: {vocabulary}"
            )
        return None, int(vocabulary)
    if not isinstance(vocabulary, Preprocessor):
        vocabulary = Preprocessor(vocabulary)
    return vocabulary, len(vocabulary)
