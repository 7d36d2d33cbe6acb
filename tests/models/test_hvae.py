"""What the model computes, and what it must not depend on."""

import numpy as np
import pytest
from keras import ops

from keras_hvae import HVAE, layers
from keras_hvae.inference import compiled

to_numpy = ops.convert_to_numpy


def score(model, ids, noise):
    """nll and kl per sentence, with this noise."""
    method = model.runner.compiled(compiled.score)
    out = method.predict_on_batch({"x": ids, "noise": noise})
    return {key: np.asarray(out[key]) for key in ("nll", "kl")}


def draw(ids, latent_dim=2):
    rng = np.random.default_rng(0)
    return rng.standard_normal((*ids.shape[:2], latent_dim), "float32")


def assert_close(x, y):
    np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def model(make_hvae):
    return make_hvae()


def test_is_its_layers(model, make_ids):
    # The whole of the forward pass once more, step by step.
    ids, noise = make_ids(), draw(make_ids())
    mask = ops.convert_to_tensor((ids != 0).any(-1))
    words = model.emission.token_embedding(ids)
    h = model.emission.word_encoder(words, mask=ops.convert_to_tensor(ids != 0))
    c, b = model.context_encoder(h, mask=mask)
    chain = model.latent_chain(
        c, b, mask=mask, noise=ops.convert_to_tensor(noise)
    )
    previous = np.pad(
        ids[..., :-1], ((0, 0), (0, 0), (1, 0)), constant_values=2
    )
    states = model.emission.word_decoder(
        model.emission.token_embedding(previous), chain["context"]
    )
    nll = model.emission.token_nll.nll(states, ops.convert_to_tensor(ids))
    kl = layers.DiagGaussianKL()(
        *(chain[k] for k in ("mean", "log_var", "prior_mean", "prior_log_var")),
        mask=mask,
    )
    out = score(model, ids, noise)
    assert_close(out["nll"], to_numpy(nll).sum(-1))
    assert_close(out["kl"], to_numpy(kl))


def test_outputs(model, make_ids):
    ids = make_ids()
    out = {key: to_numpy(x) for key, x in model(ids).items()}
    per_latent = ids.shape[:2] + (2,)
    assert {key: x.shape for key, x in out.items()} == {
        "nll": ids.shape[:2],
        "kl": ids.shape[:2],
        "z": per_latent,
        "mean": per_latent,
        "log_var": per_latent,
    }
    # The same as `score` says for the noise that was drawn.
    noise = (out["z"] - out["mean"]) / np.exp(out["log_var"] / 2)
    again = score(model, ids, noise)
    for key in again:
        np.testing.assert_allclose(out[key], again[key], rtol=1e-3, atol=1e-4)


def test_adds_two_losses(model, make_ids):
    # One term for the words and one for the KL: without the latter it would
    # be a plain autoencoder, and nothing else would look different.
    model(make_ids())
    assert len(model.losses) == 2
    out = model(make_ids())
    sums = [float(to_numpy(out[k]).sum()) / 3 for k in ("nll", "kl")]
    losses = sorted(float(to_numpy(x)) for x in model.losses)
    np.testing.assert_allclose(losses, sorted(sums), rtol=1e-5)
    assert min(sums) > 0.1


@pytest.mark.slow
def test_padding_changes_nothing(model, make_ids):
    ids = make_ids()
    noise = draw(ids)
    expected = score(model, ids, noise)
    assert (expected["nll"] > 0).tolist() == (ids != 0).any(-1).tolist()
    for room in ((0, 0, 3), (0, 2, 0), (2, 0, 0), (1, 1, 1)):
        room = [(0, r) for r in room]
        # Noise where nothing is must not matter, either.
        more = np.pad(noise, [*room[:2], (0, 0)], constant_values=9.0)
        out = score(model, np.pad(ids, room), more)
        for key, x in out.items():
            assert_close(x[:3, :4], expected[key])
            assert not x[3:].any() and not x[:, 4:].any()


@pytest.mark.slow
def test_batches_change_nothing(model, make_ids):
    ids = make_ids(5)
    noise = draw(ids)
    expected = score(model, ids, noise)
    order = [3, 0, 4, 2, 1]
    shuffled = score(model, ids[order], noise[order])
    for key, x in expected.items():
        assert_close(shuffled[key], x[order])
    for row in range(5):
        count = (ids[row] != 0).any(-1).sum()
        alone = score(model, ids[row, None, :count], noise[row, None, :count])
        for key, x in alone.items():
            assert_close(x[0], expected[key][row, :count])


def test_decoder_sees_earlier_sentences_through_the_latents_only(
    model, make_ids
):
    ids = make_ids(1)
    z = draw(ids)

    def nll(ids):
        ids = ops.convert_to_tensor(ids)
        out = compiled.nll_given_z(model, ids, ops.convert_to_tensor(z))
        return to_numpy(out["nll"])

    other = ids.copy()
    other[0, 0, :2] = [7, 9] if ids[0, 0, 0] != 7 else [9, 7]
    before, after = nll(ids), nll(other)
    assert before[0, 0] != after[0, 0]
    np.testing.assert_array_equal(before[0, 1:], after[0, 1:])
    # ... and z_i speaks to sentence i alone.
    z[:, 1] += 1.0
    changed = nll(ids) != before
    assert changed.tolist() == [[False, True, False, False]]


@pytest.mark.parametrize("backward", ["inclusive", "exclusive"])
def test_one_sentence_informs_its_latent_if_inclusive(make_hvae, backward):
    model = make_hvae(backward=backward)
    ids = np.array([[[5, 6, 3]], [[7, 3, 0]], [[3, 0, 0]]], "int32")
    mean = model.encode(ids)["mean"][:, 0]
    if backward == "inclusive":
        assert len(np.unique(mean.round(4), axis=0)) == 3
    else:
        np.testing.assert_array_equal(mean, mean[[0, 0, 0]])
    # With a second sentence both readings know the document.
    two = np.concatenate([ids, ids], axis=1)
    mean = model.encode(two)["mean"][:, 0]
    assert len(np.unique(mean.round(4), axis=0)) == 3


def test_teacher_forcing_looks_at_earlier_words_only(model, make_ids):
    # The nll of a word must not change with the words behind it.
    ids = make_ids(1)
    z = ops.convert_to_tensor(draw(ids))
    states = model.emission.states(
        ops.convert_to_tensor(ids), model.latent_chain.decoder_context(z)
    )
    other = ids.copy()
    other[0, 0, 2] = 5 if ids[0, 0, 2] != 5 else 6
    changed = model.emission.states(
        ops.convert_to_tensor(other), model.latent_chain.decoder_context(z)
    )
    same = (to_numpy(states) == to_numpy(changed)).all(-1)[0, 0]
    assert same.tolist() == [True, True, True, False, False]


@pytest.mark.slow
@pytest.mark.parametrize("moments", [False, True])
def test_fit_initial_prior_is_the_average(make_hvae, make_ids, moments):
    model = make_hvae(initial_prior="empirical")
    ids = make_ids(7)
    out = model.predict(ids, verbose=0)  # z_1's posterior depends on no draw
    mean = out["mean"][:, 0].astype("float64")
    variance = np.exp(out["log_var"][:, 0].astype("float64")).mean(axis=0)
    if moments:
        variance += mean.var(axis=0)
    padding = np.zeros_like(ids[:2])
    batches = [ids[:3], padding, np.concatenate([ids[3:], padding])]
    model.fit_initial_prior(batches, moments=moments)
    chain = model.latent_chain
    assert_close(to_numpy(chain.initial_mean), mean.mean(axis=0))
    assert_close(to_numpy(chain.initial_log_var), np.log(variance))
    # The KL of the first latent is now to this prior.
    assert_close(
        score(model, ids, draw(ids))["kl"][:, 0],
        to_numpy(
            layers.DiagGaussianKL()(
                out["mean"][:, 0],
                out["log_var"][:, 0],
                ops.convert_to_tensor(chain.initial_mean),
                ops.convert_to_tensor(chain.initial_log_var),
            )
        ),
    )


def test_fit_initial_prior_errors(make_hvae, make_ids):
    with pytest.raises(ValueError, match="Received: 'standard'"):
        make_hvae().fit_initial_prior([make_ids()])
    model = make_hvae(initial_prior="empirical")
    for dataset in ([], [np.zeros_like(make_ids())]):
        with pytest.raises(ValueError, match="`dataset` must have a document"):
            model.fit_initial_prior(dataset)


def test_config_makes_the_model_again(make_hvae):
    model = make_hvae(
        transition="gated",
        prior="learned",
        initial_prior="empirical",
        backward="exclusive",
        dropout=0.1,
        word_dropout=0.2,
        kl_weight=0.3,
        free_bits=0.4,
        free_bits_mode="sentence",
        use_cudnn=False,
        seed=5,
        name="mine",
        dtype="mixed_float16",
    )
    config = model.get_config()
    again = HVAE.from_config(config)
    assert again.get_config() == config
    assert again.name == "mine" and again.kl.free_bits == 0.4
    assert again.dtype_policy.name == "mixed_float16"
    for layer in again.layers:
        if layer.weights and layer.name != "token_nll":
            assert layer.dtype_policy.name == "mixed_float16", layer.name


def test_a_rate_or_a_floor():
    """A rate of 5 by default; who asks for a floor has a model as in 0.1.0."""

    def model(**options):
        return HVAE(20, 2, 4, 8, **options)

    default, floor, neither = (
        model(),
        model(free_bits=4.0),
        model(rate=0),
    )
    assert (default.kl.rate, default.kl.free_bits) == (5.0, 0.0)
    assert default.latent_chain.bounded
    assert (floor.kl.rate, floor.kl.free_bits) == (None, 4.0)
    assert not floor.latent_chain.bounded
    assert not neither.kl.rate and neither.kl.free_bits == 0.0
    assert model(free_bits=0.0).kl.rate is None
    for one in (default, floor, neither, model(rate=1.0, bounded=False)):
        again = HVAE.from_config(one.get_config())
        assert again.get_config() == one.get_config()
    # What 0.1.0 wrote knows neither of them.
    old = {**floor.get_config(), "transition": "rnn"}
    del old["rate"], old["bounded"]
    again = HVAE.from_config(old)
    assert again.kl.rate is None and not again.latent_chain.bounded


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"latent_dim": 0}, "`latent_dim` must be .* Received: 0"),
        ({"embedding_dim": -1}, "`embedding_dim` must be .* Received: -1"),
        ({"hidden_dim": 2.5}, "`hidden_dim` must be .* Received: 2.5"),
        ({"dropout": -0.1}, "`dropout` must be .* Received: -0.1"),
        ({"word_dropout": 1.0}, "`word_dropout` must be .* Received: 1.0"),
        ({"transition": "lstm"}, "`kind` must be .* Received: 'lstm'"),
        ({"prior": "no"}, "`prior` must be .* Received: 'no'"),
        ({"initial_prior": "no"}, "`initial_prior` must be .* Received: 'no'"),
        ({"backward": "no"}, "`backward` must be .* Received: 'no'"),
        ({"kl_weight": -1}, "`kl_weight` must be .* Received: -1"),
        ({"rate": -1}, "`rate` must be .* Received: -1"),
        ({"rate": 2.0, "free_bits": 1.0}, "`free_bits` must be 0 with a"),
        ({"free_bits": -1}, "`free_bits` must be .* Received: -1"),
        ({"free_bits_mode": "no"}, "`free_bits_mode` must be .* 'no'"),
        ({"vocabulary": 0}, "`vocabulary` must .* Received: 0"),
        ({"vocabulary": 4}, "`vocabulary` must .* Received: 4"),
        ({"vocabulary": []}, r"`vocabulary` must .* Received: \[\]"),
    ],
)
def test_constructor_errors(make_hvae, arguments, match):
    with pytest.raises(ValueError, match=match):
        make_hvae(**arguments)


def test_a_model_of_nothing():
    with pytest.raises(ValueError, match="or an `emission`. Rec.*: neither"):
        HVAE()


def test_numpys_integers_are_vocabulary_sizes(make_hvae):
    assert make_hvae(np.int64(9)).get_config()["vocabulary"] == 9


@pytest.mark.parametrize(
    ("ids", "received"),
    [
        (np.zeros((1, 2, 3), "float32"), "float32 of shape .1, 2, 3."),
        (np.zeros((2, 3), "int32"), "int32 of shape .2, 3."),
        (np.zeros((1, 1, 2, 3), "int32"), "int32 of shape .1, 1, 2, 3."),
    ],
)
def test_input_errors(make_hvae, ids, received):
    model = make_hvae()
    model.compile("adam", run_eagerly=True)
    match = f"`token_ids` must be an integer tensor of rank 3.*{received}"
    for run in (model, model.predict, model.fit):
        with pytest.raises(ValueError, match=match):
            run(ids)
