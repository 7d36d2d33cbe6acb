"""Checks the sizes of a saved model before it is built."""

import io
import math
import os
from typing import Any

import keras

from keras_hvae.archives import open_archive
from keras_hvae.files import LARGEST_JSON, DamagedFileError, parse_json
from keras_hvae.presets.objects import check_objects

# Largest ratio of the estimated size of a model to its weights file; the
# estimate is an upper bound, as softmaxes may share a table or be factored ...
SLACK = 32
# ... plus this many numbers.
SMALL = 2**24
# Weights are compressed to more than this share, unless they are zeros; less
# than `SMALL` bytes may be.
MAX_EXPANSION = 4
WHOLE = "a whole model file of keras_hvae"
CONFIG, WEIGHTS = "config.json", "model.weights.h5"
# Filters of HDF5 that are in every build: deflate, shuffle, a checksum.
FILTERS = (1, 2, 3)


def read_class(saved: Any, path: str | os.PathLike) -> tuple[str, dict]:
    """Registered name and arguments of a serialized model."""
    # Keras' own classes have no registered name.
    name = saved.get("registered_name") or saved.get("class_name")
    config = saved.get("config")
    if not isinstance(name, str) or not isinstance(config, dict):
        raise DamagedFileError(
            path,
            "a model's registered_name and config",
            f"{name!r:.40} and {config!r:.40}",
        )
    return name, dict(config)


def find_class(name: str, cls) -> type | None:
    """The registered class of that name, if it is `cls` or a subclass."""
    found = keras.saving.get_registered_object(name)
    if isinstance(found, type) and issubclass(found, cls):
        return found
    return None


def check_sizes(
    config: dict,
    weights: Any,
    path: str | os.PathLike,
    weights_path: str | os.PathLike,
    max_expansion: float = MAX_EXPANSION,
) -> None:
    """Compares the widths in a model's arguments with its weights' shapes.

    A damaged file may tell of a model that no memory holds.

    Args:
        config: the model's arguments.
        weights: file object, HDF5. Of the weights only the shapes are read.
        path, weights_path: of both, for messages.
        max_expansion: see `load_model`.

    Raises:
        DamagedFileError: if the weights are not there in full, or the model
            would be much larger than they are.
    """
    if "vocabulary" not in config:
        raise DamagedFileError(
            path, "a config with a vocabulary", f"only {', '.join(config)}"
        )
    shapes = read_shapes(weights, weights_path, max_expansion)
    total = sum(map(math.prod, shapes))
    largest = max((n for shape in shapes for n in shape), default=0)
    vocabulary = _vocabulary_size(config["vocabulary"])
    widths = list(_widths(config))
    for name, n in [*widths, ("vocabulary", vocabulary)]:
        if n > largest:
            raise DamagedFileError(
                path,
                f"`{name}` of at most {largest:,}, the longest side of the "
                "saved weights",
                f"{n:,}",
            )
    width = sum(n for _, n in widths)
    estimate = vocabulary * width + 6 * width**2
    if estimate > SLACK * total + SMALL:
        raise DamagedFileError(
            path,
            f"a model of about the {total:,} weights in {weights_path}",
            f"one of up to {estimate:,}",
        )


def read_shapes(
    weights: Any,
    path: str | os.PathLike,
    max_expansion: float = MAX_EXPANSION,
) -> list[tuple[int, ...]]:
    """Shapes of the arrays of an HDF5 file, whose data must be there.

    The file must have all its data in itself: no link, no external and no
    virtual array.
    """
    import h5py

    shapes, stored, size = [], 0, 0

    def visit(name, item):
        nonlocal stored, size
        if isinstance(item, h5py.Group):
            for child in item:
                kind = item.get(child, getclass=True, getlink=True)
                if kind is not h5py.HardLink:
                    raise _not_plain(path, f"{kind.__name__} at {name}/{child}")
        elif isinstance(item, h5py.Dataset) and item.size:
            if item.external or item.is_virtual:
                raise _not_plain(path, f"an external or virtual array {name}")
            plist = item.id.get_create_plist()
            filters = [
                plist.get_filter(i)[0] for i in range(plist.get_nfilters())
            ]
            if item.dtype.kind not in "fiubV" or not set(filters) <= {*FILTERS}:
                raise _not_plain(
                    path, f"{item.dtype} with the filters {filters} at {name}"
                )
            shapes.append(item.shape)
            stored += item.id.get_storage_size()
            # HDF5 unpacks a whole chunk, whatever its array's shape.
            chunk = math.prod(item.chunks or ()) * item.dtype.itemsize
            size += max(item.nbytes, chunk)

    try:
        with h5py.File(weights) as file:
            visit("", file)
            file.visititems(visit)
    except DamagedFileError:
        raise
    # OSError, KeyError, RuntimeError, ValueError, TypeError ...
    except Exception as error:
        raise DamagedFileError(path, "an HDF5 file", brief(error)) from error
    # HDF5 fills missing data with zeros, as many as the header says.
    if size > max_expansion * stored + SMALL:
        raise DamagedFileError(
            path,
            f"weights of about the {stored:,} bytes that are stored "
            f"(`max_expansion`: {max_expansion} times)",
            f"shapes of {size:,} bytes",
        )
    return shapes


def _not_plain(path, received):
    return DamagedFileError(path, "arrays of numbers in the file", received)


def check_archive(
    path: str | os.PathLike, cls, max_expansion: float = MAX_EXPANSION
) -> str:
    """Checks a `.keras` file as `check_sizes` does, and what it names.

    Args:
        path: of the file.
        cls: class of models. Another model is not checked any further.
        max_expansion: see `load_model`.

    Returns:
        The registered name of the model's class.

    Raises:
        DamagedFileError: if it is no `.keras` file of a model, if a part of
            it would be much larger than it is in the file, the model than
            its weights, or if it names an object that is not allowed.
    """
    with open_archive(path, WHOLE) as archive:
        try:
            _check_members(archive, os.path.getsize(path), path, max_expansion)
            saved = parse_json(archive.read(CONFIG), f"{path}:{CONFIG}")
            name, config = read_class(saved, f"{path}:{CONFIG}")
            if find_class(name, cls) is None:
                return name
            check_objects(saved, f"{path}:{CONFIG}")
            with archive.open(WEIGHTS) as weights:
                # Read into memory: seeking back in a zip file reads it
                # again.
                check_sizes(
                    config,
                    io.BytesIO(weights.read()),
                    f"{path}:{CONFIG}",
                    f"{path}:{WEIGHTS}",
                    max_expansion,
                )
        except DamagedFileError:
            raise
        # Errors of a damaged zip file: BadZipFile, EOFError,
        # NotImplementedError ...
        except Exception as error:
            raise not_whole(path, error) from error
    return name


def not_whole(path: str | os.PathLike, error: Exception) -> DamagedFileError:
    """What to raise for a file that Keras cannot load."""
    return DamagedFileError(path, WHOLE, brief(error))


def brief(error: Exception) -> str:
    """The kind and the first line of an error."""
    return f"{type(error).__name__}: {str(error).split(chr(10), 1)[0]:.200}"


def _check_members(archive, archive_size, path, max_expansion):
    members = {member.filename: member for member in archive.infolist()}
    for name in (CONFIG, WEIGHTS):
        if name not in members:
            raise DamagedFileError(
                path, f"a .keras file with {name}", f"{', '.join(members):.80}"
            )
    for name in members:
        # Keras writes the files of `assets` to a temporary folder.
        if name not in (CONFIG, WEIGHTS, "metadata.json"):
            raise DamagedFileError(
                path, f"only {CONFIG}, {WEIGHTS} and metadata.json", name
            )
    for name, member in members.items():
        packed = min(member.compress_size, archive_size)
        most = LARGEST_JSON
        if name == WEIGHTS:
            most = int(max_expansion * packed) + SMALL
        if member.file_size > most:
            raise DamagedFileError(
                f"{path}:{name}",
                f"at most {most:,} bytes",
                f"{member.file_size:,} bytes",
            )


def _vocabulary_size(vocabulary):
    """Of an argument, serialized or not: words, a preprocessor, a number."""
    if isinstance(vocabulary, dict):
        vocabulary = vocabulary.get("config", {}).get("vocabulary", ())
    if isinstance(vocabulary, int):
        return vocabulary
    return len(vocabulary) if hasattr(vocabulary, "__len__") else 0


def _widths(config):
    """Names and values of what tells the size of a layer, at any depth."""
    for name, value in config.items():
        if isinstance(value, (list, tuple)):
            value = dict(enumerate(value))
        if isinstance(value, dict):
            yield from _widths({str(k): x for k, x in value.items()})
        elif isinstance(value, int) and name.endswith(
            ("dim", "_size", "units")
        ):
            yield name, value
