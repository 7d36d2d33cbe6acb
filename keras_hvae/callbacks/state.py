"""What callbacks know of a training: saved with it, and given back.

A callback whose state changes while a model trains has two methods:
`get_state()` returns it as a dict of numbers, strings, lists, dicts and NumPy
arrays; `set_state(state)` takes it back, on a callback that was made with the
same arguments. `set_state` is called when the first epoch of a resumed
training has begun, behind `on_train_begin` and `on_epoch_begin`. A callback
without these methods has no state. Those of Keras get theirs here.
"""

import pathlib
from typing import Any

import keras

# Their attributes that change while a model trains.
_ATTRIBUTES = {
    keras.callbacks.EarlyStopping: (
        "wait",
        "stopped_epoch",
        "best",
        "best_epoch",
        "best_weights",
    ),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: (
        "best",
        "_batches_seen_since_last_saving",
    ),
    keras.callbacks.History: ("epoch", "history"),
}


def get_state(callback: keras.callbacks.Callback) -> dict:
    """The state of a callback: empty if it has none.

    Example:

    >>> get_state(keras_hvae.callbacks.BestModel("best.keras"))
    {'best': inf, 'best_epoch': None, 'lacks': inf}
    """
    if hasattr(callback, "get_state"):
        return callback.get_state()
    if isinstance(callback, keras.callbacks.CSVLogger):
        return _read_log(callback)
    return {name: getattr(callback, name) for name in _names(callback)}


def set_state(callback: keras.callbacks.Callback, state: dict) -> None:
    """Gives a callback the state back that `get_state` returned."""
    if hasattr(callback, "set_state"):
        callback.set_state(state)
    elif isinstance(callback, keras.callbacks.CSVLogger):
        _write_log(callback, state)
    else:
        for name in _names(callback):
            setattr(callback, name, state[name])


def _names(callback):
    for kind, names in _ATTRIBUTES.items():
        if isinstance(callback, kind):
            return [name for name in names if hasattr(callback, name)]
    return []


def _read_log(log: Any) -> dict:
    if log.csv_file and not log.csv_file.closed:
        log.csv_file.flush()
    path = pathlib.Path(log.filename)
    # Bytes, as text would lose which newlines there are.
    text = path.read_bytes().decode() if path.exists() else ""
    return {"text": text, "keys": log.keys}


def _write_log(log: Any, state: dict) -> None:
    """Its rows as they were, in place of those that came after them."""
    if log.csv_file and not log.csv_file.closed:
        log.csv_file.close()
    pathlib.Path(log.filename).write_bytes(state["text"].encode())
    log.csv_file = open(log.filename, "a", newline="")
    log.writer, log.keys = None, state["keys"]
    log.append_header = not state["text"]
