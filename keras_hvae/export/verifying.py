"""Whether an exported version is whole."""

import os
import pathlib

from keras_hvae.export.publishing import versions
from keras_hvae.whole_files import SAVED_MODEL, SUMS_FILE, check_version


def verify(path: str | os.PathLike) -> dict[str, dict]:
    """Checks exported versions against their SHA-256 sums.

    A server that is made of `examples/serving/served_model.py` does the same
    before it loads a version. The sums tell damage; of a version from someone
    whom you do not trust they tell nothing, as its sender wrote them, too. The
    graph must have no operation that reaches files or runs Python. All the
    same a SavedModel is a program: run it only if you trust its sender.

    Args:
        path: folder of a version, or of a model with its versions.

    Returns:
        Dict from each version's folder to its sidecar, a dict.

    Raises:
        DamagedFileError: a `ValueError`, too, if a file is missing, altered,
            not in the list, a link or no regular file, naming it.
        ValueError: if there is no version.

    Example:

    >>> verify("saved_models/none")
    Traceback (most recent call last):
    ValueError: ... no version ...
    """
    from tensorflow.core.protobuf import saved_model_pb2

    parse = saved_model_pb2.SavedModel.FromString
    path = pathlib.Path(path)
    if any(os.path.lexists(path / x) for x in (SUMS_FILE, SAVED_MODEL)):
        return {str(path): check_version(path, parse)}
    folders = [path / str(x) for x in versions(path)]
    if not folders:
        raise ValueError(
            "`path` must be the folder of a version, or of a model with its "
            f"versions. Received: {str(path)!r}, with no version in it"
        )
    return {str(x): check_version(x, parse, path) for x in folders}
