import json
import os
import pathlib
import pickle
import stat

import pytest

from keras_hvae.files import DamagedFileError, write_json, write_whole


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
