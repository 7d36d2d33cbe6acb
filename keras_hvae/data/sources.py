"""The documents of a corpus, wherever it is kept.

A source is turned into a dictionary from the names of its splits to functions
that start to read the split anew. The key `"all"` stands for documents that
are not split yet. Documents without any sentence come as empty lists.
"""

import collections.abc
import os
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from keras_hvae.data import memory, reading
from keras_hvae.files import EXPANSION_RATIO, check_inside, check_regular

SPLITS = ("train", "valid", "test")
_ALIASES = {"validation": "valid"}  # as Hugging Face's datasets have it

_SPLIT_NAME = re.compile(
    r"(train(?:ing)?|val(?:id(?:ation)?)?|dev|test(?:ing)?)(?![a-z])"
)
_SPLIT_OF = {"tra": "train", "val": "valid", "dev": "valid", "tes": "test"}


def resolve(
    source: Any,
    key: str,
    data_dir: str | os.PathLike | None,
    max_expansion: float = EXPANSION_RATIO,
) -> tuple[str, Mapping[str, Callable]]:
    """Finds the documents of a corpus.

    Args:
        source: what `load` was given.
        key: where the sentences of a document are.
        data_dir: where TensorFlow Datasets keeps its files, or `None`.
        max_expansion: of a compressed file; see `load`.

    Returns:
        A name for the corpus and the functions to read its splits with.
    """
    if isinstance(source, collections.abc.Mapping):
        named = {_ALIASES.get(name) or name: x for name, x in source.items()}
        unknown = [name for name in named if name not in SPLITS]
        if unknown or len(named) < len(source):
            raise ValueError(
                f"`source` must have the keys {', '.join(SPLITS)} only, each "
                f"once. Received: {list(source)}"
            )
        return "memory", {
            name: memory.resolve(documents, key, f"{name} ")
            for name, documents in named.items()
        }
    if not isinstance(source, (str, os.PathLike)):
        return "memory", {"all": memory.resolve(source, key)}
    path = pathlib.Path(source)
    if path.is_dir():
        return path.resolve().name, _in_directory(path, key, max_expansion)
    if os.path.lexists(path):
        reading.open_documents(path)  # Raises for an unknown suffix right away.
        return path.name, {"all": _Files([path], key, max_expansion)}
    if isinstance(source, os.PathLike) or not re.fullmatch(
        r"\w[\w:/-]*(:[\d.*]+)?", source
    ):
        raise FileNotFoundError(
            "`source` must be a file or a directory that exists. Received: "
            f"{path}"
        )
    from keras_hvae.data import tfds

    return source, tfds.resolve(source, key, data_dir)


def split_name(name: str) -> str | None:
    """Returns which split a file or a TFDS split is by its name, or `None`."""
    match = _SPLIT_NAME.match(name.lower())
    return _SPLIT_OF[match[0][:3]] if match else None


class _Files:
    """A function that starts to read the documents of files."""

    def __init__(self, paths, key, max_expansion):
        self.paths, self._key = paths, key
        self._max_expansion = max_expansion

    def __call__(self):
        for path in self.paths:
            yield from reading.open_documents(
                path, self._key, max_expansion=self._max_expansion
            )


def _in_directory(directory, key, max_expansion):
    paths = sorted(
        path
        for path in directory.iterdir()
        if reading.corpus_suffix(path).removeprefix(".") in reading.PARSERS
        and not path.name.startswith(".")
        and not path.is_dir()
    )
    if not paths:
        raise ValueError(
            "`source` must hold .txt or .jsonl files, compressed or not. "
            f"Received: {directory} with none"
        )
    named = {}
    for path in paths:
        check_regular(path)
        check_inside(path, directory)
        named.setdefault(split_name(path.name), []).append(path)
    named.pop(None, None)
    return {
        name: _Files(paths, key, max_expansion)
        for name, paths in (named or {"all": paths}).items()
    }
