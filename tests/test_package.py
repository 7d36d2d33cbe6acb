import pathlib
import re
import tomllib

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
