"""What holds of every model in the registry."""

import pytest

from keras_hvae.models.registry import MODELS, parameters_of
from tests.harness import run_model_test, slow

pytestmark = pytest.mark.eager

SIZES = {
    "vocabulary": ["a", "b", "c", "d", "e"],
    "embedding_dim": 4,
    "hidden_dim": 6,
    "latent_dim": 2,
    "free_bits": 0.0,
    "dropout": 0.1,
    "word_dropout": 0.2,
}
FIRST = ["hvae", "hred"]
REST = [name for name in MODELS if name not in FIRST]


def sizes_of(name):
    known = set(parameters_of(MODELS[name])) | {"vocabulary"}
    return {key: x for key, x in SIZES.items() if key in known}


@pytest.mark.parametrize("name", [*FIRST, *slow(*REST)])
def test_model(name, make_ids, tmp_path):
    ids = make_ids(vocabulary=9)
    run_model_test(MODELS[name], sizes_of(name), ids, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hvae", "flat_vae", "vhcr"])
def test_model_with_a_rate(name, make_ids, tmp_path):
    ids = make_ids(vocabulary=9)
    sizes = {k: x for k, x in sizes_of(name).items() if k != "free_bits"}
    arguments = {**sizes, "rate": 1.5}
    model = run_model_test(MODELS[name], arguments, ids, tmp_path)
    assert model.kl.minimum_rate.multiplier.shape == (16,)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_model_in_mixed_precision(name, make_ids, tmp_path, mixed_float16):
    ids = make_ids(vocabulary=9)
    model = run_model_test(MODELS[name], sizes_of(name), ids, tmp_path)
    assert model.get_config()["dtype"]["config"]["name"] == "mixed_float16"
