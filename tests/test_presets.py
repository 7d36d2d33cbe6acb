import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import types

import h5py
import keras
import numpy as np
import pytest
from keras import ops

import keras_hvae
from keras_hvae import HVAE
from keras_hvae.files import DamagedFileError
from keras_hvae.presets import preset as presets
from keras_hvae.presets import preset_files
from keras_hvae.presets.preset import load_preset, save_preset
from keras_hvae.text import Preprocessor

WORDS = ["yes", "no", "king", ".", "?"]
FILES = ["README.md", "config.json", "model.weights.h5", "vocabulary.txt"]


@keras.saving.register_keras_serializable("test_presets")
class OtherHVAE(HVAE):
    pass


@pytest.fixture(scope="module")
def saved(make_hvae, tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets") / "tiny"
    save_preset(make_hvae(WORDS), folder)
    return folder


@pytest.fixture
def preset(saved, tmp_path):
    """A preset to spoil."""
    return pathlib.Path(shutil.copytree(saved, tmp_path / "tiny"))


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    """A folder in the place of the package's own presets."""
    root = tmp_path / "shipped"
    root.mkdir()
    monkeypatch.setattr(preset_files, "PRESETS", root)
    return root


def read_sums(folder):
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    return {line[66:]: line[:64] for line in lines}


def write_sums(folder, sums):
    text = "".join(f"{sha}  {name}\n" for name, sha in sums.items())
    (folder / "SHA256SUMS").write_text(text)


def assert_same_weights(model, other, **tolerances):
    assert [w.path for w in model.weights] == [w.path for w in other.weights]
    for x, y in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(x, y, **{"rtol": 0, **tolerances})


@pytest.mark.eager
@pytest.mark.parametrize(
    "vocabulary",
    [20, Preprocessor(["Yes", "ça", "…"], max_words=2)],
    ids=["ids", "preprocessor"],
)
def test_round_trip(make_hvae, make_ids, tmp_path, vocabulary):
    ids = make_ids(vocabulary=7)
    model = make_hvae(
        vocabulary, initial_prior="empirical", transition="gated", seed=3
    )
    model.compile("adam")
    model.fit_initial_prior([ids])
    model.kl_weight.assign(0.25)
    save_preset(model, tmp_path / "preset")
    loaded = load_preset(HVAE, tmp_path / "preset")

    assert type(loaded) is HVAE and not loaded.compiled
    assert loaded.get_config() == model.get_config()
    assert_same_weights(model, loaded)
    assert float(ops.convert_to_numpy(loaded.kl_weight)) == 0.25
    for method, options in (("score", {"seed": 1}), ("encode", {})):
        expected = getattr(model, method)(ids, **options)
        received = getattr(loaded, method)(ids, **options)
        for key, value in expected.items():
            np.testing.assert_array_equal(received[key], value)
    options = {"num_sentences": 2, "max_words": 4, "seed": 1}
    np.testing.assert_array_equal(
        loaded.generate(**options), model.generate(**options)
    )
    if vocabulary == 20:
        assert loaded.preprocessor is None
        assert not (tmp_path / "preset" / "vocabulary.txt").exists()
    else:
        text = [["Yes ça … yes", "ÇA"]]
        np.testing.assert_array_equal(
            loaded.preprocessor(text), model.preprocessor(text)
        )


def test_files(saved):
    found = sorted(path.name for path in saved.iterdir())
    assert found == sorted(["SHA256SUMS", *FILES])
    assert (saved / "vocabulary.txt").read_bytes() == b"yes\nno\nking\n.\n?\n"
    config = json.loads((saved / "config.json").read_text())
    assert config["registered_name"] == "keras_hvae>HVAE"
    assert config["keras_version"] == keras.__version__
    assert config["config"]["vocabulary"]["config"] == {
        "lowercase": True,
        "max_words": None,
    }
    assert read_sums(saved) == {
        name: hashlib.sha256((saved / name).read_bytes()).hexdigest()
        for name in FILES
    }


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="no sha256sum")
def test_sha256sum_reads_the_sums(preset):
    command = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
    run = subprocess.run(command, cwd=preset, capture_output=True, text=True)
    assert run.returncode == 0
    assert run.stdout.splitlines() == [f"{name}: OK" for name in FILES]
    (preset / "vocabulary.txt").write_text("yes\n")
    assert subprocess.run(command, cwd=preset, capture_output=True).returncode


def test_the_same_model_makes_the_same_files(make_hvae, tmp_path):
    model = make_hvae(WORDS)
    for name in ("a", "b"):
        save_preset(model, tmp_path / name)
    assert read_sums(tmp_path / "a") == read_sums(tmp_path / "b")


def test_the_optimizer_stays_out(make_hvae, tmp_path):
    model = make_hvae(WORDS)
    save_preset(model, tmp_path / "plain")
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)
    save_preset(model, tmp_path / "compiled")
    assert read_sums(tmp_path / "plain") == read_sums(tmp_path / "compiled")


def test_float16(make_hvae, tmp_path):
    model = make_hvae(9000, embedding_dim=64)  # compressed
    model.kl_weight.assign(0.1)
    save_preset(model, tmp_path / "half", dtype="float16")
    with h5py.File(tmp_path / "half" / "model.weights.h5") as file:
        dtypes = set()
        file.visititems(lambda _, x: dtypes.add(getattr(x, "dtype", None)))
    assert dtypes == {None, np.dtype("float16")}
    loaded = load_preset(HVAE, tmp_path / "half")
    for x, y in zip(model.get_weights(), loaded.get_weights(), strict=True):
        assert y.dtype == x.dtype == np.float32
        np.testing.assert_array_equal(x.astype("float16"), y)
    assert_same_weights(model, loaded, rtol=2**-11, atol=2**-25)
    save_preset(model, tmp_path / "whole")
    half, whole = (
        (tmp_path / name / "model.weights.h5").stat().st_size
        for name in ("half", "whole")
    )
    assert half < 0.6 * whole
    assert_same_weights(model, load_preset(HVAE, tmp_path / "whole"))


def test_float16_has_no_room(make_hvae, tmp_path):
    model = make_hvae(WORDS)
    model.emission.token_embedding.embeddings.assign_add(ops.full((9, 4), 7e4))
    with pytest.raises(ValueError, match="`dtype`.*65504.*word_embedding"):
        save_preset(model, tmp_path / "half", dtype="float16")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="`dtype` must be .* 'int8'"):
        save_preset(model, tmp_path / "x", dtype="int8")


def test_model_card(make_hvae, saved, tmp_path):
    card = (saved / "README.md").read_text()
    weights = sum(w.size for w in make_hvae(WORDS).get_weights())
    for text in (f"{weights:,} weights", "vocabulary of 9", "| `prior` |"):
        assert text in card
    save_preset(make_hvae(WORDS), tmp_path / "x", model_card="# Größe\n")
    assert (tmp_path / "x" / "README.md").read_bytes() == "# Größe\n".encode()
    load_preset(HVAE, tmp_path / "x")
    with pytest.raises(ValueError, match="`model_card` must be"):
        save_preset(make_hvae(WORDS), tmp_path / "x", model_card=b"x")


def test_a_preset_is_replaced_whole(make_hvae, preset):
    (preset / "notes.txt").write_text("old")
    save_preset(make_hvae(20), preset)
    assert load_preset(HVAE, preset).preprocessor is None
    assert not (preset / "notes.txt").exists()
    assert list(preset.parent.iterdir()) == [preset]


def test_an_empty_folder_will_do(make_hvae, tmp_path):
    save_preset(make_hvae(20), tmp_path)
    assert load_preset(HVAE, tmp_path).vocabulary_size == 20


@pytest.mark.parametrize("loses_its_folder", [False, True])
def test_a_stop_leaves_the_old(
    make_hvae, preset, monkeypatch, loses_its_folder
):
    def stop(folder):
        if loses_its_folder:  # so that the last renaming fails
            shutil.rmtree(folder)
        else:
            raise KeyboardInterrupt

    before = read_sums(preset)
    monkeypatch.setattr(presets, "write_sums", stop)
    with pytest.raises((KeyboardInterrupt, FileNotFoundError)):
        save_preset(make_hvae(20), preset)
    assert read_sums(preset) == before
    assert list(preset.parent.iterdir()) == [preset]
    assert load_preset(HVAE, preset).vocabulary_size == 9


def test_what_is_no_preset_is_not_replaced(make_hvae, tmp_path):
    model = make_hvae(20)
    notes = tmp_path / "folder" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    for path in (notes.parent, notes):
        with pytest.raises(ValueError, match="`folder` must be .* Received: "):
            save_preset(model, path)
    assert notes.read_text() == "mine"
    with pytest.raises(FileNotFoundError, match="no"):
        save_preset(model, tmp_path / "no" / "folder")


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_checked(preset, name):
    sums = read_sums(preset)
    content = (preset / name).read_bytes()
    altered = content[:-1] + bytes([content[-1] ^ 1])
    for spoiled in (altered, content[:-1], b""):
        (preset / name).write_bytes(spoiled)
        digest = hashlib.sha256(spoiled).hexdigest()
        message = (
            f"{preset / name}: expected the SHA-256 {sums[name]}. "
            f"Received: {digest}, of {len(spoiled)} bytes"
        )
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            load_preset(HVAE, preset)
    (preset / name).unlink()
    with pytest.raises(ValueError, match=f"{name}: expected .* no such file"):
        load_preset(HVAE, preset)


def test_the_list_is_checked(preset):
    sums = read_sums(preset)
    for name in ("config.json", "model.weights.h5", "vocabulary.txt"):
        write_sums(preset, {k: v for k, v in sums.items() if k != name})
        with pytest.raises(ValueError, match=f"expected a line for {name}"):
            load_preset(HVAE, preset)
    write_sums(preset, {**sums, "more.bin": "0" * 64})
    with pytest.raises(ValueError, match="more.bin: expected .* no such file"):
        load_preset(HVAE, preset)
    for bad in ("../tiny/README.md", ""):
        write_sums(preset, {**sums, bad: sums["README.md"]})
        with pytest.raises(ValueError, match="SHA256SUMS: expected .*Received"):
            load_preset(HVAE, preset)
    write_sums(preset, {})
    with pytest.raises(ValueError, match="only an empty file"):
        load_preset(HVAE, preset)
    (preset / "SHA256SUMS").unlink()
    with pytest.raises(ValueError, match="folder with a SHA256SUMS"):
        load_preset(HVAE, preset)


def test_a_file_more_in_the_list_is_checked_too(preset):
    (preset / "LICENSE").write_text("any")
    digest = hashlib.sha256(b"any").hexdigest()
    write_sums(preset, {**read_sums(preset), "LICENSE": digest})
    load_preset(HVAE, preset)
    (preset / "LICENSE").write_text("other")
    with pytest.raises(ValueError, match="LICENSE: expected the SHA-256"):
        load_preset(HVAE, preset)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"[]", "a JSON object"),
        ("config.json", b"{", "JSON"),
        ("config.json", b"\xff", "JSON"),
        ("config.json", b"{}", "registered_name"),
        (
            "config.json",
            b'{"registered_name": ["x"], "config": {}}',
            "registered_name",
        ),
        (
            "config.json",
            b'{"registered_name": "keras_hvae>HVAE", "config": {}}',
            "vocabulary",
        ),
        (
            "config.json",
            b'{"registered_name": "keras_hvae>HVAE", "config": '
            b'{"vocabulary": 9, "prior": 1, "latent_dim": 2}}',
            "arguments of HVAE",
        ),
        ("vocabulary.txt", b"\xff\n", "UTF-8"),
        ("vocabulary.txt", b"yes\nyes\n", "each once"),
        ("vocabulary.txt", b"yes\n\nno\n", "a word a line"),
        ("model.weights.h5", b"no", "an HDF5 file"),
        ("SHA256SUMS", b"\0" * 2**21, "bytes"),
    ],
)
def test_damage_that_the_sums_agree_with(preset, name, content, message):
    (preset / name).write_bytes(content)
    if name != "SHA256SUMS":
        digest = hashlib.sha256(content).hexdigest()
        write_sums(preset, {**read_sums(preset), name: digest})
    with pytest.raises(DamagedFileError, match=message) as raised:
        load_preset(HVAE, preset)
    assert str(raised.value).startswith(f"{preset / name}: expected ")
    # With arguments of one's own as well.
    with pytest.raises(DamagedFileError):
        load_preset(HVAE, preset, word_dropout=0.5)


def test_weights_of_another_model(make_hvae, preset, tmp_path):
    save_preset(make_hvae(WORDS, hidden_dim=5), tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.weights.h5", preset)
    digest = hashlib.sha256((preset / "model.weights.h5").read_bytes())
    sums = {**read_sums(preset), "model.weights.h5": digest.hexdigest()}
    write_sums(preset, sums)
    with pytest.raises(DamagedFileError, match="the weights of this HVAE"):
        load_preset(HVAE, preset)


def test_names_of_shipped_presets(saved, shipped, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"\(none in this .*'hvae_tiny_en'"):
        load_preset(HVAE, "hvae_tiny_en")
    for name in ("hvae_tiny_en", "hvae_other_en"):
        shutil.copytree(saved, shipped / name)
    (shipped / "no_preset").mkdir()
    assert preset_files.known_presets() == ["hvae_other_en", "hvae_tiny_en"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hvae_tiny_en").mkdir()  # the shipped one goes first
    assert list(load_preset(HVAE, "hvae_tiny_en").preprocessor)[4:] == WORDS
    for unknown in ("hvae_tiny", "no_preset", tmp_path / "no"):
        with pytest.raises(ValueError, match="hvae_other_en, hvae_tiny_en in"):
            load_preset(HVAE, unknown)


def test_classes_and_methods(make_hvae, saved, tmp_path):
    with pytest.raises(
        ValueError,
        match="test_presets>OtherHVAE. Received: .*tiny.*keras_hvae>HVAE",
    ):
        load_preset(OtherHVAE, saved)
    model = OtherHVAE(WORDS, 2, 4, 6)
    model.save_to_preset(tmp_path / "x", "# A card\n", dtype="float16")
    loaded = OtherHVAE.from_preset(str(tmp_path / "x"), word_dropout=0.125)
    assert type(loaded) is OtherHVAE
    assert loaded.get_config()["word_dropout"] == 0.125
    assert_same_weights(model, loaded, rtol=2**-11, atol=2**-25)
    assert type(load_preset(HVAE, tmp_path / "x")) is OtherHVAE


# Keras warns of, then raises for, what does not fit.
@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_overrides(saved):
    model = load_preset(HVAE, saved, dropout=0.25, kl_weight=0.5)
    assert model.get_config()["dropout"] == 0.25
    assert float(ops.convert_to_numpy(model.kl_weight)) == 0.5
    with pytest.raises(ValueError, match="`vocabulary` must be left out"):
        load_preset(HVAE, saved, vocabulary=WORDS)
    for wrong in ({"hidden_dim": 5}, {"transition": "sum"}):
        with pytest.raises(ValueError, match="could not be loaded"):
            load_preset(HVAE, saved, **wrong)


def test_hugging_face_hub(saved, monkeypatch):
    hub = types.ModuleType("huggingface_hub")
    hub.snapshot_download = {"some/repo": str(saved)}.__getitem__
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert load_preset(HVAE, "hf://some/repo").vocabulary_size == 9
    for bad in ("hf://", "hf://repo", "hf://some/repo/more"):
        with pytest.raises(ValueError, match=f"form .* Received: '{bad}'"):
            load_preset(HVAE, bad)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"keras-hvae\[hub\]"):
        load_preset(HVAE, "hf://some/repo")


def test_what_a_stop_between_two_renames_leaves_is_read(preset):
    before = load_preset(HVAE, preset).get_weights()
    preset.rename(f"{preset}.old")
    with pytest.warns(UserWarning, match=r"a stop has left .*tiny\.old"):
        after = load_preset(HVAE, preset).get_weights()
    for x, y in zip(before, after, strict=True):
        np.testing.assert_array_equal(x, y)
    with pytest.warns(UserWarning, match="a stop has left"):
        assert keras_hvae.load_model(f"{preset}/").vocabulary_size


def test_a_config_without_sums_is_a_damaged_preset(preset):
    (preset / "SHA256SUMS").unlink()
    with pytest.raises(DamagedFileError, match="a folder with a SHA256SUMS"):
        keras_hvae.load_model(preset)
