"""Presets: models in folders, with vocabulary, model card and checksums."""

import json
import os
import textwrap
from typing import Any

import keras
import numpy as np

from keras_hvae.arguments import check_choice
from keras_hvae.checksums import (
    check_listed,
    check_sums,
    model_digest,
    sha256,
    write_sums,
)
from keras_hvae.files import (
    LARGEST_JSON,
    DamagedFileError,
    read_json,
    write_folder,
)
from keras_hvae.presets.finite import find_not_finite
from keras_hvae.presets.objects import check_objects
from keras_hvae.presets.preset_files import (
    CARD_FILE,
    CONFIG_FILE,
    VOCABULARY_FILE,
    WEIGHTS_FILE,
    check_replaceable,
    find_preset,
    links_within,
)
from keras_hvae.presets.sizes import (
    MAX_EXPANSION,
    brief,
    check_sizes,
    find_class,
    read_class,
)
from keras_hvae.version import __version__


class PresetMixin:
    """from_preset, save_to_preset: a base class of the models.

    A preset is a folder of

    - `config.json`: the model's class and arguments, and versions;
    - `vocabulary.txt`, if the model has a preprocessor: a word a line, the
      first with id 4;
    - `model.weights.h5`: the weights, as `load_weights` reads them;
    - `README.md`: the model card;
    - `SHA256SUMS` of all these: `sha256sum -c SHA256SUMS` checks them too.

    The sums protect against damage, not against an attacker, who would
    change them, too. Against one the rest is checked: a preset runs no code,
    reads nothing outside its folder, and no more memory than its size tells.
    """

    # Of the preset that it was loaded from: name, SHA-256 of the model card,
    # digest of the model at that time.
    preset = None

    @classmethod
    def from_preset(
        cls,
        preset: str | os.PathLike,
        *,
        max_expansion: float = MAX_EXPANSION,
        **overrides,
    ) -> Any:
        """Loads a model, not compiled, after a check of its files' SHA-256.

        Args:
            preset: name of a preset of this package, such as
                `"hvae_small_shakespeare_en"`; a folder that `save_to_preset`
                has written; or `"hf://user/repo"`, such a folder on the
                Hugging Face Hub (needs `huggingface_hub`; written to its
                documentation, not yet tried against the Hub). Only the last
                uses the network.
            max_expansion: how many times their bytes in the file weights
                may take in memory (and 16 MiB more).
            **overrides: arguments of the model to change, such as
                `word_dropout`; those that shape no weight.

        Raises:
            ValueError: if there is no such preset, if it holds a model of
                another class, or if `overrides` do not go with its weights.
            DamagedFileError: a `ValueError`, too, if a file is missing, is
                not the one that was saved, cannot be read, or has weights
                that are no numbers (NaN).
            ImportError: for `"hf://..."`, without `huggingface_hub`.
        """
        return load_preset(cls, preset, max_expansion, **overrides)

    def save_to_preset(
        self,
        folder: str | os.PathLike,
        model_card: str | None = None,
        dtype: str | None = None,
    ) -> None:
        """Writes the model, without its optimizer, to a folder.

        The folder is whole or not there: it is written under a temporary
        name. A preset that was there is replaced with all that is in it.

        Args:
            folder: path: nothing, an empty folder or a preset.
            model_card: text of the `README.md`, in Markdown; one with the
                model's arguments if not given.
            dtype: `"float16"` to store floats in 2 bytes, with relative
                errors of up to 2⁻¹¹; `None` stores them as they are.

        Raises:
            ValueError: if `folder` is something else, or if a weight is too
                large for `dtype`.
            FileNotFoundError: if the folder to write in does not exist.
        """
        save_preset(self, folder, model_card, dtype)


def load_preset(
    cls,
    preset: str | os.PathLike,
    max_expansion: float = MAX_EXPANSION,
    **overrides,
) -> Any:
    """Loads a model of `cls` or a subclass: see `PresetMixin.from_preset`."""
    if "vocabulary" in overrides:
        raise ValueError(
            "`vocabulary` must be left out: a preset has its own. "
            f"Received: {overrides['vocabulary']!r:.80}"
        )
    folder = find_preset(preset)
    names = check_sums(folder, links_within(preset, folder))
    check_listed(folder, names, CONFIG_FILE, WEIGHTS_FILE)
    saved = read_json(folder / CONFIG_FILE)
    received, config = read_class(saved, folder / CONFIG_FILE)
    expected = keras.saving.get_registered_name(cls)
    saved_cls = find_class(received, cls)
    if saved_cls is None:
        raise ValueError(
            f"`preset` must be of the class {expected}. Received: "
            f"{str(folder)!r} of the class {received}"
        )
    check_objects(saved, folder / CONFIG_FILE)
    if isinstance(config.get("vocabulary"), dict):
        check_listed(folder, names, VOCABULARY_FILE)
        config["vocabulary"] = _read_vocabulary(
            config["vocabulary"], folder / VOCABULARY_FILE
        )
    with open(folder / WEIGHTS_FILE, "rb") as file:
        check_sizes(
            config,
            file,
            folder / CONFIG_FILE,
            folder / WEIGHTS_FILE,
            max_expansion,
        )
    model = _make_model(saved_cls, config, overrides, folder / CONFIG_FILE)
    try:
        model.load_weights(folder / WEIGHTS_FILE)
    except Exception as error:
        if overrides:  # the overrides may not fit the weights
            raise
        raise DamagedFileError(
            folder / WEIGHTS_FILE,
            f"the weights of this {saved_cls.__name__}",
            brief(error),
        ) from error
    wrong = find_not_finite(model)
    if wrong is not None:
        raise DamagedFileError(
            folder / WEIGHTS_FILE, "weights that are numbers", f"NaN in {wrong}"
        )
    # It is a weight, too: the file has the old value.
    if "kl_weight" in overrides:
        model.kl_weight.assign(overrides["kl_weight"])
    if not overrides:
        name = os.fspath(preset)
        remote = name.startswith("hf://")
        model.preset = {
            "name": name if remote else folder.resolve().name,
            "card_sha256": (
                sha256(folder / CARD_FILE) if CARD_FILE in names else None
            ),
            "model_sha256": model_digest(model),
        }
    return model


def _read_vocabulary(saved, path):
    """The preprocessor with the words of a file."""
    size = path.stat().st_size
    if size > LARGEST_JSON:
        raise DamagedFileError(
            path, f"at most {LARGEST_JSON:,} bytes", f"{size:,} bytes"
        )
    try:
        words = path.read_bytes().decode().split("\n")[:-1]
        saved = {**saved, "config": {**saved["config"], "vocabulary": words}}
        return keras.saving.deserialize_keras_object(saved)
    except Exception as error:
        raise DamagedFileError(
            path, "a word a line, each once, in UTF-8", brief(error)
        ) from error


def _make_model(cls, config, overrides, path):
    try:
        return cls.from_config({**config, **overrides})
    except Exception as error:
        if overrides:  # without them: are they what is wrong?
            _make_model(cls, config, {}, path)
            raise
        raise DamagedFileError(
            path, f"arguments of {cls.__name__}", brief(error)
        ) from error


def save_preset(
    model: keras.Model,
    folder: str | os.PathLike,
    model_card: str | None = None,
    dtype: str | None = None,
) -> None:
    """Saves a model: see `PresetMixin.save_to_preset`.

    Example:

    >>> save_preset(HVAE(["yes", "no"], 2, 4, 8), "tiny")
    >>> model = load_preset(HVAE, "tiny")
    >>> list(model.preprocessor)[4:], model.latent_dim
    (['yes', 'no'], 2)
    """
    check_choice((None, "float16"), dtype=dtype)
    if not isinstance(model_card, str | None):
        raise ValueError(
            "`model_card` must be a string of Markdown. "
            f"Received: {model_card!r:.80}"
        )
    serialized = keras.saving.serialize_keras_object(model)
    saved = {
        key: serialized[key]
        for key in ("module", "class_name", "registered_name", "config")
    }
    saved["keras_version"] = keras.__version__
    saved["keras_hvae_version"] = __version__
    check_replaceable(folder)
    wrong = find_not_finite(model)
    if wrong is not None:
        raise ValueError(
            "The model must have weights that are numbers, to be saved as a "
            f"preset. Received: NaN in {wrong}"
        )
    with write_folder(folder) as temporary:
        _write_weights(model, temporary / WEIGHTS_FILE, dtype)
        if model.preprocessor is not None:
            words = saved["config"]["vocabulary"]["config"].pop("vocabulary")
            text = "".join(f"{word}\n" for word in words)
            (temporary / VOCABULARY_FILE).write_bytes(text.encode())
        text = json.dumps(saved, indent=2, allow_nan=False) + "\n"
        (temporary / CONFIG_FILE).write_bytes(text.encode())
        card = default_card(model, saved) if model_card is None else model_card
        (temporary / CARD_FILE).write_bytes(card.encode())
        write_sums(temporary)


def _write_weights(model, path, dtype):
    import h5py

    whole = path.with_name("whole.weights.h5")
    model.save_weights(whole)
    with h5py.File(whole) as source, h5py.File(path, "w") as target:

        def copy(name, item):
            if name.partition("/")[0] == "optimizer":
                return
            if isinstance(item, h5py.Group):
                target.require_group(name).attrs.update(item.attrs)
                return
            values = item[()]
            if dtype is not None and values.dtype in ("float32", "float64"):
                values = _narrow(name, values, dtype)
            # Compression makes small arrays larger, and fails for scalars.
            large = values.size > 1000
            options = {"compression": "gzip", "shuffle": True} if large else {}
            target.create_dataset(name, data=values, **options)
            target[name].attrs.update(item.attrs)

        source.visititems(copy)
    whole.unlink()


def _narrow(name, values, dtype):
    with np.errstate(over="ignore"):
        narrow = values.astype(dtype)
    if not np.array_equal(np.isfinite(narrow), np.isfinite(values)):
        raise ValueError(
            f"`dtype` must have room for all weights: {dtype} goes to "
            f"{np.finfo(dtype).max}. Received: {name} with "
            f"{np.abs(values).max()}"
        )
    return narrow


def default_card(model: keras.Model, saved: dict) -> str:
    """A model card with what the model knows of itself: Markdown."""
    name = saved["class_name"]
    plain = {
        key: value
        for key, value in saved["config"].items()
        if not isinstance(value, dict) and key not in ("vocabulary", "name")
    }
    arguments = "\n".join(f"| `{k}` | {v!r} |" for k, v in plain.items())
    if model.vocabulary_size is None:
        reads = f"steps that a {type(model.emission).__name__} reads"
    else:
        words = model.preprocessor is not None
        kind = "words, special ones too" if words else "ids"
        reads = f"a vocabulary of {model.vocabulary_size:,} {kind}"
    return textwrap.dedent("""\
        # {name}

        A model of the Python package keras_hvae {package}, saved with Keras
        {keras}: {weights:,} weights, {reads}.

        ```python
        model = {name}.from_preset("path/of/this/folder")
        ```

        | argument | value |
        |---|---|
        {arguments}

        Not said yet: training data and their licence, figures, uses and limits.
        """).format(
        name=name,
        package=saved["keras_hvae_version"],
        keras=saved["keras_version"],
        weights=model.count_params(),
        reads=reads,
        arguments=arguments,
    )
