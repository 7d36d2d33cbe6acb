"""What one does with any model of Keras works, or is refused by name."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae import HVAE

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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.filterwarnings(NOT_QUANTISED)
@some
def test_quantised_model_scores_what_it_writes(make, name):
    model = make(name)
    model.quantize("int8")
    hidden = np.random.default_rng(0).standard_normal((1, 24), "float32")
    hidden = ops.convert_to_tensor(hidden)
    log_probs = ops.log_softmax(model.emission.token_nll.logits(hidden))
    every = ops.arange(1, 20, dtype="int32")
    nll = model.emission.token_nll.nll(ops.repeat(hidden, 19, axis=0), every)
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


@pytest.mark.slow
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
    of_softmax = model.emission.token_nll.trainable_weights
    assert of_softmax
    old = [to_numpy(w) for w in of_softmax]
    # Each loss is of other draws: two steps would not tell.
    history = model.fit(ids, epochs=8, verbose=0).history["loss"]
    assert np.mean(history[-3:]) < history[0]
    for weight, value in zip(of_softmax, old):
        assert (to_numpy(weight) != value).any(), weight.path
    after = model.score(ids, seed=0)
    assert (after["nll"] != before["nll"]).all()


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.eager(False)
@pytest.mark.filterwarnings(NOT_QUANTISED)
@pytest.mark.parametrize("change", ["quantize", "lora"])
def test_methods_see_changed_layers(make_hvae, make_ids, change):
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


@pytest.mark.parametrize(
    "copy",
    [
        pytest.param(
            keras.models.clone_model,
            marks=pytest.mark.xfail(
                strict=True,
                reason="Keras makes a Functional of any functional model "
                "whose constructor takes other arguments",
            ),
        ),
        lambda model: type(model).from_config(model.get_config()),
    ],
    ids=["clone_model", "from_config"],
)
def test_a_copy_is_a_model_of_its_class(make_hvae, make_ids, copy):
    model = make_hvae(transition="gated", seed=3)
    clone = copy(model)
    assert type(clone) is HVAE and clone.get_config() == model.get_config()
    clone.set_weights(model.get_weights())
    for key, value in model.score(make_ids(), seed=0).items():
        np.testing.assert_array_equal(
            clone.score(make_ids(), seed=0)[key], value
        )
    mine, theirs = ({id(w) for w in m.weights} for m in (model, clone))
    assert not mine & theirs


REFUSED = {
    "sample_weight": {"sample_weight": np.array([1.0, 2.0, 0.5])},
    "class_weight": {"class_weight": {0: 1.0, 1: 2.0}},
    "targets": {"y": np.zeros((3,))},
}


@pytest.mark.parametrize("argument", REFUSED)
def test_what_fit_cannot_use_is_refused_by_name(make_hvae, make_ids, argument):
    model = make_hvae()
    model.compile("adam", jit_compile=JIT)
    name = "`y`" if argument == "targets" else f"`{argument}`"
    with pytest.raises(ValueError, match=f"{name}.* Received: "):
        model.fit(make_ids(), **REFUSED[argument], verbose=0)


@pytest.mark.parametrize("argument", ["y", "sample_weight"])
def test_what_evaluate_cannot_use_is_refused_by_name(
    make_hvae, make_ids, argument
):
    model = make_hvae()
    model.compile("adam", jit_compile=JIT)
    with pytest.raises(ValueError, match=f"`{argument}`.* Received: "):
        model.evaluate(make_ids(), **{argument: np.ones((3,))}, verbose=0)


@pytest.mark.parametrize(
    "arguments",
    [{"loss": "mse"}, {"loss": {"nll": "mse"}}, {"loss_weights": [2.0]}],
)
def test_a_loss_of_compile_is_refused(make_hvae, make_ids, arguments):
    model = make_hvae()
    model.compile("adam", jit_compile=JIT, **arguments)
    with pytest.raises(ValueError, match="`compile` .* no `loss`.* Received: "):
        model.fit(make_ids(), verbose=0)
    with pytest.raises(ValueError, match="`compile` .* no `loss`.* Received: "):
        model.evaluate(make_ids(), verbose=0)
