"""Checks of arguments."""

import numbers
from collections.abc import Collection, Mapping
from typing import Any


def check_positive_int(**arguments) -> None:
    """Raises `ValueError` unless every argument is an int >= 1."""
    for name, value in arguments.items():
        whole = isinstance(value, numbers.Integral)
        if isinstance(value, bool) or not whole or value < 1:
            raise ValueError(
                f"`{name}` must be an integer >= 1. Received: {value!r}"
            )


def check_rate(**arguments) -> None:
    """Raises `ValueError` unless every argument is in [0, 1)."""
    for name, value in arguments.items():
        if not 0 <= value < 1:
            raise ValueError(f"`{name}` must be in [0, 1). Received: {value!r}")


def check_choice(choices: Collection, **arguments) -> None:
    """Raises `ValueError` unless every argument is one of `choices`."""
    for name, value in arguments.items():
        if value not in choices:
            raise ValueError(
                f"`{name}` must be one of {tuple(choices)}. Received: {value!r}"
            )


def check_unused(arguments: Mapping[str, Any], *names: str) -> None:
    """Raises `ValueError` if one of these is there, and not `None` or 0."""
    for name in names:
        if arguments.get(name):
            raise ValueError(
                f"`{name}` must be None. Received: {arguments[name]}"
            )
