"""Finds the folders of presets."""

import os
import pathlib
import re
from typing import Any

from keras_hvae.checksums import SUMS_FILE

PRESETS = pathlib.Path(__file__).parent
CONFIG_FILE = "config.json"
VOCABULARY_FILE = "vocabulary.txt"
WEIGHTS_FILE = "model.weights.h5"
CARD_FILE = "README.md"


def known_presets() -> list[str]:
    """Names of the presets that are shipped with the package."""
    return sorted(path.parent.name for path in PRESETS.glob(f"*/{SUMS_FILE}"))


def is_preset(name: Any) -> bool:
    """Whether it is the name of a shipped preset, a preset folder, or hf://."""
    name = os.fspath(name)
    return (
        name in known_presets()
        or name.startswith("hf://")
        or pathlib.Path(name, SUMS_FILE).is_file()
    )


def find_preset(preset: str | os.PathLike) -> pathlib.Path:
    """The folder of a preset.

    Args:
        preset: name of a shipped preset, path of a folder, or
            `"hf://user/repo"`. A shipped preset goes before a folder of the
            same name.

    Returns:
        A `pathlib.Path`.

    Raises:
        ValueError: if there is no such preset.
        ImportError: for `"hf://..."`, if `huggingface_hub` is not installed.
    """
    name = os.fspath(preset)
    known = known_presets()
    if name.startswith("hf://"):
        return _download(name)
    if name in known:
        return PRESETS / name
    if pathlib.Path(name).is_dir():
        return pathlib.Path(name)
    raise ValueError(
        f"`preset` must be the name of a preset ({', '.join(known) or 'none'} "
        'in this package), a folder, or "hf://user/repo". '
        f"Received: {name!r}"
    )


def _download(name):
    if not re.fullmatch(r"hf://[^/]+/[^/]+", name):
        raise ValueError(
            f'`preset` must have the form "hf://user/repo". Received: {name!r}'
        )
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            "`hf://` presets need huggingface_hub: "
            f'pip install "keras-hvae[hub]". Received: {name!r}'
        ) from error
    repo = name.removeprefix("hf://")
    return pathlib.Path(huggingface_hub.snapshot_download(repo))


def check_replaceable(folder: str | os.PathLike) -> None:
    """Raises `ValueError` if there is what is no preset at `folder`."""
    folder = pathlib.Path(folder)
    if not folder.exists():
        return
    found = "a file"
    if folder.is_dir():
        names = sorted(path.name for path in folder.iterdir())
        if not names or {CONFIG_FILE, WEIGHTS_FILE, SUMS_FILE} <= set(names):
            return
        found = f"a folder with {', '.join(names[:5])}"
    raise ValueError(
        "`folder` must be new, empty or a preset to replace. "
        f"Received: {str(folder)!r}, {found}"
    )
