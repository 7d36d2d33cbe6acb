"""What a KL pays for, where all of it is known in closed form."""

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from keras_hvae.evaluation import kl_parts, mi_full, total_correlation
from keras_hvae.evaluation.estimators.kl_parts import aggregate_moments

pytestmark = pytest.mark.eager


def draw(mean, log_var, seed=1):
    noise = np.random.default_rng(seed).standard_normal(mean.shape)
    return mean + np.exp(0.5 * log_var) * noise


def gaussian_kl(mean, cov, prior_mean, prior_cov):
    """KL of two Gaussians with full covariance, as in any textbook."""
    shift = prior_mean - mean
    return 0.5 * (
        np.trace(np.linalg.solve(prior_cov, cov))
        + shift @ np.linalg.solve(prior_cov, shift)
        - len(mean)
        + np.linalg.slogdet(prior_cov)[1]
        - np.linalg.slogdet(cov)[1]
    )


# Means N(CENTER, SPREAD) over the documents, σ² the same for all.
CENTER = np.array([0.3, -0.2, 0.1])
SPREAD = np.array([[0.9, 0.5, 0.0], [0.5, 0.6, 0.1], [0.0, 0.1, 0.4]])
VARIANCE = np.array([0.5, 0.2, 0.3])
PRIOR_MEAN = np.array([0.1, 0.0, -0.4])
PRIOR_VARIANCE = np.array([1.5, 0.7, 1.0])


@pytest.fixture(scope="module")
def gaussians():
    rng = np.random.default_rng(0)
    mean = rng.multivariate_normal(CENTER, SPREAD, 4000)
    # Moments as said, not up to the draw.
    mean -= mean.mean(axis=0)
    whiten = np.linalg.inv(np.linalg.cholesky(np.cov(mean.T, ddof=0)))
    mean = mean @ whiten.T @ np.linalg.cholesky(SPREAD).T + CENTER
    log_var = np.broadcast_to(np.log(VARIANCE), mean.shape)
    prior = PRIOR_MEAN, np.log(PRIOR_VARIANCE)
    return mean, log_var, draw(mean, log_var), *prior


def test_gaussians_in_closed_form(gaussians):
    parts = kl_parts(*gaussians)
    aggregate = SPREAD + np.diag(VARIANCE)
    prior = PRIOR_MEAN, np.diag(PRIOR_VARIANCE)
    information = 0.5 * np.linalg.slogdet(aggregate)[1]
    information -= 0.5 * np.log(VARIANCE).sum()
    mismatch = gaussian_kl(CENTER, aggregate, *prior)
    # One by one, with only the variances of the aggregate.
    dimensions = sum(
        gaussian_kl(*(np.reshape(x, s) for x, s in zip(row, SHAPES)))
        for row in zip(CENTER, np.diag(aggregate), PRIOR_MEAN, PRIOR_VARIANCE)
    )
    correlation = mismatch - dimensions
    assert min(information, correlation, dimensions) > 0.1
    assert parts["kl"] == pytest.approx(information + mismatch, rel=1e-9)
    assert parts["dimension_mismatch"] == pytest.approx(dimensions, rel=1e-9)
    assert parts["total_correlation"] == pytest.approx(correlation, rel=1e-9)
    assert parts["matched_kl"] == pytest.approx(
        information + correlation, rel=1e-9
    )
    # Of a draw: 4,000 log-ratios of spread below 1.5 nats.
    assert parts["information"] == pytest.approx(information, abs=0.05)
    assert parts["mismatch"] == pytest.approx(mismatch, abs=0.05)


SHAPES = (1,), (1, 1), (1,), (1, 1)


def test_the_parts_add_up(gaussians):
    # On a Gaussian aggregate nothing is left over.
    parts = kl_parts(*gaussians)
    assert parts["information"] + parts["mismatch"] == pytest.approx(
        parts["kl"], rel=1e-12
    )
    known = ("information", "total_correlation", "dimension_mismatch")
    assert sum(parts[x] for x in known) == pytest.approx(parts["kl"], abs=0.05)


def test_one_prior_is_a_change_of_units(gaussians):
    # Information is that of z, mismatch is KL(q(z) ‖ p).
    information = mi_full(*gaussians[:3])
    parts = kl_parts(*gaussians)
    assert parts["information"] == pytest.approx(information, rel=1e-9)


def test_the_prior_is_standard_if_none_is_given(gaussians):
    plain = kl_parts(*gaussians[:3])
    assert plain == kl_parts(*gaussians[:3], np.zeros(3), np.zeros(3))
    expected = 0.5 * (VARIANCE + np.diag(SPREAD) + CENTER**2 - 1).sum()
    expected -= 0.5 * np.log(VARIANCE).sum()
    assert plain["kl"] == pytest.approx(expected, rel=1e-9)


def test_priors_of_their_own(gaussians):
    # Those that a chain foretells: each prior is its posterior.
    mean, log_var, z, *_ = gaussians
    parts = kl_parts(mean, log_var, z, mean, log_var)
    assert parts == dict.fromkeys(parts, 0.0)
    # By as much off for each row: all is mismatch.
    off = kl_parts(mean, log_var, z, mean + np.sqrt(VARIANCE), log_var)
    assert off["kl"] == pytest.approx(1.5)
    assert off["mismatch"] == off["dimension_mismatch"] == pytest.approx(1.5)
    # In either direction by a coin: that is ln 2, of far-off means.
    sign = np.where(np.arange(len(mean)) % 2, 9.0, -9.0)[:, None]
    two = kl_parts(mean, log_var, z, mean + sign * np.sqrt(VARIANCE), log_var)
    assert two["information"] == pytest.approx(np.log(2))
    assert two["kl"] == pytest.approx(0.5 * 3 * 81)


@pytest.mark.parametrize("kinds", [1, 2, 8])
def test_a_floor_does_not_make_information(kinds):
    # What free bits of 3.7 nats did: 31 of 32 dimensions say the same little.
    rng = np.random.default_rng(0)
    mean = np.repeat(0.3 * rng.choice([-1, 1], (kinds, 32)), 512 // kinds, 0)
    log_var = np.full(mean.shape, -4.0)
    parts = kl_parts(mean, log_var, draw(mean, log_var))
    assert parts["kl"] > 3.7
    assert parts["information"] == pytest.approx(np.log(kinds), abs=0.02)
    assert parts["mismatch"] > 3.0


def test_mismatch_is_the_integral():
    # Two posteriors that overlap: information and mismatch by quadrature.
    means, log_vars = np.array([-0.7, 0.5]), np.array([-0.5, -1.0])
    posteriors = [
        scipy.stats.norm(m, np.exp(v / 2)) for m, v in zip(means, log_vars)
    ]
    prior = scipy.stats.norm(0.2, 1.3)

    def nats(z):
        q = np.mean([x.pdf(z) for x in posteriors])
        return scipy.special.rel_entr(q, prior.pdf(z))

    expected, _ = scipy.integrate.quad(nats, -12, 12)
    mean = np.repeat(means, 4000)[:, None]
    log_var = np.repeat(log_vars, 4000)[:, None]
    z = draw(mean, log_var)
    parts = kl_parts(mean, log_var, z, 0.2, 2 * np.log(1.3))
    assert parts["mismatch"] == pytest.approx(expected, abs=0.02)
    # It is more than its Gaussian part, and in one dimension that is one.
    assert parts["total_correlation"] == pytest.approx(0, abs=1e-12)
    assert parts["dimension_mismatch"] < expected


def test_moments_are_those_of_the_mixture():
    rng = np.random.default_rng(3)
    mean, log_var = rng.standard_normal((2, 5, 2))
    center, covariance = aggregate_moments(mean, log_var)
    # E z and E zzᵀ, term by term.
    second = sum(
        np.outer(m, m) + np.diag(np.exp(v)) for m, v in zip(mean, log_var)
    )
    np.testing.assert_allclose(center, mean.sum(axis=0) / 5, rtol=1e-12)
    np.testing.assert_allclose(
        covariance, second / 5 - np.outer(center, center), rtol=1e-12
    )


def test_total_correlation_of_two_dimensions():
    # −½ log(1 − ρ²), whatever the scales.
    mean = np.array([[1.0, 1000.0], [-1.0, -1000.0]])
    log_var = np.log(np.broadcast_to([0.5, 0.5e6], mean.shape))
    expected = -0.5 * np.log(1 - (1 / 1.5) ** 2)
    assert total_correlation(mean, log_var) == pytest.approx(expected)
    assert total_correlation(mean[:, :1], log_var[:, :1]) == 0.0


def test_is_computed_in_float64(gaussians):
    mean, log_var, z, *prior = (np.asarray(x, "float32") for x in gaussians)
    single = kl_parts(mean, log_var, z, *prior)
    double = kl_parts(
        *(x.astype("float64") for x in (mean, log_var, z, *prior))
    )
    assert single == pytest.approx(double, rel=1e-12)


@pytest.mark.parametrize("shape", [(1, 2), (4, 3)])
def test_shapes_must_agree(shape):
    with pytest.raises(ValueError, match="`mean`.* Received: "):
        kl_parts(np.zeros((4, 2))[: shape[0]], np.zeros(shape), np.zeros(shape))
