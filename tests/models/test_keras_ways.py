"""What one does with any model of Keras works, or is refused by name."""

import keras
import numpy as np
import pytest
from keras import ops

pytestmark = pytest.mark.eager

to_numpy = ops.convert_to_numpy
JIT = keras.config.backend() == "jax"
# Of layers without weights, and of those that stay as they are.
NOT_QUANTISED = "ignore:Layer .* does not have a `quantize` method"
MODELS = {
    "gated": {"transition": "gated"},
    "tied": {"tie_embeddings": True},
    "adaptive": {"softmax": "adaptive", "transition": "concat"},
    "class": {"softmax": "class", "transition": "sum"},
    "sampled": {"softmax": "sampled", "tie_embeddings": True},
}
some = pytest.mark.parametrize("name", ["tied", "adaptive", "class"])


@pytest.fixture
def make(make_hvae):
    def make(name):
        sizes = {"embedding_dim": 8, "hidden_dim": 12}
        return make_hvae(scale=0.3, **sizes, **MODELS[name])

    return make


@pytest.mark.filterwarnings(NOT_QUANTISED)
@pytest.mark.parametrize(
    ("name", "mode"), [*((x, "int8") for x in MODELS), ("adaptive", "int4")]
)
def test_quantised_model_scores_alike(make, make_ids, name, mode):
    ids, model = make_ids(8), make(name)
    before = model.score(ids, seed=0)
    model.quantize(mode)
    policies = {x.dtype_policy.name for x in model._flatten_layers()}
    assert any(policy.startswith(mode) for policy in policies)
    after = model.score(ids, seed=0)
    tolerance = {"int8": 0.01, "int4": 0.1}[mode]
    for key in ("nll", "elbo"):
        np.testing.assert_allclose(after[key], before[key], rtol=tolerance)
        assert (after[key] != before[key]).all()


@pytest.mark.filterwarnings(NOT_QUANTISED)
@some
def test_quantised_model_scores_what_it_writes(make, name):
    model = make(name)
    model.quantize("int8")
    hidden = np.random.default_rng(0).standard_normal((1, 24), "float32")
    hidden = ops.convert_to_tensor(hidden)
    log_probs = ops.log_softmax(model.token_nll.logits(hidden))
    every = ops.arange(1, 20, dtype="int32")
    nll = model.token_nll.nll(ops.repeat(hidden, 19, axis=0), every)
    np.testing.assert_allclose(
        to_numpy(nll), -to_numpy(log_probs)[0, 1:], rtol=1e-4
    )


def enable_lora(model):
    """LoRA of rank 2 for all that has it; nothing else is trained."""
    for layer in model._flatten_layers():
        if hasattr(layer, "enable_lora"):
            layer.enable_lora(2)
    for weight in model.trainable_weights:
        weight.trainable = "lora" in weight.name


@pytest.mark.filterwarnings(NOT_QUANTISED)
@pytest.mark.parametrize(
    ("name", "quantised"),
    [("adaptive", False), ("adaptive", True), ("class", True), ("tied", True)],
)
def test_lora_is_trained_alone(make, make_ids, name, quantised):
    ids, model = make_ids(8), make(name)
    if quantised:
        model.quantize("int8")
    before = model.score(ids, seed=0)
    enable_lora(model)
    # B starts from zeros: nothing has changed so far.
    same = model.score(ids, seed=0)
    np.testing.assert_allclose(same["nll"], before["nll"], rtol=1e-5)
    model.compile(keras.optimizers.Adam(0.05), jit_compile=JIT)
    names = {weight.name for weight in model.trainable_weights}
    assert names and all("lora" in name for name in names)
    of_softmax = model.token_nll.trainable_weights
    assert of_softmax
    old = [to_numpy(w) for w in of_softmax]
    history = model.fit(ids, epochs=2, verbose=0).history["loss"]
    assert history[-1] < history[0]
    for weight, value in zip(of_softmax, old):
        assert (to_numpy(weight) != value).any(), weight.path
    after = model.score(ids, seed=0)
    assert (after["nll"] != before["nll"]).all()


@pytest.mark.parametrize("name", ["gated", "adaptive"])
def test_saved_model_has_its_lora_merged(make, make_ids, tmp_path, name):
    ids, model = make_ids(), make(name)
    enable_lora(model)
    for weight in model.trainable_weights:
        weight.assign(0.1 * np.ones(weight.shape))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert not any("lora" in weight.name for weight in loaded.weights)
    np.testing.assert_allclose(
        loaded.score(ids, seed=0)["nll"],
        model.score(ids, seed=0)["nll"],
        rtol=1e-5,
    )


@pytest.mark.xfail(strict=True, reason="the policies are not in the config")
@pytest.mark.filterwarnings(NOT_QUANTISED)
@pytest.mark.parametrize("name", ["gated", "adaptive"])
def test_quantised_model_is_saved(make, make_ids, tmp_path, name):
    ids, model = make_ids(), make(name)
    model.quantize("int8")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.score(ids, seed=0)["nll"], model.score(ids, seed=0)["nll"]
    )


@pytest.mark.eager(False)
@pytest.mark.filterwarnings(NOT_QUANTISED)
@pytest.mark.parametrize("change", ["quantize", "lora"])
def test_verbs_see_changed_layers(make_hvae, make_ids, change):
    # They are compiled functions of their own, which Keras does not renew.
    ids, model = make_ids(), make_hvae(softmax="adaptive")
    before = model.score(ids, seed=0)["nll"]
    if change == "quantize":
        model.quantize("int8")
    else:
        enable_lora(model)
        for weight in model.trainable_weights:
            weight.assign(0.1 * np.ones(weight.shape))
    assert (model.score(ids, seed=0)["nll"] != before).all()
