"""Chains whose prior and decoder know the text before: `past="text"`."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae import HRED, HVAE
from keras_hvae.emissions import BernoulliEmission
from keras_hvae.evaluation.bounds import importance_bounds, particle_bounds
from keras_hvae.inference import compiled
from keras_hvae.layers.latent.transition import TRANSITIONS
from keras_hvae.models import FlatVAE
from tests.harness import run_model_test

pytestmark = pytest.mark.eager
to_numpy = ops.convert_to_numpy
WORDS = ["yes", "no", "king", "."]


@pytest.fixture(scope="module")
def model(make_hvae):
    return make_hvae(scale=1.0, past="text")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("transition", "prior"),
    [
        ("rnn", "shared"),
        ("gated", "learned"),
        *(
            pytest.param(*x, marks=pytest.mark.full)
            for x in itertools.product(TRANSITIONS, ("learned", "shared"))
            if x not in (("rnn", "shared"), ("gated", "learned"))
        ),
    ],
)
def test_it_is_a_model_as_others(transition, prior, make_ids, tmp_path):
    arguments = {
        "vocabulary": WORDS,
        "latent_dim": 2,
        "embedding_dim": 4,
        "hidden_dim": 6,
        "transition": transition,
        "prior": prior,
        "past": "text",
        "seed": 0,
    }
    model = run_model_test(HVAE, arguments, make_ids(vocabulary=8), tmp_path)
    assert model.get_config()["inference"] == "filtering"


@pytest.mark.slow
def test_in_mixed_precision_with_a_first_prior_of_its_own(
    make_ids, tmp_path, mixed_float16
):
    arguments = {
        "vocabulary": WORDS,
        "latent_dim": 2,
        "embedding_dim": 4,
        "hidden_dim": 6,
        "initial_prior": "empirical",
        "past": "text",
        "rate": 3.0,
        "seed": 0,
    }
    ids = make_ids(vocabulary=8)
    model = run_model_test(HVAE, arguments, ids, tmp_path)
    before = model.score(ids, seed=0)["sentence_kl"]
    model.fit_initial_prior([ids], moments=True)
    after = model.score(ids, seed=0)["sentence_kl"]
    # The posteriors are nearer to it, and no other sentence's prior moves.
    assert after[:, 0].mean() < before[:, 0].mean()
    np.testing.assert_array_equal(after[:, 1:], before[:, 1:])


def test_without_its_latents_it_is_hred(make_model, make_ids):
    """The same weights; those of the latents in the decoder are 0."""
    hred = make_model(HRED, scale=0.5)
    model = make_model(HVAE, scale=0.5, past="text")
    width = model.latent_chain.lat2dec.units
    for weight in model.weights:
        path = weight.path.replace("context_encoder/forward_gru", "context_gru")
        same = [x for x in hred.weights if x.path == path]
        if not same:
            assert not weight.path.startswith("emission"), weight.path
            continue
        (source,) = same
        value = to_numpy(source)
        if tuple(weight.shape) != value.shape:
            # What reads a context gets [d; c].
            more = weight.shape[0] - value.shape[0]
            assert more == width and weight.shape[1:] == value.shape[1:]
            own = len(value) - hred.context_gru.units
            zeros = np.zeros((width, *value.shape[1:]), value.dtype)
            value = np.concatenate([value[:own], zeros, value[own:]])
        weight.assign(value)
    ids = make_ids()
    np.testing.assert_allclose(
        model.score(ids, seed=0)["sentence_nll"],
        hred.score(ids)["sentence_nll"],
        rtol=1e-5,
        atol=1e-5,
    )


def test_prior_and_decoder_know_the_text_before(model, make_ids):
    ids = make_ids(1)
    other = ids.copy()
    other[0, 1, 0] = 5 if ids[0, 1, 0] != 5 else 6
    noise = np.zeros((1, 4, 2), "float32")
    one, two = (
        model.infer(x, ops.convert_to_tensor(noise)) for x in (ids, other)
    )
    for key, first in (("mean", 1), ("prior_mean", 2), ("context", 1)):
        a, b = (to_numpy(x[key])[0] for x in (one, two))
        np.testing.assert_allclose(a[:first], b[:first], atol=1e-6)
        assert (np.abs(a[first:] - b[first:]).max(axis=1) > 1e-5).all(), key
    # What the decoder reads of the text before, and the prior at one z.
    units = model.context_encoder.units
    a, b = (x["context"][0, :, -units:] for x in (one, two))
    np.testing.assert_allclose(to_numpy(a)[:2], to_numpy(b)[:2], atol=1e-6)
    assert (np.abs(to_numpy(a - b)[2:]).max(axis=1) > 1e-5).all()
    z = ops.zeros((4, 2))
    a, b = (
        model.latent_chain.prior_after(z, np.ones((4, 1), "bool"), x).mean
        for x in (a, b)
    )
    assert (np.abs(to_numpy(a - b)[2:]).max(axis=1) > 1e-5).all()


def test_contexts_of_writing_are_those_of_reading(model, make_ids):
    ids = make_ids(2)
    noise = np.random.default_rng(0).standard_normal((2, 4, 2), "float32")
    given = np.arange(4) < np.array([[2], [1]])
    contexts = model.runner.run(
        compiled.posterior_context, x=ids, noise=0 * noise
    )["context"]

    def written(ids):
        return to_numpy(
            model.predict_context(
                *map(ops.convert_to_tensor, (ids, noise, given))
            )
        )

    found = written(ids)
    np.testing.assert_allclose(found[given], contexts[given], atol=1e-5)
    # A sentence that is being written does not know itself.
    other = ids.copy()
    other[0, 2, 0] = 5 if ids[0, 2, 0] != 5 else 6
    np.testing.assert_allclose(written(other)[0, :3], found[0, :3], atol=1e-6)
    assert np.abs(written(other)[0, 3] - found[0, 3]).max() > 1e-5


@pytest.mark.slow
def test_bounds_reach_the_integral(make_hvae, make_ids):
    model = make_hvae(scale=0.5, past="text", latent_dim=1, transition="rnn")
    ids = make_ids(1, sentences=3, words=3)
    ids[0, :, 2] = 3
    ids[0, :, :2] = [[5, 6], [7, 4], [6, 5]]
    # log ∫ p(z_1) p(x_1 | z_1) ∏ p(z_i | z_{i-1}, x_<i) p(x_i | z_i, x_<i) on a
    # grid.
    grid = np.linspace(-6.4, 6.4, 33, dtype="float32")
    grids = np.meshgrid(grid, grid, grid, indexing="ij")
    z = np.stack(grids, -1).reshape(-1, 3, 1)
    chain = model.latent_chain
    contexts, _ = model.context_encoder(model.emission.embed(ids))
    before = np.asarray(to_numpy(chain.before(contexts)))
    rows = np.repeat(before, len(z), axis=0)
    one = chain.first_prior.log_prob(ops.convert_to_tensor(z[:, 0]))
    later = [
        chain.prior_after(
            ops.convert_to_tensor(z[:, i - 1]),
            np.ones((len(z), 1), "bool"),
            ops.convert_to_tensor(rows[:, i]),
        ).log_prob(ops.convert_to_tensor(z[:, i]))
        for i in (1, 2)
    ]
    words = model.emission.log_prob(
        np.repeat(ids, len(z), axis=0),
        chain.decoder_context(
            ops.convert_to_tensor(z), ops.convert_to_tensor(rows)
        ),
    )
    total = to_numpy(one) + sum(map(to_numpy, later))
    total = total + to_numpy(words).sum(axis=1)
    step = float(grid[1] - grid[0])
    exact = -(np.logaddexp.reduce(total.astype("float64")) + 3 * np.log(step))
    for bounds in (importance_bounds, particle_bounds):
        found = bounds(model, [ids], 8000, verbose=0)["nll"]["per_document"]
        assert found == pytest.approx(exact, abs=0.05), bounds
    elbo = -model.score(ids, num_samples=50, seed=0)["elbo"][0]
    assert exact < elbo < exact + 5


def test_replies_go_on_from_a_state(make_hvae, make_ids):
    model = make_hvae(scale=1.0, past="text")
    ids = make_ids(1)
    whole, state = model.reply(ids, return_state=True, seed=4, max_words=6)
    _, first = model.reply(ids[:, :2], return_state=True, seed=1, max_words=6)
    parts, again = model.reply(
        ids[:, 2:], state=first, return_state=True, seed=4, max_words=6
    )
    np.testing.assert_array_equal(whole, parts)
    for key, value in state.items():
        np.testing.assert_allclose(again[key], value, atol=1e-5)
    # What `generate` writes first is what `reply` does.
    written = model.generate(ids, num_sentences=1, seed=4, max_words=6)
    np.testing.assert_array_equal(written[:, 0], whole)


@pytest.mark.slow
def test_writes_from_nothing_and_after_text(make_hvae):
    model = make_hvae(WORDS, scale=0, past="text")
    new = model.generate(num_documents=2, num_sentences=3, seed=0, max_words=4)
    assert [len(x) for x in new] == [3, 3]
    assert new == model.generate(
        num_documents=2, num_sentences=3, seed=0, max_words=4
    )
    assert len(model.generate(["yes no"], num_sentences=2, seed=1)) == 2
    assert isinstance(model.reply(["yes no", "no"], seed=0), str)
    assert len(model.reconstruct(["yes", "no"])) == 2


def test_what_it_has_no_means_for(model, make_ids):
    for call in (
        lambda: model.decode(np.zeros((2, 2))),
        lambda: model.interpolate(make_ids(1)[0], make_ids(1)[0]),
    ):
        with pytest.raises(NotImplementedError, match="latents that alone"):
            call()
    for call in (
        lambda: model.roll_out(np.zeros((1, 3, 2), "float32")),
        lambda: model.decoder_context(np.zeros((1, 3, 2), "float32")),
    ):
        with pytest.raises(ValueError, match="`before` must be given"):
            call()
    frames = HVAE(
        emission=BernoulliEmission(3), latent_dim=2, hidden_dim=6, past="text"
    )
    with pytest.raises(NotImplementedError, match="`generate` needs.*words"):
        frames.generate(num_documents=1)
    with pytest.raises(ValueError, match='`inference` must.*"filtering"'):
        HVAE(20, past="text", inference="smoothing")
    with pytest.raises(ValueError, match="`past` must be one of"):
        HVAE(20, past="words")
    with pytest.raises(ValueError, match='`past` must be "latents"'):
        FlatVAE(20, past="text")


@pytest.mark.slow
def test_its_figures(model, make_ids):
    from keras_hvae.evaluation import evaluate

    metrics = ["likelihood", "latents", "iwae", "particles"]
    figures = evaluate(model, [make_ids()], metrics, num_samples=20, verbose=0)
    assert figures["z_ablation"] is not None
    assert figures["particles"]["num_particles"] == 20
    assert keras.ops.isfinite(figures["iwae"]["nll"]["per_token"])
