"""The exported graph where neither Keras nor this package is."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from keras_hvae.export import export_savedmodel
from tests.export.conftest import CAPS

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples" / "serving"
TEXTS = ["the cat sees .\nthe dog", "", "how now ?", "king\nxyz , a"]


def run(command):
    out = subprocess.run(
        [str(x) for x in command], capture_output=True, text=True
    )
    assert out.returncode == 0, out.stderr[-2000:]
    return out.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_python_without_keras_and_this_package(exported, ask):
    code = """
import json, sys

class Without:
    # A finder, of less.

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *args):
        if name.partition(".")[0] not in ("keras", "keras_hvae", "tf_keras"):
            return self.finder.find_spec(name, *args)

sys.meta_path = [Without(x) for x in sys.meta_path]
import tensorflow as tf

signatures = tf.saved_model.load(sys.argv[1]).signatures
texts = tf.constant(json.loads(sys.argv[2]))
rows = len(texts)
encoded = signatures["encode"](document=texts)
written = signatures["serving_default"](
    document=texts,
    seed=tf.range(rows),
    temperature=tf.fill([rows], 1.0),
    top_p=tf.fill([rows], 0.9),
)
assert not {"keras", "keras_hvae"} & set(sys.modules)
print(json.dumps({
    "mean": encoded["mean"].numpy().tolist(),
    "reply": [x.decode() for x in written["reply"].numpy()],
    "log_prob": written["log_prob"].numpy().tolist(),
}))
"""
    out = run([sys.executable, "-c", code, exported, json.dumps(TEXTS)])
    answer = json.loads(out.splitlines()[-1])
    mean = ask("encode", document=TEXTS)["mean"]
    np.testing.assert_allclose(answer["mean"], mean, atol=1e-6)
    # Another process, the same bytes.
    here = ask(
        "reply",
        document=TEXTS,
        seed=np.arange(4),
        temperature=np.ones(4),
        top_p=np.full(4, 0.9),
    )
    assert answer["reply"] == [x.decode() for x in here["reply"]]
    assert answer["log_prob"] == here["log_prob"].tolist()


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    import tensorflow as tf

    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    out = tmp_path_factory.mktemp("c") / "encode"
    place = tf.sysconfig.get_lib()
    libraries = "libtensorflow_cc.so.2", "libtensorflow_framework.so.2"
    run(
        [
            *("gcc", "-O1", "-Wall", "-Werror", EXAMPLES / "encode.c"),
            *("-o", out, f"-I{place}/include", f"-L{place}"),
            *(f"-l:{library}" for library in libraries),
            f"-Wl,-rpath,{place}",
        ]
    )
    return out


def tensors(exported, signature, output):
    table = json.loads((exported / "keras_hvae.json").read_text())
    table = table["signatures"][signature]
    (given,) = (x["tensor"] for x in table["inputs"].values())
    return given, table["outputs"][output]["tensor"]


@pytest.mark.slow
def test_a_c_program(exported, ask, program):
    texts = [x.replace("\n", "\\n") for x in TEXTS]
    for key in ("mean", "log_var", "document"):
        out = run(
            [program, exported, *tensors(exported, "encode", key), *texts]
        )
        shape, *numbers = out.splitlines()
        expected = ask("encode", document=TEXTS)[key]
        assert [int(x) for x in shape.split()[1:]] == list(expected.shape)
        np.testing.assert_allclose(
            np.array(numbers, "float64"), expected.ravel(), atol=1e-6
        )
    out = run(
        [
            program,
            exported,
            *tensors(exported, "reconstruct", "document"),
            texts[0],
        ]
    )
    written = ask("reconstruct", document=TEXTS[:1])["document"][0].decode()
    assert out == f"shape 1\n{written}\n"
    # No row at all.
    out = run([program, exported, *tensors(exported, "encode", "document")])
    assert out == "shape 0 2\n"


@pytest.mark.slow
def test_a_c_program_is_told_what_is_wrong(exported, program):
    names = tensors(exported, "encode", "mean")
    for command, match in (
        ([exported.parent / "9", *names, "a"], "Could not find SavedModel"),
        ([exported, "nothing", names[1], "a"], "nothing: no such tensor"),
        ([exported, *names, *["a"] * 17], "must have at most 16 rows"),
    ):
        out = subprocess.run(
            [str(x) for x in (program, *command)],
            capture_output=True,
            text=True,
        )
        assert out.returncode == 1 and match in out.stderr


@pytest.mark.slow
def test_openvino(model, ask, tmp_path):
    pytest.importorskip("openvino_tokenizers")
    path = export_savedmodel(
        model, tmp_path, signatures=["encode_sentences"], **CAPS
    )
    code = """
import json, sys
sys.path.insert(0, sys.argv[1])
import openvino_encode

answer = openvino_encode.load(sys.argv[2])(json.loads(sys.argv[3]))
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
print(json.dumps({key: x.tolist() for key, x in answer.items()}))
"""
    rows = [
        ["the cat sees .", "The DOG's king", "how now ?"],
        ["king", "", ""],
        ["xyz -- the cat, the dog", "a  a\ta", ""],
    ]
    out = run([sys.executable, "-c", code, EXAMPLES, path, json.dumps(rows)])
    answer = json.loads(out.splitlines()[-1])
    expected = ask("encode_sentences", sentences=rows)
    for key in ("mean", "log_var", "document"):
        np.testing.assert_allclose(
            answer[key], expected[key], atol=1e-5, err_msg=key
        )
    assert answer["mask"] == expected["mask"].tolist()
