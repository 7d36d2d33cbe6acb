"""Frames whose numbers depend on each other, given the context."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import expit, log_softmax, logsumexp
from scipy.stats import norm

from keras_hvae import HVAE, generative
from keras_hvae.emissions import GaussianMixtureEmission, NADEEmission
from tests.harness import slow

pytestmark = pytest.mark.eager

to_numpy = ops.convert_to_numpy
D, C = 4, 3
BITS = np.array([*np.ndindex(*[2] * D)], "float32")
N = len(BITS)


def nade(scale=1.0, **options):
    return with_random_weights(NADEEmission(D, 5, 6, **options), scale)


def with_random_weights(emission, scale=1.0):
    rng = np.random.default_rng(0)
    emission.frame_decoder.build((None, None, C))
    emission.parameters_of.build((None, None, emission.hidden_dim))
    for weight in emission.weights:
        weight.assign(scale * rng.standard_normal(weight.shape))
    return emission


def batch(frames):
    return {"frames": frames, "mask": np.ones(frames.shape[:2], "bool")}


def contexts(*shape, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((*shape, C)).astype("float32")


def last_loss(model, frames, epochs):
    options = {"batch_size": len(frames), "epochs": epochs, "verbose": 0}
    return model.fit(batch(frames), **options).history["loss"][-1]


def log_probs(emission, x, context):
    context = ops.convert_to_tensor(context)
    return to_numpy(emission.log_prob(x, context))


def written(emission, context):
    """What the parameters of a frame are, in NumPy."""
    V, v, W, w = (
        to_numpy(x).astype("float64")
        for layer in (emission.frame_decoder, emission.parameters_of)
        for x in layer.weights
    )
    return np.maximum(context @ V + v, 0) @ W + w


def by_recursion(emission, x, context):
    """log p(x_i | context_i) of a `NADEEmission`, `(B, n)`, bit by bit."""
    W, c, V, b = (to_numpy(w) for w in emission.conditionals.weights)
    shifts = written(emission, context)
    a, b = shifts[..., :5] + c, shifts[..., 5:] + b[:, 0]
    total = 0.0
    for i in range(D):
        p = expit(expit(a) @ V[i, 0] + b[..., i])
        total = total + np.log(np.where(x[..., i], p, 1 - p))
        a = a + x[..., i : i + 1] * W[i]
    return total


def test_a_nade_is_the_recursion_and_sums_to_1():
    emission = nade()
    frames = np.stack([BITS, BITS])
    context = np.repeat(contexts(2, 1), N, axis=1)
    found = log_probs(emission, batch(frames), context)
    expected = by_recursion(emission, frames, context)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, rtol=1e-5)
    assert (np.abs(found[0] - found[1]) > 1e-3).all()


def test_without_a_context_it_is_the_model_of_vectors():
    emission, model = nade(), generative.NADE(D, units=5)
    emission.frame_decoder.set_weights([np.zeros((C, 6)), np.zeros(6)])
    emission.parameters_of.set_weights([np.zeros((6, 5 + D)), np.zeros(5 + D)])
    model.conditionals.set_weights(emission.conditionals.get_weights())
    found = log_probs(emission, batch(BITS[None]), np.zeros((1, N, C)))
    np.testing.assert_allclose(found[0], model.log_prob(BITS), rtol=1e-5)


def test_gradients_reach_the_context_and_all_weights(value_and_gradients):
    emission = nade(scale=0.7)
    frames, context = BITS[None, 3:9], contexts(1, 6)

    def total(context):
        return ops.sum(emission.log_prob(batch(frames), context))

    _, (gradient,) = value_and_gradients(total, context)

    def slope(array, place, value):
        sides = []
        for sign in (1, -1):
            moved = array.astype("float64")
            moved[place] += sign * 1e-4
            sides.append(value(moved))
        return (sides[0] - sides[1]) / 2e-4

    for place in np.ndindex(1, 6, C):
        expected = slope(
            context, place, lambda c: by_recursion(emission, frames, c).sum()
        )
        assert gradient[place] == pytest.approx(expected, rel=1e-2, abs=1e-3)
    # A step of gradient descent at rate 1 is the gradient of the loss.
    inputs = emission.inputs()
    given = keras.Input((None, C), name="context")
    model = keras.Model(
        {**inputs, "context": given}, emission.nll(inputs, given)
    )
    model.compile(keras.optimizers.SGD(1.0))
    weights = emission.conditionals.weights
    before = emission.get_weights()
    model.train_on_batch({**batch(frames), "context": context})
    after = [to_numpy(w) for w in weights]
    emission.set_weights(before)
    for weight, new in zip(weights, after):
        old = to_numpy(weight)

        def value(moved, weight=weight):
            weight.assign(moved)
            return by_recursion(emission, frames, context).sum()

        for place in np.ndindex(old.shape):
            expected = slope(old, place, value)
            found = (new - old)[place]
            assert found == pytest.approx(expected, rel=2e-2, abs=5e-3)
        weight.assign(old)


def test_draws_of_a_nade_have_its_probabilities():
    emission, n = nade(), 20_000
    context = contexts(1, 1)
    every = np.repeat(context, N, axis=1)
    probs = np.exp(log_probs(emission, batch(BITS[None]), every))[0]
    uniforms = np.random.default_rng(0).random((1, n, D), "float32")
    real = np.arange(n)[None] < n - 1
    x = to_numpy(
        emission.sample(
            ops.repeat(context, n, axis=1),
            ops.convert_to_tensor(uniforms),
            real,
        )
    )[0]
    found = np.bincount((x @ [8, 4, 2, 1]).astype(int), minlength=N) / n
    assert 0.5 * np.abs(found - probs).sum() < 0.03
    assert not x[-1].any()


@pytest.mark.parametrize("cls", [NADEEmission, GaussianMixtureEmission])
def test_silence_is_data_and_padding_is_not(cls):
    emission = with_random_weights(cls(D, hidden_dim=6))
    x = emission.batch([np.zeros((2, D)), np.ones((3, D))])
    context = contexts(2, 8)
    found = log_probs(emission, x, context)
    assert ((found != 0) == x["mask"]).all()
    other = np.where(x["mask"][..., None], x["frames"], np.nan)
    again = log_probs(emission, {**x, "frames": other}, context)
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("cls", [NADEEmission, GaussianMixtureEmission])
def test_under_mixed_precision_nats_are_float32(cls):
    exact = with_random_weights(cls(D, hidden_dim=6))
    half = with_random_weights(cls(D, hidden_dim=6, dtype="mixed_bfloat16"))
    x, context = batch(BITS[None]), contexts(1, N)
    found = half.log_prob(x, ops.cast(context, "bfloat16"))
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    expected = log_probs(exact, x, context)
    # Eight bits of the parameters.
    np.testing.assert_allclose(to_numpy(found), expected, rtol=0.1, atol=0.3)


@pytest.mark.parametrize("cls", [NADEEmission, *slow(GaussianMixtureEmission)])
def test_under_a_chain(cls, tmp_path):
    model = HVAE(
        emission=cls(D, hidden_dim=6), hidden_dim=4, latent_dim=2, seed=0
    )
    songs = [BITS[:5], BITS[9:12]]
    model.compile("adam")
    model.fit(model.emission.batch(songs), verbose=0)
    assert model.generate(num_documents=2, num_sentences=3, seed=0).shape == (
        2,
        3,
        D,
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    np.testing.assert_allclose(
        loaded.score(songs, seed=0)["elbo"], model.score(songs, seed=0)["elbo"]
    )


@pytest.mark.slow
@pytest.mark.eager(False)
def test_under_a_gru_it_learns_what_follows():
    """A key, then the next one, with a pair of keys or without."""
    rng = np.random.default_rng(0)
    pair = rng.integers(0, 2, (256, 8))
    first = np.broadcast_to(np.arange(8) % 2, pair.shape)
    frames = np.stack([first, 1 - first, pair, pair], axis=2, dtype="float32")
    emission = NADEEmission(D, units=8, hidden_dim=16)
    x = emission.inputs()
    before = ops.pad(x["frames"], [(0, 0), (1, 0), (0, 0)])[:, :-1]
    context = keras.layers.GRU(8, return_sequences=True)(before)
    model = keras.Model(x, emission.nll(x, context))
    model.compile(keras.optimizers.Adam(0.03))
    # Eight coins, where independent keys would take 16.
    loss = last_loss(model, frames, epochs=120)
    assert 8 * np.log(2) - 0.1 < loss < 8 * np.log(2) + 1


# === Mixtures of Gaussians ===


def test_a_mixture_is_scipys():
    emission = with_random_weights(GaussianMixtureEmission(D, 3, 6))
    frames, context = contexts(2, 5, seed=2)[..., [0, 1, 2, 0]], contexts(2, 5)
    p = written(emission, context)
    logits, mean, log_var = p[..., :3], p[..., 3:15], p[..., 15:]
    mean = mean.reshape(2, 5, 3, D) + emission.places
    sigma = np.exp(0.5 * log_var.reshape(2, 5, 3, D))
    parts = norm.logpdf(frames[:, :, None], mean, sigma).sum(axis=-1)
    expected = logsumexp(log_softmax(logits, axis=-1) + parts, axis=-1)
    found = log_probs(emission, batch(frames), context)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.eager(False)
def test_without_a_context_components_find_two_modes():
    rng = np.random.default_rng(0)
    signs = rng.choice([-1, 1], (1, 200, 1))
    frames = signs * np.array([1.0, -1.0]) + 0.1 * rng.standard_normal(
        (1, 200, 2)
    )
    emission = GaussianMixtureEmission(2, 2, hidden_dim=4)
    x = emission.inputs()
    context = ops.zeros_like(x["frames"])
    model = keras.Model(x, emission.nll(x, context))
    model.compile(keras.optimizers.Adam(0.1))
    loss = last_loss(model, frames.astype("float32"), epochs=60)
    # ln 2, and two Gaussians with a deviation of 0.1.
    entropy = np.log(2) + np.log(2 * np.pi * np.e * 0.01)
    assert loss / 200 == pytest.approx(entropy, abs=0.1)


def test_arguments_are_checked():
    for cls, name in (
        (GaussianMixtureEmission, "components"),
        (NADEEmission, "units"),
    ):
        for argument in (name, "dim", "hidden_dim"):
            with pytest.raises(ValueError, match=f"`{argument}` must be an in"):
                cls(**{"dim": 2, argument: 0})
    with pytest.raises(ValueError, match="`frames` must be zeros and ones"):
        NADEEmission(2).batch([np.full((1, 2), 0.5)])
    with pytest.raises(ValueError, match="`max_words` is for models of words"):
        GaussianMixtureEmission(2).num_uniforms(3)
