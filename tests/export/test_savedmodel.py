import hashlib
import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hvae
from keras_hvae.export import export_savedmodel, savedmodel, verify
from tests.export.conftest import CAPS, WORDS


@pytest.fixture
def quick(monkeypatch):
    """Writes something small in the place of a graph."""

    def write(model, folder, caps, names):
        (folder / "saved_model.pb").write_text("graph")

    monkeypatch.setattr(savedmodel, "_write", write)


def names(folder):
    return sorted(x.name for x in folder.iterdir())


@pytest.mark.slow
def test_what_is_there(exported, model):
    assert exported.name == "1"
    assert names(exported.parent) == ["1"]
    assert {
        "SHA256SUMS",
        "keras_hvae.json",
        "saved_model.pb",
        "variables",
        "assets.extra",
    } <= set(names(exported))
    about = json.loads((exported / "keras_hvae.json").read_text())
    assert about["keras_hvae"] == keras_hvae.__version__
    assert about["keras"] == keras.__version__
    assert about["tensorflow"] == tf.__version__
    assert about["parameters"] == model.count_params()
    assert about["caps"] == {**CAPS, "max_document_bytes": 1680}
    assert about["settings"]["latent_dim"] == 2
    assert len(about["model_sha256"]) == 64
    assert verify(exported) == {str(exported): about}
    assert verify(exported.parent) == verify(exported)


@pytest.mark.slow
def test_the_next_version_leaves_the_others_alone(model, tmp_path, quick):
    folder = tmp_path / "saved_models" / "m"
    for number in (1, 2):
        assert export_savedmodel(model, folder) == folder / str(number)
    assert export_savedmodel(model, folder, version=7) == folder / "7"
    assert export_savedmodel(model, folder).name == "8"
    assert names(folder) == ["1", "2", "7", "8"]
    with pytest.raises(
        ValueError, match=r"`version` must be new: .*7. Rec.* 7"
    ):
        export_savedmodel(model, folder, version=7)
    for bad in (0, -1, 1.5, "2", True):
        with pytest.raises(ValueError, match="`version` must be an integer"):
            export_savedmodel(model, folder, version=bad)


@pytest.mark.slow
def test_a_failure_leaves_nothing(model, tmp_path, monkeypatch, quick):
    folder = tmp_path / "new" / "m"

    def fail(model, folder, caps, names):
        (folder / "variables").mkdir()
        (folder / "variables" / "half").write_text("written")
        raise OSError("No space left on device")

    export_savedmodel(model, tmp_path / "old")
    monkeypatch.setattr(savedmodel, "_write", fail)
    for path in (folder, tmp_path / "old"):
        with pytest.raises(OSError, match="No space left"):
            export_savedmodel(model, path)
    assert names(tmp_path) == ["old"]
    assert names(tmp_path / "old") == ["1"]


@pytest.mark.slow
@pytest.mark.parametrize("version", [1, None])
def test_a_version_that_another_has_made_meanwhile(
    model, tmp_path, monkeypatch, version
):
    def write(model, folder, caps, names):
        (folder / "saved_model.pb").write_text("ours")
        other = folder.parent / "1"
        other.mkdir()
        (other / "saved_model.pb").write_text("theirs")

    monkeypatch.setattr(savedmodel, "_write", write)
    if version is None:  # the next number is that when it is written
        assert export_savedmodel(model, tmp_path).name == "2"
    else:
        with pytest.raises(ValueError, match="`version` must be new"):
            export_savedmodel(model, tmp_path, version=version)
        assert names(tmp_path) == ["1"]
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "theirs"


@pytest.mark.slow
def test_other_names_are_no_versions(model, tmp_path, quick):
    for name in ("²", "01", "0", "3.5", "v9"):
        (tmp_path / name).mkdir()
    (tmp_path / "8").write_text("a file")
    assert export_savedmodel(model, tmp_path).name == "1"


@pytest.mark.slow
def test_caps_may_be_numbers_of_numpy(model, tmp_path):
    caps = {name: np.int64(x) for name, x in CAPS.items()}
    path = export_savedmodel(model, tmp_path, signatures="generate", **caps)
    about = json.loads((path / "keras_hvae.json").read_text())
    assert about["caps"] == {**CAPS, "max_document_bytes": 1680}
    assert set(about["signatures"]) == {"generate", "serving_default"}


@pytest.mark.slow
def test_a_preset_is_named(model, tmp_path):
    model.save_to_preset(tmp_path / "tiny_en", "# tiny_en\n")
    preset = keras_hvae.HVAE.from_preset(tmp_path / "tiny_en")
    path = export_savedmodel(
        preset, tmp_path / "m", signatures=["generate"], **CAPS
    )
    about = json.loads((path / "keras_hvae.json").read_text())
    assert about["preset"] == {
        "name": "tiny_en",
        "card_sha256": hashlib.sha256(b"# tiny_en\n").hexdigest(),
        "model_sha256": about["model_sha256"],
    }
    # Not any more when it has been trained on.
    preset.set_weights([x + 1 for x in preset.get_weights()])
    path = export_savedmodel(
        preset, tmp_path / "m", signatures=["generate"], **CAPS
    )
    assert json.loads((path / "keras_hvae.json").read_text())["preset"] is None


@pytest.mark.slow
def test_warmup_requests_keep_to_the_cap(model, tmp_path):
    apis = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    path = export_savedmodel(
        model, tmp_path, signatures=["generate"], max_documents=4
    )
    file = path / "assets.extra" / "tf_serving_warmup_requests"
    for record in tf.data.TFRecordDataset(str(file)):
        log = apis.PredictionLog.FromString(record.numpy())
        (size,) = tf.make_ndarray(log.predict_log.request.inputs["seed"]).shape
        assert size <= 4


@pytest.mark.slow
def test_nothing_can_be_written_there(model, tmp_path):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(OSError):
        export_savedmodel(model, tmp_path / "file" / "m")
    assert (tmp_path / "file").read_text() == "a file"


@pytest.mark.slow
def test_a_full_disk_leaves_the_version_before(exported, tmp_path):
    """No file may grow above 20 KB: what writing to a full disk does."""
    code = """
import resource, signal, sys
import keras_hvae
from keras_hvae.export import export_savedmodel

model = keras_hvae.HVAE(["yes", "no"], 2, 4, 6)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    export_savedmodel(model, sys.argv[1], signatures="encode")
except OSError as error:
    print("OSError:", error)
"""
    folder = tmp_path / "m"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "saved_model.pb").write_text("before")
    out = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "OSError:" in out and str(folder) in out
    assert names(folder) == ["1"]
    assert (folder / "1" / "saved_model.pb").read_text() == "before"


def test_models_that_cannot_be_exported(make_model, make_hvae, tmp_path):
    with pytest.raises(ValueError, match="vocabulary of words.* 20 ids only"):
        export_savedmodel(make_hvae(), tmp_path)
    other = make_model(keras_hvae.GRULM, WORDS)
    for bad in (other, keras.Sequential(), None):
        with pytest.raises(
            NotImplementedError, match="`model` must have a chain of latents"
        ):
            export_savedmodel(bad, tmp_path)
    assert not names(tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*quantiz")
@pytest.mark.parametrize("change", ["int8", "LoRA"])
def test_a_quantised_model_and_one_with_lora_are_refused(
    make_hvae, tmp_path, change
):
    model = make_hvae(WORDS)
    if change == "int8":
        model.quantize("int8")
    else:
        model.latent_chain.lat2dec.enable_lora(2)
    with pytest.raises(
        NotImplementedError, match=f"`model` must .*Received: .* with {change}"
    ):
        export_savedmodel(model, tmp_path)
    assert not names(tmp_path)


def test_a_model_of_single_sentences_has_no_chain(make_model, tmp_path, quick):
    """Its `reply` would come from a prior that it does not have."""
    with pytest.raises(
        NotImplementedError, match="chain .*Received: FlatVAE, .*independent"
    ):
        export_savedmodel(make_model(keras_hvae.FlatVAE, WORDS), tmp_path)
    assert not names(tmp_path)


def test_a_model_of_frames_has_no_words(tmp_path):
    emission = keras_hvae.emissions.BernoulliEmission(3, hidden_dim=4)
    model = keras_hvae.HVAE(emission=emission, latent_dim=2, hidden_dim=4)
    with pytest.raises(
        ValueError, match="of words.* of the frames of a BernoulliEmission"
    ):
        export_savedmodel(model, tmp_path)
    assert not names(tmp_path)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_sentences": 0}, "`num_sentences` must be an integer >= 1"),
        ({"write_words": -1}, "`write_words` must"),
        ({"max_documents": 0}, "`max_documents` must"),
        ({"max_sentences": 1.5}, "`max_sentences` must"),
        ({"max_words": 0}, "`max_words` must"),
        ({"signatures": ["answer"]}, "`signatures` must be one of .*answer"),
        ({"signatures": []}, "`signatures` must be one of"),
    ],
)
def test_bad_arguments(model, tmp_path, options, match):
    with pytest.raises(ValueError, match=match):
        export_savedmodel(model, tmp_path, **options)
    assert not names(tmp_path)


@pytest.mark.slow
def test_words_of_the_models_preprocessor(make_hvae, tmp_path, quick):
    words = keras_hvae.text.Preprocessor(WORDS, max_words=5)
    model = make_hvae(words)
    with pytest.raises(ValueError, match="`max_words` must be at most 5"):
        export_savedmodel(model, tmp_path, max_words=6)
    export_savedmodel(model, tmp_path, max_words=4)


@pytest.mark.slow
def test_keras_own_export_works_too(model, tmp_path):
    model.export(str(tmp_path / "ids"), verbose=False)
    ids = model.preprocessor([["the cat", "how now"]])
    loaded = tf.saved_model.load(str(tmp_path / "ids"))
    out = loaded.serve(ids)
    mean = model.encode([["the cat", "how now"]])["mean"][:, :1]
    np.testing.assert_allclose(out["mean"][:, :1], mean, atol=1e-6)
    assert out["nll"].shape == (1, 2)


@pytest.mark.slow
def test_some_signatures_only(model, tmp_path):
    path = export_savedmodel(
        model, tmp_path, signatures=["encode_sentences"], **CAPS
    )
    signatures = tf.saved_model.load(str(path)).signatures
    assert set(signatures) == {"encode_sentences", "serving_default"}


def functions_of(graph, name):
    """The names of the functions that a function calls, and theirs."""
    library = {f.signature.name: f for f in graph.graph_def.library.function}
    seen, queue = set(), [name]
    while queue:
        name = queue.pop()
        if name in seen or name not in library:
            continue
        seen.add(name)
        for node in library[name].node_def:
            for value in node.attr.values():
                queue += [value.func.name, *(x.name for x in value.list.func)]
            queue.append(node.op)
    return {name: library[name] for name in seen}


@pytest.mark.slow
def test_no_operation_that_a_server_may_not_run(exported):
    from tensorflow.core.protobuf import saved_model_pb2

    graph = saved_model_pb2.SavedModel.FromString(
        (exported / "saved_model.pb").read_bytes()
    ).meta_graphs[0]
    roots = {
        node.attr["f"].func.name
        for node in graph.graph_def.node
        if node.op == "StatefulPartitionedCall"
    } - {""}
    calls = {
        x.name
        for signature in graph.signature_def.values()
        for x in signature.outputs.values()
    }
    called = {
        node.attr["f"].func.name
        for node in graph.graph_def.node
        if f"{node.name}:0" in calls
    }
    assert len(called) >= 8 and called <= roots
    ops = {
        node.op
        for name in called
        for function in functions_of(graph, name).values()
        for node in function.node_def
    }
    assert "MatMul" in ops and "StaticRegexReplace" in ops
    bad = ("Cudnn", "PyFunc", "Assign", "ReadFile", "WriteFile", "Print")
    assert not [op for op in ops if any(x in op for x in bad)]


@pytest.mark.slow
def test_the_scan_of_tensorflow_finds_nothing(exported):
    tool = pathlib.Path(sys.executable).with_name("saved_model_cli")
    out = subprocess.run(
        [tool, "scan", "--dir", str(exported)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "does not contain" in out
    assert "denylisted" in out


@pytest.mark.slow
def test_no_paths_of_the_machine_that_made_it(exported):
    root = pathlib.Path(__file__).parents[2]
    for file in exported.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            for path in (root, exported.parents[1], pathlib.Path.home()):
                assert str(path).encode() + b"/" not in content, file


@pytest.mark.slow
def test_warmup_requests_are_answered(exported, loaded):
    apis = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    file = exported / "assets.extra" / "tf_serving_warmup_requests"
    seen = set()
    for record in tf.data.TFRecordDataset(str(file)):
        log = apis.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        name = request.model_spec.signature_name
        seen.add(name)
        inputs = {
            key: tf.constant(tf.make_ndarray(x))
            for key, x in request.inputs.items()
        }
        loaded.signatures[name](**inputs)
    assert seen == set(loaded.signatures)
