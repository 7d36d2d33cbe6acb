"""HVAEs of two sizes."""

import os
from collections.abc import Sequence

from keras_hvae.models import HVAE
from keras_hvae.presets.preset_files import known_presets
from keras_hvae.text.preprocessor import Preprocessor


def HVAESmall(
    weights: str | None = "shakespeare",
    vocabulary: int | Sequence[str] | Preprocessor | None = None,
    **overrides,
) -> HVAE:
    """An `HVAE` with `latent_dim` 32, `embedding_dim` 128, `hidden_dim` 192.

    Args:
        weights: name of trained weights, such as `"shakespeare"` (the preset
            `hvae_small_shakespeare_en`); the path of a preset's folder, or
            `"hf://user/repo"`, see `HVAE.from_preset`; or `None` for a model
            to train.
        vocabulary: with `weights=None`, see `HVAE`.
        **overrides: further arguments of `HVAE`, to change; with weights
            those that shape none.

    Returns:
        An `HVAE`, not compiled.

    Raises:
        ValueError: if there are no such weights, if they are of another size,
            or if `vocabulary` is missing with `weights=None` or given else.

    Example:

    >>> model = HVAESmall(weights=None, vocabulary=["yes", "no"])
    >>> model.latent_dim
    32
    """
    sizes = {"latent_dim": 32, "embedding_dim": 128, "hidden_dim": 192}
    return _make("hvae_small", sizes, weights, vocabulary, overrides)


def HVAEBase(
    weights: str | None = None,
    vocabulary: int | Sequence[str] | Preprocessor | None = None,
    **overrides,
) -> HVAE:
    """An `HVAE` with `latent_dim` 64, `embedding_dim` 256, `hidden_dim` 384.

    Args:
        weights, vocabulary, **overrides: as in `HVAESmall`; the presets' names
            begin with `hvae_base`. The package brings none of this size.

    Returns:
        As `HVAESmall`.

    Raises:
        ValueError: as `HVAESmall`.
    """
    sizes = {"latent_dim": 64, "embedding_dim": 256, "hidden_dim": 384}
    return _make("hvae_base", sizes, weights, vocabulary, overrides)


def _make(name, sizes, weights, vocabulary, overrides):
    if weights is None:
        if vocabulary is None:
            raise ValueError(
                "`vocabulary` must be given with `weights=None`. Received: None"
            )
        return HVAE(vocabulary, **{**sizes, **overrides})
    if vocabulary is not None:
        raise ValueError(
            "`vocabulary` must be left out unless `weights=None`: trained "
            f"weights have their own. Received: weights={str(weights)!r}"
        )
    sizes = {key: overrides.pop(key, size) for key, size in sizes.items()}
    model = HVAE.from_preset(_preset(name, weights), **overrides)
    config = model.get_config()
    found = {key: config[key] for key in sizes}
    if found != sizes:
        raise ValueError(
            f"`weights` must be of a model of {sizes}. "
            f"Received: {str(weights)!r} of {found}"
        )
    return model


def _preset(name, weights):
    """The preset `<name>_<weights>_<language>`, or the path given."""
    known = {
        preset.removeprefix(f"{name}_").rpartition("_")[0]: preset
        for preset in known_presets()
        if preset.startswith(f"{name}_")
    }
    weights = os.fspath(weights)
    if weights in known:
        return known[weights]
    if weights.startswith("hf://") or os.path.isdir(weights):
        return weights
    names = ", ".join(map(repr, known)) or "none in this package"
    raise ValueError(
        f"`weights` must be None, a name ({names}), the folder of a preset or "
        f'"hf://user/repo". Received: {weights!r}'
    )
