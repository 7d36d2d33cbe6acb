"""Ways of choosing words, behind KerasHub's `Sampler` contract."""

import inspect
from typing import Any

import keras

from keras_hvae.samplers.beam import Beam
from keras_hvae.samplers.categorical import Categorical
from keras_hvae.samplers.greedy import Greedy
from keras_hvae.samplers.sampler import Sampler

# KerasHub's names, and "categorical", which is "random".
_DEFAULTS: dict[str, tuple[type[Sampler], dict]] = {
    "greedy": (Greedy, {}),
    "random": (Categorical, {}),
    "categorical": (Categorical, {}),
    "top_k": (Categorical, {"top_k": 10}),
    "top_p": (Categorical, {"top_p": 0.9}),
    "beam": (Beam, {"num_beams": 5}),
}
_REFUSED = {
    "contrastive": "compares hidden states, of which the models keep none",
    "speculative": "needs a second, smaller model of the same words",
}
NAMES = tuple(_DEFAULTS)


def get(identifier: Any, **options) -> Sampler:
    """Returns the sampler of a name, or the sampler itself.

    Args:
        identifier: `"greedy"`, `"random"` (or `"categorical"`), `"top_k"`
            (k = 10), `"top_p"` (p = 0.9), `"beam"` (5 beams); a sampler, one
            of KerasHub's contract too; its class; or its serialized config.
        **options: arguments for the named sampler, such as `temperature`.

    Raises:
        ValueError: for an unknown name or an option the sampler lacks.

    Example:

    >>> get("top_p", temperature=0.8).top_p
    0.9
    """
    if isinstance(identifier, type):
        return identifier(**options)
    if isinstance(identifier, dict):
        identifier = keras.saving.deserialize_keras_object(identifier)
    if callable(identifier):
        if options:
            raise ValueError(
                "Sampler options go with a sampler's name; give them to the "
                f"sampler itself. Received: {sorted(options)}"
            )
        return identifier
    if identifier in _REFUSED:
        raise ValueError(
            f"`sampler` must be one of {NAMES} or a Sampler: {identifier!r} "
            f"{_REFUSED[identifier]}. Received: {identifier!r}"
        )
    if identifier not in _DEFAULTS:
        raise ValueError(
            f"`sampler` must be one of {NAMES} or a Sampler. "
            f"Received: {identifier!r}"
        )
    cls, defaults = _DEFAULTS[identifier]
    known = set(inspect.signature(cls).parameters)
    if not known.issuperset(options):
        raise ValueError(
            f"Sampler {identifier!r} takes the options {sorted(known)}. "
            f"Received: {sorted(options)}"
        )
    return cls(**{**defaults, **options})


__all__ = ["Beam", "Categorical", "Greedy", "NAMES", "Sampler", "get"]
