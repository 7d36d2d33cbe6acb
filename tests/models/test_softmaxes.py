"""The model with each of the softmaxes that it knows."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae import HVAE, layers
from keras_hvae.emissions.softmaxes import SOFTMAXES

pytestmark = pytest.mark.eager

to_numpy = ops.convert_to_numpy
SIZES = {"latent_dim": 2, "embedding_dim": 4, "hidden_dim": 6}
JIT = keras.config.backend() == "jax"


TIED = ["full", "sampled", "one_vs_each", "nce"]


@pytest.fixture(params=[*SOFTMAXES, "a layer", *(f"{x}, tied" for x in TIED)])
def model(request):
    softmax, *tied = request.param.split(", ")
    if softmax == "a layer":
        softmax = layers.AdaptiveSoftmax(20, cutoffs=(6, 12), div_value=2)
    return HVAE(20, softmax=softmax, tie_embeddings=bool(tied), seed=1, **SIZES)


@pytest.mark.slow
def test_trains_saves_and_scores_alike(model, make_ids, tmp_path):
    ids = make_ids()
    model.compile("adam", jit_compile=JIT)
    before = [to_numpy(w) for w in model.emission.token_nll.trainable_weights]
    history = model.fit(ids, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for weight, old in zip(model.emission.token_nll.trainable_weights, before):
        assert (to_numpy(weight) != old).any(), weight.path
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    configs = [json.dumps(x.get_config()) for x in (again, model)]
    assert configs[0] == configs[1]
    for key, value in model.score(ids, seed=0).items():
        np.testing.assert_array_equal(value, again.score(ids, seed=0)[key])


@pytest.mark.slow
@pytest.mark.eager(False)
@pytest.mark.parametrize("softmax", ["full", "adaptive", "sampled"])
def test_trains_in_a_graph(softmax, make_ids):
    model = HVAE(20, softmax=softmax, **SIZES)
    model.compile("adam", jit_compile=JIT)
    history = model.fit(make_ids(), verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_nll_is_of_the_words_that_it_writes(model, make_ids):
    # All are normalised: Σ exp(logits − nll's normaliser) = 1.
    rng = np.random.default_rng(0)
    shape = 1, model.emission.word_decoder.units
    hidden = ops.convert_to_tensor(rng.standard_normal(shape, "float32"))
    log_probs = ops.log_softmax(model.emission.token_nll.logits(hidden))
    every = ops.arange(1, 20, dtype="int32")
    nll = model.emission.token_nll.nll(ops.repeat(hidden, 19, axis=0), every)
    np.testing.assert_allclose(
        to_numpy(nll), -to_numpy(log_probs)[0, 1:], rtol=1e-4
    )
    written = model.generate(num_documents=2, num_sentences=2, seed=3)
    assert written.shape[:2] == (2, 2) and (written < 20).all()


def test_tied_model_has_one_table(make_ids, tmp_path):
    model, free = (HVAE(20, tie_embeddings=x, **SIZES) for x in (True, False))
    # No kernel (12, 20) but a projection (12, 4).
    assert free.count_params() - model.count_params() == 12 * 20 - 12 * 4
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.emission.token_nll.embedding is again.emission.token_embedding


def test_decodes_with_another_softmax(make_hvae):
    model = make_hvae(scale=1.0)
    z = np.random.default_rng(0).standard_normal((3, 2, 2), "float32")
    exact = model.decode(z, max_words=4)
    of = layers.SVDSoftmax.of
    same = model.decode(
        z, max_words=4, softmax=of(model.emission.token_nll, 6, 20)
    )
    np.testing.assert_array_equal(same, exact)
    rough = of(model.emission.token_nll, 1, 1)
    assert (model.decode(z, max_words=4, softmax=rough) != exact).any()


@pytest.mark.parametrize(
    "softmax", ["sampled", layers.TokenNLL(20), layers.TokenNLL(19)]
)
def test_names_a_softmax_it_cannot_decode_with(softmax, make_hvae):
    if softmax != "sampled" and softmax.vocabulary_size == 19:
        softmax.build((None, 6))
    with pytest.raises(ValueError, match="`softmax` must be a built .* 20"):
        make_hvae().generate(softmax=softmax)


def test_names_the_bad_tie():
    for softmax in ("adaptive", "class"):
        with pytest.raises(ValueError, match=f"one linear .*'{softmax}'"):
            HVAE(20, softmax=softmax, tie_embeddings=True, **SIZES)
    with pytest.raises(ValueError, match="needs the name of a softmax"):
        HVAE(20, softmax=layers.TokenNLL(20), tie_embeddings=True, **SIZES)


def test_names_the_bad_softmax():
    with pytest.raises(ValueError, match="`softmax` must be one of .* 'no'"):
        HVAE(20, softmax="no", **SIZES)
    with pytest.raises(ValueError, match="`softmax` must be over .* 20 ids"):
        HVAE(20, softmax=layers.TokenNLL(19), **SIZES)
