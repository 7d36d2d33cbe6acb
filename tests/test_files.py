import json
import os
import pathlib
import pickle
import signal
import stat
import subprocess
import sys

import pytest

from keras_hvae import files
from keras_hvae.files import (
    DamagedFileError,
    free_sibling,
    read_json,
    write_folder,
    write_json,
    write_whole,
)


def test_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    assert json.loads(path.read_text()) == {"a": 1}
    with pytest.raises(KeyboardInterrupt), write_whole(path) as temporary:
        assert temporary.suffix == ".json"
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_for_everyone_that_the_umask_allows(tmp_path):
    old = os.umask(0o022)
    try:
        write_json(tmp_path / "x.json", [])
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "x.json").stat().st_mode) == 0o644


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no"):
        write_json(tmp_path / "no" / "x.json", [])


def test_damage_names_file_and_cause_in_another_process_too():
    path = pathlib.Path("folder") / "x.npz"
    error = DamagedFileError(path, "a zip file", "an empty file")
    for same in (error, pickle.loads(pickle.dumps(error))):
        assert isinstance(same, ValueError)
        assert str(same) == (
            f"{path}: expected a zip file. Received: an empty file"
        )
        assert same.path == str(path)


def test_a_folder_is_replaced_whole(tmp_path):
    folder = tmp_path / "m"
    for text in ("one", "two"):
        with write_folder(folder) as new:
            (new / text).write_text(text)
        assert [x.name for x in folder.iterdir()] == [text]
    old = os.umask(0o022)
    os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~old
    with pytest.raises(KeyboardInterrupt), write_folder(folder) as new:
        (new / "three").write_text("half")
        raise KeyboardInterrupt
    assert [x.name for x in folder.iterdir()] == ["two"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("at_once", "renamings", "found"),
    [
        # Where the system lets both change places.
        (True, 0, {"m": "new", "new": "m"}),
        (True, 1, {"m": "new", "m.old": "m"}),
        # Elsewhere.
        (False, 1, {"m.old": "m", "new": "new"}),
        (False, 2, {"m.old": "m", "m": "new"}),
    ],
)
def test_a_kill_while_folders_change_places(
    tmp_path, at_once, renamings, found
):
    code = f"""
import os, pathlib, signal, sys, types
# The package without Keras, which takes seconds to import.
sys.modules["keras_hvae"] = package = types.ModuleType("keras_hvae")
package.__path__ = [{os.path.dirname(files.__file__)!r}]
from keras_hvae import files
exchange, rename = files._exchange, pathlib.Path.rename
left = {renamings}
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
def exchanging(one, other):
    changed = {at_once} and exchange(one, other)
    assert changed == {at_once}
    if not left:
        kill()
    return changed
def renaming(self, target):
    global left
    rename(self, target)
    left -= 1
    if not left:
        kill()
files._exchange, pathlib.Path.rename = exchanging, renaming
files.replace_folder("new", "m")
"""
    for name in ("m", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text").write_text(name)
    killed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL
    now = {x.name: (x / "text").read_text() for x in tmp_path.iterdir()}
    assert now == found


def test_a_name_that_nobody_has(tmp_path):
    names = []
    for _ in range(3):
        path = free_sibling(tmp_path / "m", "old")
        path.mkdir()
        names.append(path.name)
    assert names == ["m.old", "m.old-2", "m.old-3"]


def test_json_that_is_none(tmp_path):
    path = tmp_path / "x.json"
    for text in ("", "[1]", "{", "1" * 5000, "[" * 10**5, "\x00"):
        path.write_text(text)
        with pytest.raises(DamagedFileError, match="x.json: expected"):
            read_json(path)
    path.write_text('{"a": 1}')
    assert read_json(path) == {"a": 1}
    with pytest.raises(DamagedFileError, match="at most 7 bytes. .* 8 bytes"):
        read_json(path, largest=7)
