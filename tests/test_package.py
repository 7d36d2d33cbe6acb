import pathlib
import re
import subprocess
import sys
import tomllib

import keras_hvae

ROOT = pathlib.Path(__file__).parents[1]


def test_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert keras_hvae.__version__ == project["version"]


def test_imports_and_trains_where_tensorflow_is_not_installed():
    # A meta path finder that hides TensorFlow, before anything is imported.
    code = """
import sys

class NoTensorFlow:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "tensorflow_datasets"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoTensorFlow())
import numpy as np
import keras_hvae

model = keras_hvae.HVAE(12, latent_dim=2, embedding_dim=3, hidden_dim=4)
model.compile("adam")
ids = np.array([[[5, 6, 3], [7, 3, 0]]], "int32")
model.fit(ids, verbose=0)
assert model.generate(ids, num_sentences=1, max_words=2).shape == (1, 1, 3)
assert "tensorflow" not in sys.modules
"""
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=ROOT,
        env={"KERAS_BACKEND": "jax", "PATH": ""},
    )


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
