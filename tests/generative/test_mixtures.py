"""Mixtures against enumeration, SciPy, scikit-learn and closed forms."""

import sys

import keras
import numpy as np
import pytest
from scipy.special import expit, log_softmax, logsumexp
from scipy.stats import bernoulli, multivariate_normal

from keras_hvae import generative

pytestmark = pytest.mark.eager

D, K = 4, 3
BITS = np.array([*np.ndindex(*[2] * D)], "float32")
PROTOTYPES = [[0, 0, 0, 0, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]]
COVARIANCES = ("diagonal", "full")


def with_random_weights(model, scale=1.0):
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(scale * rng.standard_normal(weight.shape))
    return model


def parts_of(model):
    """Weights, means and covariances of a `GaussianMixture`, in NumPy."""
    get = keras.ops.convert_to_numpy
    logits, means, log_var = (
        get(x).astype("float64")
        for x in (model.logits, model.means, model.log_var)
    )
    factors = np.exp(0.5 * log_var)[:, None] * np.eye(model.dim)
    if model.covariance == "full":
        factors = factors + np.tril(get(model.lower), -1)
    covs = factors @ factors.swapaxes(1, 2)
    return np.exp(log_softmax(logits)), means, covs


def bits_of_prototypes(rows=1500, flip=0.1):
    rng = np.random.default_rng(0)
    x = np.array(PROTOTYPES)[rng.choice(3, rows, p=[0.5, 0.3, 0.2])]
    return np.where(rng.random(x.shape) < flip, 1 - x, x).astype("float32")


def clusters(rows=600):
    rng = np.random.default_rng(0)
    roots = 0.4 * rng.standard_normal((3, 2, 2)) + 0.2 * np.eye(2)
    places = np.array([[-2, 0], [2, 1], [0, -2]])
    k = rng.choice(3, rows, p=[0.5, 0.3, 0.2])
    noise = rng.standard_normal((rows, 2, 1))
    return (places[k] + (roots[k] @ noise)[..., 0]).astype("float32")


# === Densities ===


def test_one_component_is_independent_bits():
    model = with_random_weights(generative.BernoulliMixture(D, components=1))
    probs = expit(keras.ops.convert_to_numpy(model.log_odds)[0])
    expected = bernoulli.logpmf(BITS, probs).sum(axis=1)
    np.testing.assert_allclose(model.log_prob(BITS), expected, rtol=1e-5)
    x = bits_of_prototypes()
    model = generative.BernoulliMixture(6, components=1)
    history = model.fit_em(x, smoothing=1e-6)
    expected = bernoulli.logpmf(x, x.mean(axis=0)).sum(axis=1).mean()
    assert history[-1] == pytest.approx(expected, abs=1e-4)
    assert (model.encode(x) == 1).all()


def test_bits_are_a_mixture_of_independent_ones():
    model = with_random_weights(generative.BernoulliMixture(D, K), 2.0)
    logits, log_odds = model.get_weights()
    parts = bernoulli.logpmf(BITS[:, None], expit(log_odds)).sum(axis=-1)
    joint = log_softmax(logits) + parts
    expected = logsumexp(joint, axis=1)
    np.testing.assert_allclose(model.log_prob(BITS), expected, rtol=1e-5)
    each = np.exp(joint - expected[:, None])
    np.testing.assert_allclose(model.encode(BITS), each, atol=1e-5)
    np.testing.assert_allclose(
        model.reconstruct(BITS), each @ expit(log_odds), atol=1e-5
    )


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("components", [1, K])
def test_gaussians_are_scipys(covariance, components):
    model = with_random_weights(
        generative.GaussianMixture(D, components, covariance)
    )
    weights, means, covs = parts_of(model)
    x = 2 * np.random.default_rng(1).standard_normal((20, D))
    joint = np.stack(
        [
            np.log(w) + multivariate_normal(m, c).logpdf(x)
            for w, m, c in zip(weights, means, covs)
        ],
        axis=1,
    )
    expected = logsumexp(joint, axis=1)
    np.testing.assert_allclose(model.log_prob(x), expected, rtol=1e-4)
    each = np.exp(joint - expected[:, None])
    np.testing.assert_allclose(model.encode(x), each, atol=1e-4)
    np.testing.assert_allclose(model.reconstruct(x), each @ means, atol=1e-3)


# === Draws, given any part ===


@pytest.mark.parametrize("seen", [[], [1], [0, 3], [0, 1, 2, 3]])
def test_draws_of_bits_given_a_part(seen):
    model = with_random_weights(generative.BernoulliMixture(D, K), 2.0)
    given, observed = np.array([1, 0, 1, 1]), np.isin(np.arange(D), seen)
    probs = np.exp(model.log_prob(BITS))
    probs *= (BITS[:, observed] == given[observed]).all(axis=1)
    n = 20_000
    x = model.sample(n, 0, given, observed, batch_size=n)
    found = np.bincount((x @ [8, 4, 2, 1]).astype(int), minlength=16) / n
    assert 0.5 * np.abs(found - probs / probs.sum()).sum() < 0.02


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("seen", [[], [2], [3, 0], [0, 1, 2]])
def test_draws_of_gaussians_given_a_part(covariance, seen):
    model = with_random_weights(generative.GaussianMixture(D, K, covariance))
    weights, means, covs = parts_of(model)
    given = np.array([0.5, -0.2, 1.0, -0.4])
    observed = np.isin(np.arange(D), seen)
    o, u = np.flatnonzero(observed), np.flatnonzero(~observed)
    logits, centers, spreads = [], [], []
    for w, m, c in zip(weights, means, covs):
        gain = c[np.ix_(u, o)] @ np.linalg.inv(c[np.ix_(o, o)])
        logits.append(
            np.log(w)
            + (
                multivariate_normal(m[o], c[np.ix_(o, o)]).logpdf(given[o])
                if seen
                else 0.0
            )
        )
        centers.append(m[u] + gain @ (given[o] - m[o]))
        spreads.append(c[np.ix_(u, u)] - gain @ c[np.ix_(o, u)])
    each = np.exp(log_softmax(logits))
    mean = each @ np.array(centers)
    second = sum(
        w * (s + np.outer(m, m)) for w, m, s in zip(each, centers, spreads)
    )
    cov = second - np.outer(mean, mean)
    n = 20_000
    x = model.sample(n, 0, given, observed, batch_size=n)
    assert (x[:, o] == given[o].astype("float32")).all()
    scale = np.sqrt(np.diagonal(cov))
    np.testing.assert_allclose(
        (x[:, u].mean(axis=0) - mean) / scale, 0, atol=0.04
    )
    found = np.cov(x[:, u].T).reshape(cov.shape)
    np.testing.assert_allclose(
        (found - cov) / np.outer(scale, scale), 0, atol=0.08
    )


def test_rows_may_have_different_parts():
    model = with_random_weights(generative.GaussianMixture(2, K, "full"))
    given = np.array([[1.0, np.nan], [np.nan, -1.0], [3.0, 4.0]])
    x = model.sample(3, 0, given, np.isfinite(given))
    assert x[0, 0] == 1 and x[1, 1] == -1 and x[2].tolist() == [3, 4]
    alone = model.sample(3, 0, np.array([1.0, 0.0]), np.array([True, False]))
    np.testing.assert_allclose(x[0], alone[0], rtol=1e-5)


# === Expectation–maximisation ===


def test_em_of_bits_climbs_to_a_fixed_point():
    x = bits_of_prototypes()
    model = generative.BernoulliMixture(6, 3)
    history = model.fit_em(x, 300, 1e-9, seed=0, smoothing=1e-6)
    assert len(history) > 10 and (np.diff(history) > 0).all()
    assert history[-1] == pytest.approx(model.log_prob(x).mean(), abs=1e-5)
    assert model.fit_em(x, 300, 1e-9, seed=0, smoothing=1e-6) == history
    # A step of EM from there leads nowhere.
    each = model.encode(x)
    logits, log_odds = model.get_weights()
    weights = np.exp(log_softmax(logits))
    np.testing.assert_allclose(each.mean(axis=0), weights, atol=1e-3)
    again = each.T @ x / each.sum(axis=0)[:, None]
    np.testing.assert_allclose(again, expit(log_odds), atol=1e-3)
    # It has found what the data were drawn from.
    np.testing.assert_allclose(np.sort(weights), [0.2, 0.3, 0.5], atol=0.05)
    found = sorted((log_odds > 0).astype(int).tolist())
    assert found == sorted(PROTOTYPES)
    assert len(model.fit_em(x, max_steps=2, seed=0)) == 3


def test_smoothing_leaves_no_probability_at_0():
    model = generative.BernoulliMixture(2, components=1)
    model.fit_em(np.zeros((8, 2)), smoothing=1.0)
    # (0 + 1) / (8 + 2)
    expected = 2 * np.log(0.1)
    assert model.log_prob(np.ones((1, 2)))[0] == pytest.approx(expected)
    # Fewer rows than components.
    model = generative.BernoulliMixture(2, components=5)
    assert np.isfinite(model.fit_em(np.array([[0, 1], [1, 1]]))).all()


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_em_of_gaussians_is_scikit_learns(covariance):
    mixture = pytest.importorskip("sklearn.mixture")
    x = clusters()
    model = generative.GaussianMixture(2, 3, covariance)
    history = model.fit_em(x, seed=0, tolerance=1e-6)
    assert len(history) > 2 and (np.diff(history) > -1e-6).all()
    log_prob = model.log_prob(x)
    assert history[-1] == pytest.approx(log_prob.mean(), abs=1e-4)
    other = mixture.GaussianMixture(
        3,
        covariance_type={"diagonal": "diag", "full": "full"}[covariance],
        tol=1e-6,
        random_state=0,
    ).fit(x)
    np.testing.assert_allclose(log_prob, other.score_samples(x), atol=2e-3)
    np.testing.assert_allclose(
        model.encode(x), other.predict_proba(x), atol=2e-3
    )
    assert len(model.fit_em(x, max_steps=2, tolerance=0, seed=0)) == 3


@pytest.mark.eager(False)
@pytest.mark.slow
@pytest.mark.parametrize("name", ["bits", *COVARIANCES])
def test_gradients_come_near_em(name):
    if name == "bits":
        x = bits_of_prototypes()
        model = generative.BernoulliMixture(6, 3)
        model.log_odds.assign(0.3 * np.array(PROTOTYPES))
    else:
        pytest.importorskip("sklearn")
        x = clusters()
        model = generative.GaussianMixture(2, 3, name)
        model.means.assign([[-1, 0], [1, 1], [0, -1]])
    # From other places it may climb to a lower top.
    jit = keras.config.backend() == "jax"  # XLA takes long to compile
    model.compile(keras.optimizers.Adam(0.1), jit_compile=jit)
    model.fit(x, epochs=150, batch_size=len(x), verbose=0)
    climbed = model.log_prob(x).mean()
    assert climbed == pytest.approx(model.fit_em(x, seed=0)[-1], abs=0.01)


def test_what_em_cannot_take_is_refused(monkeypatch):
    x = bits_of_prototypes(20)
    model = generative.BernoulliMixture(6, 2)
    for arguments, message in (
        ({"max_steps": 0}, "`max_steps` must be an integer >= 1. Received: 0"),
        ({"tolerance": -1}, "`tolerance` must be a number >= 0. Received: -1"),
        ({"tolerance": np.nan}, "`tolerance` must be a number >= 0. Received"),
        ({"smoothing": 0}, "`smoothing` must be a number > 0. Received: 0"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit_em(x, **arguments)
    with pytest.raises(ValueError, match=r"in \[0, 1\]. Received: "):
        model.fit_em(2 * x)
    monkeypatch.setitem(sys.modules, "sklearn.exceptions", None)
    with pytest.raises(ImportError, match=r"keras-hvae\[generative\]"):
        generative.GaussianMixture(2).fit_em(clusters())


def test_em_of_gaussians_takes_a_row_a_component():
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match="each of the 10 comp.* Received: 4"):
        generative.GaussianMixture(2).fit_em(clusters(4))


def test_arguments_are_checked():
    for cls in (generative.BernoulliMixture, generative.GaussianMixture):
        for name in ("dim", "components"):
            with pytest.raises(ValueError, match=f"`{name}` must be an integ"):
                cls(**{"dim": 2, name: 0})
    with pytest.raises(ValueError, match="`covariance` must be one of"):
        generative.GaussianMixture(2, covariance="tied")
