import os
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

import keras_hvae

ROOT = pathlib.Path(__file__).parents[1]


def test_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert keras_hvae.__version__ == project["version"]


def test_tensorflow_stays_in_data_text_and_export():
    imports = re.compile(r"^\s*(import|from) tensorflow", re.M)
    private = re.compile(r"keras\.src")
    for path in (ROOT / "keras_hvae").rglob("*.py"):
        source = path.read_text()
        assert not private.search(source), path
        if path.parent.name not in (
            "data",
            "text",
            "export",
            "shakespeare_scenes",
        ):
            assert not imports.search(source), path


WITHOUT_TENSORFLOW = """
import sys

for name in ("tensorflow", "tensorflow_datasets"):
    sys.modules[name] = None  # to import it fails

import keras
import numpy as np

import keras_hvae

folder = sys.argv[1]
corpus = keras_hvae.data.load(folder + "/corpus.npz", batch_size=2)
model = keras_hvae.HVAE(corpus.vocabulary, 2, 4, 8, softmax="adaptive")
model.compile(keras.optimizers.Adam(1e-2))
history = model.fit(corpus.train, verbose=0).history
assert np.isfinite(history["loss"]).all(), history
model.save_weights(folder + "/model.weights.h5")
ids = corpus.train[0][0]
before = model.encode(ids)["mean"]
for weight in model.trainable_weights:
    weight.assign(weight + 1.0)
model.load_weights(folder + "/model.weights.h5")
np.testing.assert_array_equal(model.encode(ids)["mean"], before)
"""


@pytest.mark.slow
def test_a_model_of_ids_trains_without_tensorflow(tmp_path):
    documents = [["a b", "b c a"], ["c"], ["a c", "b"], ["b b", "a"]]
    corpus = keras_hvae.data.load({"train": documents, "valid": documents})
    corpus.save(tmp_path / "corpus.npz")
    subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, tmp_path],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)},
        check=True,
    )
