"""What earlier versions have saved is read, and means what it meant.

`compatibility/` has an archive for each version: its models as `.keras`
files, with their optimizers, and as presets, and their figures. Latents are
the posterior means (no noise): draws may differ between versions.
"""

import json
import pathlib
import tarfile

import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae import HVAE
from keras_hvae.inference.compiled import score
from keras_hvae.models import DocumentModel
from keras_hvae.models.loading import load_model

pytestmark = pytest.mark.eager

ARCHIVES = sorted(
    (pathlib.Path(__file__).parent / "compatibility").glob("*.tar.xz")
)
MODELS = [
    "hvae",
    "gru_lm",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("hvae_other", "hred", "vhred", "vhcr", "flat_vae")
    ),
]


@pytest.fixture(scope="module", params=ARCHIVES, ids=lambda path: path.name)
def saved(request, tmp_path_factory):
    """A folder with what a version has saved."""
    folder = tmp_path_factory.mktemp("saved")
    with tarfile.open(request.param) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def figures(saved):
    return json.loads((saved / "figures.json").read_text())


def assert_same_scores(model, ids, expected):
    ids = np.asarray(ids, "int32")
    noise = np.zeros((*ids.shape[:2], model.noise_dim), "float32")
    scored = score(model, ops.convert_to_tensor(ids), noise)
    for key in ("nll", "kl"):
        np.testing.assert_allclose(
            ops.convert_to_numpy(scored[key]),
            expected[key],
            rtol=1e-5,
            atol=1e-5,
            err_msg=key,
        )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("load", [load_model, keras.models.load_model])
def test_keras_files_are_read(saved, figures, name, load):
    model = load(saved / f"{name}.keras")
    assert_same_scores(model, figures["token_ids"], figures["models"][name])
    # Each weight has its own moments: training goes on.
    optimizer = model.optimizer
    assert len(model.trainable_variables) == len(optimizer._momentums) > 0
    for weight, momentum, velocity in zip(
        model.trainable_variables,
        optimizer._momentums,
        optimizer._velocities,
    ):
        weight = ops.convert_to_numpy(weight)
        np.testing.assert_array_equal(
            ops.convert_to_numpy(momentum), 2 * weight, weight.shape
        )
        np.testing.assert_allclose(
            ops.convert_to_numpy(velocity), weight**2, rtol=1e-6
        )


@pytest.mark.parametrize("name", MODELS)
def test_presets_are_read(saved, figures, name):
    model = DocumentModel.from_preset(saved / name)
    assert_same_scores(model, figures["token_ids"], figures["models"][name])
    assert len(model.preprocessor) == model.vocabulary_size == 20


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_read(saved, figures, name):
    model = keras.models.load_model(saved / f"{name}.keras", compile=False)
    for weight in model.weights:
        weight.assign(ops.zeros_like(weight))
    model.load_weights(saved / name / "model.weights.h5")
    assert_same_scores(model, figures["token_ids"], figures["models"][name])


def test_the_shipped_preset_scores_as_it_did(figures):
    expected = figures["shakespeare"]
    model = HVAE.from_preset("hvae_small_shakespeare_en")
    ids = model.preprocessor(expected["documents"])
    assert len(ids) == 20
    np.testing.assert_array_equal(ids, expected["token_ids"])
    assert_same_scores(model, ids, expected)
