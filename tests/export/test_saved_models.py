"""The models of saved_models/, as they ship."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import keras_hvae
from keras_hvae.export import verify

FOLDER = pathlib.Path(__file__).parents[2] / "saved_models"
NAMES = sorted(x.name for x in FOLDER.iterdir() if x.is_dir())
TEXTS = [
    "Good morrow, cousin.\nIs the day so young?",
    "What says my lord?\nNothing.\nSpeak, I charge thee.",
]


def megabytes(folder):
    return sum(x.stat().st_size for x in folder.rglob("*")) / 1e6


def test_every_preset_is_there_and_small():
    shipped = pathlib.Path(keras_hvae.__file__).parent / "presets"
    assert NAMES == sorted(x.parent.name for x in shipped.glob("*/config.json"))
    assert all(megabytes(FOLDER / name) < 30 for name in NAMES)
    assert megabytes(FOLDER) < 60


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    return keras_hvae.HVAE.from_preset(name)


@pytest.fixture(scope="module")
def signatures(name):
    version = max(verify(FOLDER / name), key=lambda x: int(x.split("/")[-1]))
    loaded = tf.saved_model.load(version)
    names = set(loaded.signatures)
    yield {x: loaded.signatures[x] for x in names}


def test_it_says_which_preset_it_is(name, model):
    for about in verify(FOLDER / name).values():
        assert about["preset"] == model.preset


@pytest.mark.slow
def test_it_answers_as_the_preset(model, signatures):
    documents = [x.split("\n") for x in TEXTS]
    given = tf.constant(TEXTS)
    encoded = model.encode(documents)
    answer = signatures["encode"](document=given)
    for key in ("mean", "log_var", "document"):
        np.testing.assert_allclose(answer[key], encoded[key], atol=1e-5)
    words = json.loads(
        (
            next((FOLDER / model.preset["name"]).iterdir()) / "keras_hvae.json"
        ).read_text()
    )["caps"]["write_words"]
    written = signatures["reconstruct"](document=given)["document"]
    expected = model.reconstruct(documents, max_words=words)
    assert [x.decode() for x in written.numpy()] == [
        "\n".join(x) for x in expected
    ]
    scores = np.array(
        [
            signatures["score"](document=given[:1], seed=tf.constant([seed]))[
                "elbo"
            ][0]
            for seed in range(64)
        ]
    )
    expected = model.score(documents[0], num_samples=256, seed=0)["elbo"]
    error = scores.std() / 8
    assert abs(scores.mean() - expected) < 5 * error


def test_the_request_of_the_readme_is_answered_as_it_says(signatures):
    text = (FOLDER / "README.md").read_text()
    request, answer = (
        json.loads(x.partition("```")[0]) for x in text.split("```json")[1:]
    )
    (row,), (expected,) = request["instances"], answer["predictions"]
    dtypes = {"document": "string", "seed": "int32"}
    given = {
        key: tf.constant([x], dtypes.get(key, "float32"))
        for key, x in row.items()
    }
    received = signatures["serving_default"](**given)
    assert received["reply"].numpy()[0].decode() == expected["reply"]
    for key in ("tokens", "truncated", "state", "log_prob"):
        np.testing.assert_allclose(received[key][0], expected[key], rtol=1e-4)
    assert set(received) - set(expected) == {"z", "context"}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_request_takes_little_memory(name):
    """20,000 words and 500 sentences: without caps a GB."""
    code = """
import pathlib, sys
import tensorflow as tf

path = max(pathlib.Path(sys.argv[1]).iterdir())
score = tf.saved_model.load(str(path)).signatures["score"]
def ask(*documents):
    score(document=tf.constant(documents), seed=tf.fill([len(documents)], 1))
def status(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith(name))
for _ in range(3):
    ask("good morrow, cousin.")
# The peak is that from here on.
pathlib.Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
ask("a " * 20_000, "a\\n" * 500)
print((status("VmHWM") - before) / 1024)
"""
    out = subprocess.run(
        [sys.executable, "-c", code, str(FOLDER / name)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert float(out) < 50
