"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest

import keras_hvae

MODULES = [
    module.name
    for module in pkgutil.walk_packages(keras_hvae.__path__, "keras_hvae.")
]
GLOBALS = {
    "generative": keras_hvae.generative,
    "HVAE": keras_hvae.HVAE,
    "keras": keras,
    "keras_hvae": keras_hvae,
    "np": np,
    "ops": keras.ops,
}


@pytest.mark.eager
@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write files
    module = importlib.import_module(name)
    results = doctest.testmod(
        module,
        globs={**GLOBALS, **vars(module)},
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert results.failed == 0


def test_there_are_examples():
    # All of the public layers and methods, to begin with.
    finder = doctest.DocTestFinder()
    counts = {
        name: sum(
            len(test.examples)
            for test in finder.find(importlib.import_module(name), name)
        )
        for name in MODULES
    }
    assert sum(counts.values()) > 50
