"""Ways of choosing words, behind KerasHub's `Sampler` contract."""

import inspect

from keras_hvae.samplers.beam import Beam
from keras_hvae.samplers.categorical import Categorical
from keras_hvae.samplers.greedy import Greedy
from keras_hvae.samplers.sampler import Sampler

_DEFAULTS = {
    "greedy": (Greedy, {}),
    "categorical": (Categorical, {}),
    "top_k": (Categorical, {"top_k": 10}),
    "top_p": (Categorical, {"top_p": 0.9}),
    "beam": (Beam, {"num_beams": 5}),
}
NAMES = tuple(_DEFAULTS)


def get(identifier, **options):
    """Returns the sampler of a name, or the sampler itself.

    Args:
        identifier: `"greedy"`, `"categorical"`, `"top_k"` (k = 10),
            `"top_p"` (p = 0.9), `"beam"` (5 beams), or a sampler.
        **options: arguments for the named sampler, such as `temperature`.

    Raises:
        ValueError: for an unknown name or an option the sampler lacks.

    Example:

    >>> get("top_p", temperature=0.8).top_p
    0.9
    """
    if callable(identifier):
        if options:
            raise ValueError(
                "Sampler options go with a sampler's name; give them to the "
                f"sampler itself. Received: {sorted(options)}"
            )
        return identifier
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
