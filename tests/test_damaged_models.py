import json
import re
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest

import keras_hvae
from keras_hvae import GRULM, HRED, HVAE, VHCR, VHRED, FlatVAE
from keras_hvae.checksums import write_sums
from keras_hvae.emissions import BernoulliEmission
from keras_hvae.files import DamagedFileError
from keras_hvae.presets.sizes import check_archive

pytestmark = pytest.mark.eager
WORDS = ["yes", "no", "king", ".", "?"]


@pytest.fixture(scope="module")
def saved(make_hvae, tmp_path_factory):
    path = tmp_path_factory.mktemp("loading") / "m.keras"
    make_hvae(WORDS).save(path)
    return path


@pytest.fixture
def spoil(saved, tmp_path):
    """Writes the file anew, with other members, and returns its path."""

    def write(compression=zipfile.ZIP_STORED, **others):
        path = tmp_path / "spoiled.keras"
        with zipfile.ZipFile(saved) as source:
            members = {x: source.read(x) for x in source.namelist()}
        members["config.json"] = others.get("config", members["config.json"])
        members["model.weights.h5"] = others.get(
            "weights", members["model.weights.h5"]
        )
        with zipfile.ZipFile(path, "w", compression) as target:
            for name, data in members.items():
                if data is not None:
                    target.writestr(name, data)
        return path

    return write


def config_of(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


@pytest.mark.slow
@pytest.mark.parametrize("cls", [HVAE, FlatVAE, GRULM, HRED, VHRED, VHCR])
@pytest.mark.parametrize("softmax", ["full", "class"])
def test_loads_every_model(make_model, tmp_path, cls, softmax):
    model = make_model(cls, WORDS, softmax=softmax)
    model.save(tmp_path / "model.keras")
    for path in (tmp_path / "model.keras", str(tmp_path)):
        loaded = keras_hvae.load_model(path)
        for x, y in zip(model.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(x, y)
    model.save_to_preset(tmp_path / "preset")
    loaded = keras_hvae.load_model(tmp_path / "preset")
    assert type(loaded) is cls


def test_a_model_of_large_vocabulary_and_narrow_words_is_no_damage(tmp_path):
    model = HVAE(30_000, 8, 4, 64, softmax="adaptive")
    model.save(tmp_path / "m.keras")
    assert check_archive(tmp_path / "m.keras", HVAE) == "keras_hvae>HVAE"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latent_dim", 10**9),
        ("embedding_dim", 10**9),
        ("hidden_dim", 10**6),
        ("decoder_dim", 10**6),
        ("vocabulary", 10**9),
    ],
)
def test_a_model_larger_than_its_weights_is_not_built(
    saved, spoil, tmp_path, monkeypatch, name, value
):
    # Whatever it would build is too large for this machine.
    monkeypatch.setattr(HVAE, "__init__", None)
    config = config_of(saved)
    config["config"][name] = value
    path = spoil(config=json.dumps(config))
    message = f"{path}:config.json: expected `{name}` of at most "
    with pytest.raises(DamagedFileError, match=re.escape(message)):
        keras_hvae.load_model(path)


def test_frames_larger_than_the_weights_are_not_built(tmp_path, monkeypatch):
    path = tmp_path / "frames.keras"
    HVAE(emission=BernoulliEmission(3, 4), latent_dim=2).save(path)
    assert type(keras_hvae.load_model(path)) is HVAE
    config = json.dumps(config_of(path))
    large = config.replace('"dim": 3', f'"dim": {10**9}')
    assert large != config
    with zipfile.ZipFile(path) as source:
        weights = source.read("model.weights.h5")
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("config.json", large)
        target.writestr("model.weights.h5", weights)
    monkeypatch.setattr(HVAE, "__init__", None)
    with pytest.raises(DamagedFileError, match="`dim` of at most"):
        keras_hvae.load_model(path)


def test_a_preset_larger_than_its_weights_is_not_built(
    make_hvae, tmp_path, monkeypatch
):
    make_hvae(WORDS).save_to_preset(tmp_path / "p")
    path = tmp_path / "p" / "config.json"
    saved = json.loads(path.read_text())
    saved["config"]["latent_dim"] = 10**9
    path.write_text(json.dumps(saved))
    (tmp_path / "p" / "SHA256SUMS").unlink()
    write_sums(tmp_path / "p")
    monkeypatch.setattr(HVAE, "__init__", None)
    with pytest.raises(DamagedFileError, match="config.json: .*`latent_dim`"):
        keras_hvae.load_model(tmp_path / "p")


def test_weights_that_are_not_stored_are_not_believed(saved, spoil, tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("x", (10**9, 4), "float32", chunks=(1000, 4))
    weights = (tmp_path / "w.h5").read_bytes()
    config = config_of(saved)
    config["config"]["latent_dim"] = 10**9
    path = spoil(config=json.dumps(config), weights=weights)
    with pytest.raises(DamagedFileError, match="16,000,000,000 bytes"):
        keras_hvae.load_model(path)


def test_many_weights_do_not_make_an_even_larger_model(saved, spoil, tmp_path):
    # Long, but only one number wide.
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["x"] = np.random.default_rng(0).standard_normal((10**5, 1))
    config = config_of(saved)
    config["config"]["hidden_dim"] = 10**5
    weights = (tmp_path / "w.h5").read_bytes()
    path = spoil(config=json.dumps(config), weights=weights)
    with pytest.raises(DamagedFileError, match="expected a model of about"):
        keras_hvae.load_model(path)


def test_a_bomb_is_not_unpacked(spoil):
    bomb = spoil(zipfile.ZIP_DEFLATED, config=b" " * 10**8)
    with pytest.raises(DamagedFileError, match="m.*config.json: .* 100,000,0"):
        keras_hvae.load_model(bomb)
    large = spoil(config=b" " * (2**24 + 1))
    with pytest.raises(DamagedFileError, match="at most 16,777,216 bytes"):
        keras_hvae.load_model(large)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"config": b"[]"}, "config.json: expected a JSON object"),
        ({"config": b"{"}, "config.json: expected JSON"),
        ({"config": b"[" * 10**5}, "config.json: expected JSON"),
        ({"config": b"{}"}, "registered_name"),
        (
            {"config": b'{"registered_name": "keras_hvae>HVAE", "config": {}}'},
            "with a vocabulary",
        ),
        ({"config": None}, "with config.json"),
        ({"weights": None}, "with model.weights.h5"),
        ({"weights": b"no weights"}, "model.weights.h5: expected an HDF5"),
    ],
)
def test_damaged_members(spoil, members, message):
    path = spoil(**members)
    with pytest.raises(DamagedFileError, match=message) as raised:
        keras_hvae.load_model(path)
    assert str(raised.value).startswith(str(path))


@pytest.mark.parametrize(
    "change",
    [
        {"vocabulary": {"class_name": "Preprocessor"}},
        {"vocabulary": {"config": [1]}},
        {"vocabulary": [1, 2]},
        {"vocabulary": None},
        {"transition": 5},
        {"dropout": "much"},
        {"hidden_dim": 5},
        {"latent_dim": None},
        {"more": 1},
    ],
)
def test_damaged_arguments(saved, spoil, change):
    config = config_of(saved)
    config["config"].update(change)
    with pytest.raises(DamagedFileError, match="spoiled.keras"):
        keras_hvae.load_model(spoil(config=json.dumps(config)))


@pytest.mark.slow
def test_every_cut_and_many_flips_are_one_error(saved, tmp_path):
    whole = saved.read_bytes()
    path = tmp_path / "m.keras"
    rng = np.random.default_rng(0)
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedFileError, match=str(path)):
            keras_hvae.load_model(path)
    for place in rng.integers(0, len(whole), 10):
        flipped = bytearray(whole)
        flipped[place] ^= 255
        path.write_bytes(flipped)
        # A checksum of zip covers all but the names of members' dates.
        try:
            keras_hvae.load_model(path)
        except DamagedFileError:
            pass


def test_a_missing_model_tells_what_is_beside(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="hvae_small_shakespeare_en"):
        keras_hvae.load_model(tmp_path / "m")
    (tmp_path / "m.old").mkdir()
    shutil.copy(saved, tmp_path / "m.old" / "model.keras")
    (tmp_path / "m").mkdir()
    for path in (tmp_path / "m", tmp_path / "m" / "model.keras"):
        with pytest.raises(FileNotFoundError, match="There is .*m.old"):
            keras_hvae.load_model(path)


def test_another_model_is_not_built(tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.save(tmp_path / "other.keras")
    monkeypatch.setattr(keras.Sequential, "__init__", None)
    with pytest.raises(ValueError, match="other.keras.*Received: .*Sequential"):
        keras_hvae.load_model(tmp_path / "other.keras")


@pytest.mark.parametrize("config", [[], 3, None, {"tokenizer": 5}])
def test_a_presets_vocabulary_of_damaged_arguments(make_hvae, tmp_path, config):
    folder = tmp_path / "preset"
    make_hvae(WORDS).save_to_preset(folder)
    path = folder / "config.json"
    saved = json.loads(path.read_text())
    saved["config"]["vocabulary"]["config"] = config
    path.write_text(json.dumps(saved))
    (folder / "SHA256SUMS").unlink()
    write_sums(folder)
    with pytest.raises(DamagedFileError, match=re.escape(str(folder))):
        HVAE.from_preset(folder)
