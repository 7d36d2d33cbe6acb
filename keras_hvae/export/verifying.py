"""Whether an exported version is whole."""

import json
import os
import pathlib

from keras_hvae.checksums import SUMS_FILE, check_listed, check_sums
from keras_hvae.export.publishing import versions
from keras_hvae.export.savedmodel import SIDECAR

SAVED_MODEL = "saved_model.pb"


def verify(path: str | os.PathLike) -> dict[str, dict]:
    """Checks exported versions against their SHA-256 sums.

    Args:
        path: folder of a version, or of a model with its versions.

    Returns:
        Dict from each version's folder to its sidecar, a dict.

    Raises:
        ValueError: if a file is missing, altered, or not in the list, naming
            it, or if there is no version.

    Example:

    >>> verify("saved_models/none")
    Traceback (most recent call last):
    ValueError: ... no version ...
    """
    path = pathlib.Path(path)
    if (path / SUMS_FILE).is_file() or (path / SAVED_MODEL).is_file():
        folders = [path]
    else:
        folders = [path / str(x) for x in versions(path)]
    if not folders:
        raise ValueError(
            "`path` must be the folder of a version, or of a model with its "
            f"versions. Received: {str(path)!r}, with no version in it"
        )
    return {str(folder): _verify(folder) for folder in folders}


def _verify(folder):
    names = check_sums(folder)
    check_listed(folder, names, SAVED_MODEL, SIDECAR)
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        if file.is_file() and name not in names and name != SUMS_FILE:
            raise ValueError(
                f"{folder / SUMS_FILE}: expected a line for every file. "
                f"Received: none for {name}"
            )
    return json.loads((folder / SIDECAR).read_text("utf-8"))
