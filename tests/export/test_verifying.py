import shutil

import numpy as np
import pytest

from keras_hvae.export import verify


@pytest.fixture
def copy(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "3")


def files(folder):
    return sorted(x for x in folder.rglob("*") if x.is_file())


@pytest.mark.slow
def test_a_flipped_bit_anywhere_is_found(copy):
    rng = np.random.default_rng(0)
    for file in files(copy):
        if file.name == "SHA256SUMS":
            continue
        whole = file.read_bytes()
        for _ in range(3):
            changed = bytearray(whole)
            changed[rng.integers(len(whole))] ^= 1 << rng.integers(8)
            file.write_bytes(changed)
            with pytest.raises(ValueError, match=f"{file.name}: expected"):
                verify(copy)
        file.write_bytes(whole[:-1])
        with pytest.raises(ValueError, match=f"{file.name}: expected"):
            verify(copy)
        file.unlink()
        with pytest.raises(ValueError, match=f"{file.name}: .* no such file"):
            verify(copy)
        file.write_bytes(whole)
    verify(copy)


@pytest.mark.slow
def test_a_file_more_is_found(copy):
    (copy / "variables" / "more").write_text("x")
    with pytest.raises(ValueError, match="none for variables/more"):
        verify(copy)


@pytest.mark.slow
def test_the_list_must_be_there_and_whole(copy):
    sums = copy / "SHA256SUMS"
    lines = sums.read_text().splitlines(keepends=True)
    sums.write_text("".join(x for x in lines if "saved_model.pb" not in x))
    with pytest.raises(ValueError, match="a line for saved_model.pb"):
        verify(copy)
    sums.write_text(lines[0] + "0" * 64 + "  ../3/saved_model.pb\n")
    with pytest.raises(ValueError, match="Received: '000"):
        verify(copy)
    sums.unlink()
    with pytest.raises(ValueError, match="expected a folder with a SHA256SUMS"):
        verify(copy)


@pytest.mark.slow
def test_all_versions_of_a_model(copy):
    shutil.copytree(copy, copy.parent / "12")
    (copy.parent / ".13-half").mkdir()
    assert [x.rpartition("/")[2] for x in verify(copy.parent)] == ["3", "12"]
    (copy.parent / "12" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match="12/saved_model.pb: expected"):
        verify(copy.parent)


@pytest.mark.slow
def test_nothing_to_verify(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ValueError, match="with no version in it"):
            verify(path)
