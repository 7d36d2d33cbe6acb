"""What a training is: two with the same settings do the same."""

import hashlib
import inspect
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras

# Arguments of callbacks that change nothing of what is trained.
_OTHERS = {"verbose", "filename", "filepath", "append", "log_dir"}
_PLAIN = (bool, int, float, str, type(None))
# Keras numbers the layers of a process: where a notebook makes the same model
# again, `dense` is `dense_1`.
_NAMING = {"layers", "input_layers", "output_layers"}
_NUMBER = re.compile(r'_\d+(?=")')
_SHOWN = 60  # characters of a value, in messages


def settings_of(
    model: keras.Model,
    data: Any,
    callbacks: Sequence[keras.callbacks.Callback],
    params: Mapping[str, Any],
) -> dict[str, Any]:
    """The settings of a training, each with a name.

    Args:
        model: compiled.
        data: what it is trained on: its `order` and, of a corpus, its
            `corpus_digest` and the words of its `corpus_vocabulary`.
        callbacks: all of `fit`.
        params: of a callback, from `fit`.
    """
    config = dict(model.get_config())
    config.pop("name", None)
    optimizer = dict(model.optimizer.get_config())
    optimizer.pop("name", None)
    settings = {
        "backend": keras.config.backend(),
        "corpus": getattr(data, "corpus_digest", None),
        "vocabulary": _vocabulary(model, data),
        **_flat("order", getattr(data, "order", {})),
        "epochs": params.get("epochs"),
        "steps_per_epoch": params.get("steps"),
        "model": type(model).__name__,
        **_flat("", config),
        "optimizer": type(model.optimizer).__name__,
        **_flat("optimizer", optimizer),
    }
    for callback in callbacks:
        name = type(callback).__name__
        settings[f"callbacks.{name}"] = True
        settings |= _flat(name, _arguments(callback))
    return settings


def check_settings(
    saved: Mapping[str, Any], now: Mapping[str, Any], path: os.PathLike
) -> None:
    """Raises `ValueError` if a checkpoint is of another training.

    Args:
        saved: the settings of the checkpoint.
        now: those of the training that is to go on from it.
        path: of the checkpoint, for the message.
    """
    missing = "not there"
    for name in [*saved, *(x for x in now if x not in saved)]:
        old, new = saved.get(name, missing), now.get(name, missing)
        if old != new:
            raise ValueError(
                f"`{name}` must be {_show(old)}, as in the training that "
                f"{path} is of. Received: {_show(new)}"
            )


def digest_of(settings: Mapping[str, Any]) -> int:
    """A number of 31 bits that other settings do not have, most likely."""
    text = json.dumps(settings, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _show(value):
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _vocabulary(model, data):
    words = getattr(model, "preprocessor", None)
    if words is None:
        words = getattr(data, "corpus_vocabulary", None)
    if words is None:
        return None
    text = json.dumps(words.get_config(), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _flat(prefix: str, config: Any) -> dict[str, Any]:
    """Nested dicts as one, with dots in its names.

    The words of a vocabulary are compared by their digest: as a list they
    would be a large part of the file.
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if key == "vocabulary" and not isinstance(value, int):
            continue
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            # Of a Keras object: its class and its arguments.
            kept = value
            if "class_name" in value and "config" in value:
                flat[name] = value["class_name"]
                kept = value["config"] or {}
                if isinstance(kept, str):
                    kept = {"config": kept}
            flat |= _flat(name, kept)
        else:
            # As JSON has it, so that it is the same once it was read.
            text = json.dumps(value, default=str)
            if key in _NAMING:
                text = _NUMBER.sub("", text)
            flat[name] = json.loads(text)
    return flat


def _arguments(callback):
    """The plain arguments that a callback was made with."""
    names = set(inspect.signature(type(callback).__init__).parameters)
    return {
        name: getattr(callback, name)
        for name in sorted(names - _OTHERS)
        if isinstance(getattr(callback, name, ()), _PLAIN)
    }
