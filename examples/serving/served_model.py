"""The newest version of an exported model, for a server of your own.

`rest_server.py` and `grpc_server.py` are made of it. It needs TensorFlow and
`whole_files.py`: neither Keras nor keras_hvae.
"""

import base64
import contextlib
import os
import pathlib
import re
import threading
import time

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from whole_files import check_version

POLL_SECONDS = 1.0
BRIEF = 200


class BadRequest(ValueError):
    """What the client has to change, in a sentence."""


class ServedModel:
    """Answers requests with the newest version in a folder.

    It looks for a newer version from time to time, loads it beside the old
    one, and then changes over: no request waits, and none is lost. One that is
    not whole, or not yet, is tried again: what `keras-hvae verify` refuses is
    never loaded. It never goes back to an older one.

    Args:
        path: folder with numbered versions.

    Raises:
        FileNotFoundError: if there is none.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        # Version and signatures as one: a request sees both of the same.
        self.current = 0, {}
        self._said = None
        self._refused = {}  # what versions that were not whole looked like
        self._look()
        if not self.current[0]:
            raise FileNotFoundError(
                f"{self.path}: expected a folder with a version of a model "
                "that is whole. Received: none"
            )
        self._closed = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def predict(self, name, inputs, current=None):
        """Runs a signature.

        Args:
            name: of the signature; `""` or `None`: the default.
            inputs: dict of nested lists, arrays, strings.
            current: version and signatures; the newest if not given.

        Returns:
            Dict of arrays, and the version that they are of.

        Raises:
            BadRequest: if it is not what the signature takes.
        """
        version, signatures = current or self.current
        if not isinstance(name, str | None):
            raise BadRequest(
                f"signature_name must be a string. Received: {brief(name)}"
            )
        name = name or "serving_default"
        if name not in signatures:
            raise BadRequest(
                f"signature_name must be one of {', '.join(sorted(signatures))}"
                f". Received: {brief(name)}"
            )
        function = signatures[name]
        specs = function.structured_input_signature[1]
        if not isinstance(inputs, dict):
            raise BadRequest(
                f"The inputs of {name} are {', '.join(specs)}. "
                f"Received: {brief(inputs)}"
            )
        for key in specs.keys() ^ inputs.keys():
            raise BadRequest(
                f"The inputs of {name} are {', '.join(specs)}. Received: "
                + (f"none of {key}" if key in specs else f"also {brief(key)}")
            )
        tensors = {
            key: to_tensor(key, specs[key], x) for key, x in inputs.items()
        }
        try:
            answer = function(**tensors)
        except tf.errors.InvalidArgumentError as error:
            raise BadRequest(reason(error)) from error
        return {key: x.numpy() for key, x in answer.items()}, version

    def close(self):
        self._closed.set()

    def _look(self):
        """Changes over to the newest version that is whole, if it is new."""
        versions = {
            int(x.name)
            for x in self.path.glob("*")
            if re.fullmatch("[1-9][0-9]*", x.name)
        }
        for version in sorted(versions, reverse=True):
            if version <= self.current[0]:
                return
            # It would take the time of requests to read all of it each second.
            looks = appearance(self.path / str(version))
            if self._refused.get(version) == looks:
                continue
            try:
                self.current = self._load(version)
                return self._say(f"{self.path}: version {version}")
            except Exception as error:  # go on with what there is
                self._refused[version] = looks
                self._say(f"{self.path / str(version)}: {error}")

    def _say(self, text):
        if text != self._said:  # not each second
            self._said = text
            print(text, flush=True)

    def _load(self, version):
        folder = self.path / str(version)
        # TensorFlow loads many a damaged file without a word.
        parse = saved_model_pb2.SavedModel.FromString
        check_version(folder, parse, self.path)
        model = tf.saved_model.load(str(folder))
        names = set(model.signatures)
        # The functions hold the variables as long as the model lives.
        signatures = {name: model.signatures[name] for name in names}
        signatures["serving_default"].model = model
        return version, signatures

    def _watch(self):
        while not self._closed.wait(POLL_SECONDS):
            try:
                self._look()
            except Exception as error:  # the disk may be back in a second
                self._say(f"{self.path}: {error}")


def appearance(folder):
    """Sizes and times of the files in a folder, and the minute.

    A version that is refused is read again if one of them changes: at the
    latest in a minute, as a disk may have failed.
    """
    found = [int(time.monotonic() // 60)]
    for where, folders, names in os.walk(folder):
        for name in sorted(folders + names):
            path = os.path.join(where, name)
            with contextlib.suppress(FileNotFoundError):
                stat = os.lstat(path)
                found.append((path, stat.st_size, stat.st_mtime_ns))
    return found


def to_tensor(name, spec, value):
    """What a client sent, as a tensor of the signature's dtype and rank."""
    dtype = spec.dtype.as_numpy_dtype
    shape = [None if x is None else int(x) for x in spec.shape]
    # As objects: what is no number must not be made one, nor grow.
    array = _objects(name, value, len(shape))
    if spec.dtype == tf.string:
        good = all(isinstance(x, bytes) for x in array.flat)
    else:
        kinds = (int,) if spec.dtype.is_integer else (int, float)
        good = all(
            isinstance(x, kinds) and not isinstance(x, bool) for x in array.flat
        )
        if good and spec.dtype.is_integer:
            limits = np.iinfo(dtype)
            good = all(limits.min <= x <= limits.max for x in array.flat)
    if array.size == 0 and array.ndim == 1:  # [] of any rank
        array = array.reshape([x or 0 for x in shape])
    fits = len(shape) == array.ndim and all(
        x in (None, y) for x, y in zip(shape, array.shape)
    )
    if good and fits:
        try:
            return tf.constant(array.astype(dtype), spec.dtype)
        except OverflowError:  # a whole number that no float can hold
            pass
    wanted = ", ".join("rows" if x is None else str(x) for x in shape)
    raise BadRequest(
        f"{name} must be a {spec.dtype.name} array of shape [{wanted}], "
        f"without gaps. Received: {brief(value)}"
    )


def _objects(name, value, rank):
    """Nested lists as an array of Python's objects, strings as bytes."""
    if isinstance(value, np.ndarray):
        return np.array(value.tolist(), dtype=object)
    nested = _bytes(name, value, rank)
    try:
        return np.array(nested, dtype=object)
    except ValueError:  # lists of different lengths at some depth
        return np.array(None)


def _bytes(name, value, rank):
    """With bytes in the place of strings and {"b64": …}, `rank` lists deep."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if isinstance(value, dict) and list(value) == ["b64"]:
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (ValueError, TypeError) as error:
            raise BadRequest(
                f"{name}: b64 must be base64. Received: {brief(value['b64'])}"
            ) from error
    if isinstance(value, list) and rank:
        return [_bytes(name, x, rank - 1) for x in value]
    # Deeper lists fit nowhere: what is in them does not matter.
    return None if isinstance(value, list) else value


def reason(error):
    """The sentence of a check in the graph, without the graph around it."""
    _, found, rest = error.message.partition("assertion failed: [")
    if found:
        return rest.splitlines()[0].rstrip("]").replace("] [", " ")
    lines = [x.strip() for x in error.message.splitlines()]
    # Behind "Graph execution error" and where.
    told = [x for x in lines if x and "rror:" not in x and x[0] not in "<D["]
    return f"It cannot be computed. Received: {(told or lines)[0][:BRIEF]}"


def brief(value):
    try:
        text = repr(value)
    except RecursionError:
        text = "lists in lists in lists …"
    return text if len(text) <= BRIEF else text[:BRIEF] + "…"
