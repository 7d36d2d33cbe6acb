"""Finds the folders of presets."""

import os
import pathlib
import re
import warnings
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
        or _left_behind(name) is not None
        or any(
            os.path.lexists(os.path.join(name, x))
            for x in (SUMS_FILE, CONFIG_FILE)
        )
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
    old = _left_behind(name)
    if old is not None:
        warnings.warn(
            f"{name}: a stop has left the preset that was there at {old}, "
            "which is read.",
            stacklevel=2,
        )
        return old
    raise ValueError(
        f"`preset` must be the name of a preset ({', '.join(known) or 'none'} "
        'in this package), a folder, or "hf://user/repo". '
        f"Received: {name!r}"
    )


def _left_behind(name):
    """What `replace_folder` leaves if it is stopped between its renames."""
    old = pathlib.Path(f"{name.rstrip('/')}.old")
    if os.path.lexists(name) or not (old / SUMS_FILE).is_file():
        return None
    return old


def links_within(
    preset: str | os.PathLike, folder: pathlib.Path
) -> pathlib.Path:
    """The folder that links of a preset's files must not lead out of.

    An installer may link the shipped ones, and the cache of the Hugging Face
    Hub links from `snapshots/REVISION` to `blobs`. All others have no reason
    to lead anywhere.
    """
    if os.fspath(preset) in known_presets():
        return pathlib.Path(folder.anchor or "/")
    if os.fspath(preset).startswith("hf://"):
        return folder.parent.parent
    return folder


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
