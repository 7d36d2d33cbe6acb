"""A chain over frames: the methods of the text model, without words."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
from keras import ops

from keras_hvae import HVAE
from keras_hvae.callbacks import AggressiveEncoder, AutoencoderPretraining
from keras_hvae.emissions import (
    BernoulliEmission,
    GaussianEmission,
    GaussianMixtureEmission,
    NADEEmission,
)
from keras_hvae.evaluation import evaluate, summary
from keras_hvae.inference import compiled
from keras_hvae.optimizers import AggressiveAdam
from tests.harness import slow

pytestmark = pytest.mark.eager

EMISSIONS = {
    "bernoulli": BernoulliEmission,
    "gaussian": GaussianEmission,
    "mixture": GaussianMixtureEmission,
    "nade": NADEEmission,
}
OF_BITS = ("bernoulli", "nade")
KEYS = 88
D = 2


def frames(kind, lengths=(5, 2, 1), dim=4, seed=0):
    rng = np.random.default_rng(seed)
    sequences = [rng.standard_normal((n, dim), "float32") for n in lengths]
    if kind in OF_BITS:
        sequences = [(x > 0).astype("float32") for x in sequences]
    return sequences


@pytest.fixture(
    scope="module", params=["bernoulli", *slow("gaussian", "mixture", "nade")]
)
def kind(request):
    return request.param


def make(kind, dim=4, scale=0.5, **options):
    keras.utils.set_random_seed(0)
    model = HVAE(
        emission=EMISSIONS[kind](dim, hidden_dim=6),
        latent_dim=D,
        hidden_dim=6,
        free_bits=0.0,
        seed=0,
        **options,
    )
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(scale * rng.standard_normal(weight.shape))
    return model


@pytest.fixture(scope="module")
def model(kind):
    return make(kind)


def dense(x, layer):
    kernel, bias = (ops.convert_to_numpy(w) for w in layer.weights)
    return x @ kernel + bias


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"], indirect=True)
def test_log_prob_is_scipys(kind):
    emission = make(kind).emission
    x = emission.batch(frames(kind))
    context = np.random.default_rng(1).standard_normal((3, 8, 6), "float32")
    hidden = np.maximum(dense(context, emission.frame_decoder), 0)
    parameters = dense(hidden, emission.parameters_of)
    if kind == "bernoulli":
        p = 1 / (1 + np.exp(-parameters))
        expected = scipy.stats.bernoulli.logpmf(x["frames"], p)
    else:
        mean, log_var = np.split(parameters, 2, axis=-1)
        expected = scipy.stats.norm.logpdf(
            x["frames"], mean, np.exp(0.5 * log_var)
        )
    expected = expected.sum(axis=-1) * x["mask"]
    received = emission.log_prob(x, ops.convert_to_tensor(context))
    received = ops.convert_to_numpy(received)
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-4)


def moments(emission, context):
    """Mean and variance of a frame's numbers, at a context `(1, 1, C)`."""
    if emission.__class__ in (BernoulliEmission, NADEEmission):
        bits = np.array([*np.ndindex(*[2] * emission.dim)], "float32")
        x = {"frames": bits[None], "mask": np.ones((1, len(bits)), "bool")}
        every = ops.repeat(context, len(bits), axis=1)
        log_prob = ops.convert_to_numpy(emission.log_prob(x, every))[0]
        mean = np.exp(log_prob) @ bits
        return mean, mean * (1 - mean)
    given = [ops.convert_to_numpy(x)[0, 0] for x in emission._given(context)]
    if isinstance(emission, GaussianEmission):
        return given[0], np.exp(given[1])
    weights = scipy.special.softmax(given[0])
    mean = weights @ given[1]
    return mean, weights @ (given[1] ** 2 + np.exp(given[2])) - mean**2


def test_draws_have_the_moments_of_the_distribution(model, kind):
    emission = model.emission
    context = ops.ones((1, 4000, 6))
    size = 1, 4000, emission.num_uniforms()
    uniforms = np.random.default_rng(2).random(size, "float32")
    real = np.ones((1, 4000), "bool")
    real[0, -1] = False
    drawn = ops.convert_to_numpy(emission.sample(context, uniforms, real))
    center, variance = moments(emission, context[:, :1])
    np.testing.assert_allclose(
        drawn[0].mean(0), center, atol=4 * drawn.std() / 60
    )
    np.testing.assert_allclose(drawn[0].var(0), variance, rtol=0.2, atol=0.01)
    assert not drawn[0, -1].any()
    # The ends of [0, 1) are no infinities.
    ends = np.array([[[0.0, 1 - 2.0**-24, 0.5, 0.25, 0.0]]], "float32")
    ends = ends[..., : size[-1]]
    drawn = emission.sample(context[:, :1], ends, real[:, :1])
    assert np.isfinite(ops.convert_to_numpy(drawn)).all()


def test_silence_is_data_and_padding_is_not(kind):
    model = make(kind)
    one = frames(kind, (3,))
    silent = [np.concatenate([one[0], np.zeros((2, 4), "float32")])]
    short, long = (model.score(x, seed=0) for x in (one, silent))
    assert short["frames"].tolist() == [3] and long["frames"].tolist() == [5]
    assert (long["sentence_nll"][0, 3:] != 0).all()
    # What is in a padded frame counts nowhere.
    x = model.emission.batch(one)
    other = {**x, "frames": x["frames"].copy()}
    other["frames"][0, 3:] = 7.0
    noise = np.zeros((*x["mask"].shape, D), "float32")
    same, changed = (
        model.runner.run(compiled.score, x=v, noise=noise) for v in (x, other)
    )
    for key in same:
        np.testing.assert_array_equal(
            same[key][:, :3], changed[key][:, :3], err_msg=key
        )


def test_methods_take_and_give_frames(model, kind):
    sequences = frames(kind)
    new = model.generate(num_documents=2, num_sentences=3, seed=1)
    assert new.shape == (2, 3, 4)
    np.testing.assert_array_equal(
        new, model.generate(num_documents=2, num_sentences=3, seed=1)
    )
    assert model.generate(sequences, num_sentences=2, seed=1).shape == (3, 2, 4)
    assert model.reply(sequences, seed=1).shape == (3, 4)
    again = model.reconstruct(sequences)
    assert [x.shape for x in again] == [(5, 4), (2, 4), (1, 4)]
    one = model.reconstruct(sequences[1])
    assert one.shape == (2, 4)
    line = model.interpolate(sequences[0], sequences[1], steps=3)
    # To the nearest even one of 3.5.
    assert [x.shape for x in line] == [(5, 4), (4, 4), (2, 4)]
    path = model.encode(sequences)
    for x, y in zip(model.decode(path["mean"], path["mask"]), sequences):
        assert x.shape == y.shape
    encoded = model.encode(sequences)
    assert encoded["mean"].shape == (3, 5, D)
    assert encoded["mask"].sum(axis=1).tolist() == [5, 2, 1]
    alone = model.encode(sequences[1])
    np.testing.assert_allclose(alone["mean"], encoded["mean"][1, :2], atol=1e-5)
    if kind in OF_BITS:
        assert np.isin(new, (0, 1)).all()


@pytest.mark.slow
def test_a_deep_markov_model_of_88_keys_learns():
    """Two chords in turn: to know which is next leaves ln 2 a piece."""
    chords = np.zeros((2, KEYS), "float32")
    chords[0, [10, 20, 30]] = chords[1, [12, 24, 36]] = 1
    pieces = [chords[(np.arange(6) + i) % 2] for i in range(2)] * 8
    model = HVAE(
        emission=BernoulliEmission(KEYS, hidden_dim=16),
        latent_dim=4,
        hidden_dim=16,
        free_bits=0.0,
        seed=0,
    )
    # XLA compiles longer than it runs here.
    jit = keras.config.backend() == "jax"
    model.compile(keras.optimizers.Adam(0.02), jit_compile=jit)
    x = model.emission.batch(pieces)
    history = model.fit(x, epochs=60, verbose=0).history
    assert set(history) == {"loss", "nll", "kl", "kl_weight"}
    scores = model.score(pieces[:2], num_samples=8, seed=0)
    # 366 nats of a model that knows nothing, 6 frames of 88 coins.
    assert (-scores["elbo"] < 40).all()
    assert (scores["nll"] + scores["kl"] > np.log(2)).all()


def test_figures_of_an_evaluation_are_of_frames(model, kind):
    sequences = frames(kind, (4, 3, 2, 2), seed=5)
    dataset = [model.emission.batch(x) for x in (sequences[:3], sequences[3:])]
    figures = evaluate(
        model,
        dataset,
        ["likelihood", "latents", "iwae", "particles"],
        num_samples=20,
        verbose=0,
    )
    assert (figures["documents"], figures["frames"]) == (4, 11)
    assert "perplexity_bound" not in figures
    sweep = figures["iwae"]["sweep"]
    assert sweep["20"] < sweep["1"]
    bounds = [figures[x]["nll"]["per_frame"] for x in ("iwae", "particles")]
    assert bounds[1] == pytest.approx(bounds[0], rel=0.1)
    assert figures["neg_elbo"]["per_frame"] > bounds[0] - 0.2
    assert figures["information"] is not None
    assert "11 frames" in summary(figures)
    with pytest.raises(ValueError, match="must be without 'samples'"):
        evaluate(model, dataset, ["samples"])


def test_saved_models_have_their_emission(model, kind, tmp_path):
    sequences = frames(kind)
    expected = model.score(sequences, seed=0)["sentence_elbo"]
    model.save(tmp_path / "model.keras")
    model.save_to_preset(tmp_path / "preset")
    for loaded in (
        keras.saving.load_model(tmp_path / "model.keras"),
        HVAE.from_preset(tmp_path / "preset"),
    ):
        assert type(loaded.emission) is EMISSIONS[kind]
        np.testing.assert_allclose(
            loaded.score(sequences, seed=0)["sentence_elbo"],
            expected,
            rtol=1e-6,
        )


@pytest.mark.parametrize(
    ("sequences", "match"),
    [
        (np.ones((3, 5)), "shape \\(n, 4\\)"),
        ([np.full((2, 4), np.nan)], "finite"),
        ([np.zeros((0, 4))], "at least one frame"),
        (["a"], "numbers"),
    ],
)
def test_what_are_no_frames_is_refused(model, sequences, match):
    with pytest.raises(ValueError, match=match):
        model.score(sequences)


@pytest.mark.parametrize(
    ("sequences", "match"),
    [
        ([np.ones((5, 1))], r"shape \(n, 2\). Received: .*\(5, 1\)"),
        ([np.ones(2)], r"shape \(n, 2\). Received: .*\(2,\)"),
        (np.ones((6, 2)), r"list of arrays \(n, 2\). Received: .*\(6, 2\)"),
        ([], "at least one frame. Received: 0 sequences"),
        ([np.full((3, 2), np.nan)], "finite"),
    ],
)
def test_a_batch_is_made_of_a_list_of_sequences(sequences, match):
    with pytest.raises(ValueError, match=match):
        BernoulliEmission(2).batch(sequences)


@pytest.mark.parametrize(
    "change",
    [
        lambda mask: mask.astype("int32"),
        lambda mask: mask[:, :-1],
        lambda mask: mask[..., None],
    ],
)
def test_a_mask_is_bool_and_a_frame_each(model, kind, change):
    x = model.emission.batch(frames(kind))
    bad = {**x, "mask": change(x["mask"])}
    match = r"`mask` must be bool .*\(3, 8\). Received: (int32|bool) of shape"
    for refuse in (model.score, model.evaluate, model.encode):
        with pytest.raises(ValueError, match=match):
            refuse(bad)


def test_unbatch_takes_no_ints_for_places(model, kind):
    sequences = frames(kind)
    x = model.emission.batch(sequences)
    x = {**x, "mask": x["mask"].astype("int32")}
    for got, expected in zip(model.emission.unbatch(x), sequences):
        np.testing.assert_array_equal(got, expected)


def test_pretraining_resets_the_decoder_of_frames(kind):
    model = make(kind)
    model.compile(keras.optimizers.Adam(0.0))  # only the callback changes it
    decoder, encoder = (
        ops.convert_to_numpy(layer.kernel)
        for layer in (
            model.emission.frame_decoder,
            model.emission.frame_encoder,
        )
    )
    model.fit(
        model.emission.batch(frames(kind)),
        batch_size=2,
        callbacks=[AutoencoderPretraining(1, 1)],
        verbose=0,
    )
    changed = ops.convert_to_numpy(model.emission.frame_decoder.kernel)
    assert (changed != decoder).any()
    kept = ops.convert_to_numpy(model.emission.frame_encoder.kernel)
    np.testing.assert_array_equal(kept, encoder)


def test_an_aggressive_encoder_needs_words(model, kind):
    x = model.emission.batch(frames(kind))
    with pytest.raises(ValueError, match="needs a model of words.* Received"):
        model.compile(AggressiveAdam())
        model.fit(x, callbacks=[AggressiveEncoder([x])], verbose=0)


def test_arguments_are_checked():
    emission = BernoulliEmission(4)
    with pytest.raises(ValueError, match="zeros and ones"):
        HVAE(emission=emission, latent_dim=D, hidden_dim=4).score(
            [np.full((1, 4), 0.5)]
        )
    with pytest.raises(ValueError, match="`vocabulary` must be None"):
        HVAE(20, emission=BernoulliEmission(4))
    with pytest.raises(ValueError, match="`emission` must be"):
        HVAE(emission="frames")
    model = HVAE(emission=BernoulliEmission(4), latent_dim=D, hidden_dim=4)
    with pytest.raises(ValueError, match="no options to sample with"):
        model.generate(sampler="top_p")
    with pytest.raises(ValueError, match="`max_words` is for models of words"):
        model.generate(max_words=4)
