"""Where presets are, and folders of files with their SHA-256."""

import contextlib
import hashlib
import os
import pathlib
import re
import tempfile

from keras_hvae.files import check_folder

PRESETS = pathlib.Path(__file__).parents[1] / "presets"
CONFIG_FILE = "config.json"
VOCABULARY_FILE = "vocabulary.txt"
WEIGHTS_FILE = "model.weights.h5"
CARD_FILE = "README.md"
SUMS_FILE = "SHA256SUMS"


def known_presets():
    """Names of the presets that are shipped with the package."""
    return sorted(path.parent.name for path in PRESETS.glob(f"*/{SUMS_FILE}"))


def is_preset(name):
    """Whether it is the name of a shipped preset, a preset folder, or hf://."""
    name = os.fspath(name)
    return (
        name in known_presets()
        or name.startswith("hf://")
        or pathlib.Path(name, SUMS_FILE).is_file()
    )


def find_preset(preset):
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


@contextlib.contextmanager
def write_folder(folder):
    """Yields a temporary folder beside `folder`, renamed to it at the end.

    If the body fails, what was at `folder` stays.

    Args:
        folder: path. Nothing may be there, an empty folder, or a preset,
            which is then replaced.

    Raises:
        FileNotFoundError: if the folder to write in does not exist.
        ValueError: if there is something else at `folder`.
    """
    folder = pathlib.Path(folder).resolve()
    check_folder(folder)
    _check_replaceable(folder)
    with tempfile.TemporaryDirectory(
        prefix=f".{folder.name}-", dir=folder.parent
    ) as work:
        new, old = pathlib.Path(work, "new"), pathlib.Path(work, "old")
        new.mkdir()
        yield new
        try:
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
        except BaseException:
            if old.exists() and not folder.exists():
                old.rename(folder)
            raise


def _check_replaceable(folder):
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


def write_sums(folder):
    """Writes `SHA256SUMS` of the files of `folder`, for `sha256sum -c`."""
    lines = [
        f"{_sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir())
    ]
    (folder / SUMS_FILE).write_bytes("".join(lines).encode())


def check_sums(folder):
    """Compares the files of `folder` with its `SHA256SUMS`.

    Returns:
        The names of the files in the list. No other file is to be read.

    Raises:
        ValueError: if there is no list, if it cannot be read, or if a file in
            it is missing or another.
    """
    path = folder / SUMS_FILE
    if not path.is_file():
        raise ValueError(
            f"`preset` must be a folder with a {SUMS_FILE}. "
            f"Received: {str(folder)!r} without"
        )
    names = set()
    for line in path.read_bytes().decode(errors="replace").splitlines():
        match = re.fullmatch(r"([0-9a-f]{64}) [ *]([^/\\]+)", line)
        if not match or match[2] in names:
            raise ValueError(
                f"{path}: expected a SHA-256, two spaces and the name of a "
                f"file of this folder, each once. Received: {line[:100]!r}"
            )
        expected, name = match.groups()
        names.add(name)
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder / name}: expected a file with the SHA-256 "
                f"{expected}. Received: no such file"
            )
        received = _sha256(folder / name)
        if received != expected:
            raise ValueError(
                f"{folder / name}: expected the SHA-256 {expected}. "
                f"Received: {received}, of "
                f"{(folder / name).stat().st_size} bytes"
            )
    return names


def check_listed(folder, names, *required):
    """Raises `ValueError` unless all `required` are in the list `names`."""
    for name in required:
        if name not in names:
            raise ValueError(
                f"{folder / SUMS_FILE}: expected a line for {name}. "
                f"Received: only {', '.join(sorted(names)) or 'an empty file'}"
            )


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
