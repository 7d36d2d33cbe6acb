"""Every file of a stranger is used, or refused with one kind of error."""

import importlib.util
import pathlib
import shutil
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from tensorflow.core.protobuf import saved_model_pb2

import keras_hvae
from keras_hvae import whole_files
from keras_hvae.files import DamagedFileError
from tests import hostile

ROOT = pathlib.Path(__file__).parents[1]
COPY = ROOT / "examples/serving/whole_files.py"
# Each of a hundred files takes little; all of them take minutes.
pytestmark = [pytest.mark.eager, pytest.mark.slow]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    pytest.importorskip("tensorflow")
    return hostile.write_all(tmp_path_factory.mktemp("whole"))


@pytest.fixture(autouse=True)
def in_time():
    """What waits for a pipe's writer would wait for ever."""

    def late(*_):
        raise TimeoutError("It waits.")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", hostile.WHOLE)
def test_a_whole_one_is_used(whole, tmp_path, kind):
    path = hostile.copy(whole[kind], tmp_path / "copy")
    assert hostile.WHOLE[kind][1](path)


@pytest.mark.parametrize(("kind", "name"), hostile.HOSTILE)
def test_a_hostile_one_is_refused(whole, tmp_path, monkeypatch, kind, name):
    path = hostile.copy(whole[kind], tmp_path / "copy")
    hostile.ATTACKS[kind][name](path)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DamagedFileError) as raised:
        hostile.WHOLE[kind][1](path)
    # The file, and the reason.
    assert str(raised.value).startswith(str(path))
    assert ". Received: " in str(raised.value)
    # Nothing was written anywhere: "x.txt" is what the test itself reads.
    after = [x for x in sorted(tmp_path.rglob("*")) if x.name != "x.txt"]
    assert after == before


@pytest.mark.slow
def test_unsafe_deserialization_makes_no_difference(whole, tmp_path):
    path = hostile.copy(whole["model.keras"], tmp_path)
    hostile.MODELS["a Lambda as tokenizer"](path)
    # In a process of its own: Keras has no way back.
    code = (
        "import keras, keras_hvae, sys\n"
        "keras.config.enable_unsafe_deserialization()\n"
        "keras_hvae.load_model(sys.argv[1])\n"
    )
    command = [sys.executable, "-c", code, path]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert said.returncode == 1
    assert "DamagedFileError" in said.stderr and "'Lambda'" in said.stderr


def test_a_h5_model_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(abs)])
    model.save(tmp_path / "m.h5")
    with pytest.raises(DamagedFileError, match="m.h5: expected a whole model"):
        keras_hvae.load_model(tmp_path / "m.h5")


def test_a_zip_that_names_another_class_is_not_built(tmp_path):
    # Of a Lambda in a model of Keras: nothing of it is made.
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(abs)])
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="m.keras: .*Received: a Sequential"):
        keras_hvae.load_model(tmp_path / "m.keras")


def test_servers_check_versions_as_verify_does():
    assert COPY.read_bytes() == pathlib.Path(whole_files.__file__).read_bytes()
    # Without NumPy, Keras or this package.
    code = "import sys; import whole_files; print(*sys.modules)"
    said = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        cwd=COPY.parent,
        check=True,
    )
    assert not {"numpy", "keras", "keras_hvae"} & set(said.stdout.split())


@pytest.mark.parametrize("name", hostile.ATTACKS["exported"])
def test_a_server_refuses_what_verify_refuses(whole, tmp_path, name):
    # Only by the shared check: what it lets through, TensorFlow would load.
    spec = importlib.util.spec_from_file_location("copied", COPY)
    copied = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copied)
    parse = saved_model_pb2.SavedModel.FromString
    path = hostile.copy(whole["exported"], tmp_path / "copy")
    assert copied.check_version(path / "1", parse, path)
    hostile.ATTACKS["exported"][name](path)
    with pytest.raises(copied.DamagedFileError):
        copied.check_version(path / "1", parse, path)


def test_the_folder_of_a_corpus_is_not_left(whole, tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    shutil.copy(whole["documents.txt"], tmp_path / "secret.txt")
    (folder / "train.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(DamagedFileError, match="train.txt: .*leads out of it"):
        keras_hvae.data.load(folder)
    (folder / "train.txt").unlink()
    hostile.special("a pipe", folder / "train.txt")
    with pytest.raises(DamagedFileError, match="train.txt: .*a pipe"):
        keras_hvae.data.load(folder)


def test_ids_of_another_vocabulary_end_the_reading(whole, tmp_path):
    # Known only when they are read, so an error of TensorFlow, which names
    # the file.
    path = hostile.copy(whole["records"], tmp_path)
    hostile.foreign_ids(path)
    with pytest.raises(ValueError, match="sizes|train.tfrecord"):
        try:
            hostile.read_corpus(path)
        except Exception as error:
            raise ValueError(str(error)) from error


def test_links_within_a_folder_are_followed(whole, tmp_path):
    for kind in ("preset", "records"):
        path = hostile.copy(whole[kind], tmp_path / kind)
        (path / ".data").mkdir()
        file = hostile.largest_in(path)
        file.rename(path / ".data" / file.name)
        file.symlink_to(path / ".data" / file.name)
        assert hostile.WHOLE[kind][1](path)


def test_caps_are_raised_by_an_argument(whole, tmp_path):
    path = hostile.copy(whole["documents.jsonl.gz"], tmp_path)
    hostile.packed_bomb(path)
    with pytest.raises(DamagedFileError, match="`max_expansion`"):
        list(keras_hvae.data.read_documents(path))
    documents = keras_hvae.data.read_documents(path, max_expansion=10_000)
    assert len(list(documents)) == 64
    path = hostile.copy(whole["vectors.txt"], tmp_path)
    load = keras_hvae.evaluation.load_vectors
    assert len(load(path, max_vectors=5)) == 5
    with pytest.raises(DamagedFileError, match=":5: .*at most 3 vectors"):
        load(path, max_vectors=3)


def test_weights_of_zeros_need_the_argument(tmp_path):
    model = keras_hvae.HVAE(90_000, 2, 64, 8, tie_embeddings=True)
    model.set_weights([np.zeros_like(x) for x in model.get_weights()])
    model.save_to_preset(tmp_path / "zeros")
    with pytest.raises(DamagedFileError, match="`max_expansion`: 4 times"):
        keras_hvae.load_model(tmp_path / "zeros")
    assert keras_hvae.load_model(tmp_path / "zeros", max_expansion=10_000)


def test_not_numbers_are_neither_loaded_nor_saved_nor_exported(tmp_path):
    model = hostile.model()
    weight = model.trainable_weights[-1]
    weight.assign(np.full(weight.shape, np.nan))
    for save in (model.save_to_preset, _export(model)):
        with pytest.raises(ValueError, match=f"NaN in {weight.path}"):
            save(tmp_path / "m")
    assert not (tmp_path / "m").exists()
    model.save(tmp_path / "m.keras")
    with pytest.raises(DamagedFileError, match=f"NaN in {weight.path}"):
        keras_hvae.load_model(tmp_path / "m.keras")


def _export(model):
    from keras_hvae.export import export_savedmodel

    return lambda path: export_savedmodel(model, path)
