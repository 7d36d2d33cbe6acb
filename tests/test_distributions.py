import keras
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from keras import ops
from tensorflow_probability.substrates.numpy import distributions as tfd

from keras_hvae.distributions import (
    Bernoulli,
    DiagGaussian,
    RankOneGaussian,
    SideBySide,
    gaussian_kl,
    gaussian_log_prob,
)

to_numpy = ops.convert_to_numpy


def tensors(*arrays):
    return [ops.convert_to_tensor(np.asarray(x, "float32")) for x in arrays]


def diag_kl(mean_q, log_var_q, mean_p, log_var_p, **options):
    q, p = DiagGaussian(mean_q, log_var_q), DiagGaussian(mean_p, log_var_p)
    return q.kl(p, **options)


def covariances(rng, *shape):
    factor = rng.standard_normal((*shape, shape[-1]))
    return factor @ np.swapaxes(factor, -1, -2) + 0.5 * np.eye(shape[-1])


def tfp_kl(mean_q, log_var_q, mean_p, log_var_p):
    return tfd.kl_divergence(
        tfd.Normal(mean_q, np.exp(0.5 * log_var_q)),
        tfd.Normal(mean_p, np.exp(0.5 * log_var_p)),
    )


def test_diag_kl_is_tfps_over_a_grid():
    log_vars, means = [-15.0, -5.0, -0.5, 0.0, 2.0, 15.0], [-10.0, 0.0, 1e-3, 3]
    grid = np.meshgrid(means, log_vars, means, log_vars)
    grid = [x.reshape(-1, 4).astype("float32") for x in grid]
    expected = tfp_kl(*(x.astype("float64") for x in grid))
    per_dim = diag_kl(*tensors(*grid), per_dimension=True)
    np.testing.assert_allclose(to_numpy(per_dim), expected, rtol=1e-5)
    total = to_numpy(diag_kl(*tensors(*grid)))
    np.testing.assert_allclose(total, expected.sum(-1), rtol=1e-5)
    assert total.shape == (len(grid[0]),)


@pytest.mark.parametrize(
    ("mean_q", "log_var_q", "mean_p", "log_var_p"),
    [(0.3, 0.2, 0, 0), (-1, -2, 0.5, 1), (2, 1.5, -1, -0.5), (0, 1, 0, -1)],
)
def test_diag_kl_is_the_integral(mean_q, log_var_q, mean_p, log_var_p):
    q = scipy.stats.norm(mean_q, np.exp(log_var_q / 2))
    p = scipy.stats.norm(mean_p, np.exp(log_var_p / 2))
    expected, _ = scipy.integrate.quad(
        lambda x: q.pdf(x) * (q.logpdf(x) - p.logpdf(x)),
        *q.interval(1 - 1e-12),
    )
    parameters = tensors([mean_q], [log_var_q], [mean_p], [log_var_p])
    kl = float(diag_kl(*parameters))
    assert kl == pytest.approx(expected, rel=1e-5)


def test_diag_kl_is_exactly_zero_at_equality():
    rng = np.random.default_rng(0)
    mean, log_var = tensors(*rng.uniform(-15, 15, (2, 100, 3)))
    kl = to_numpy(diag_kl(mean, log_var, mean, log_var))
    assert (kl == 0).all()


def test_diag_kl_is_precise_near_equality():
    # exp(δ) − 1 − δ would be rounding errors of 1e-8 here, often negative.
    delta = np.array([[1e-3], [-1e-3], [3e-4], [-3e-4]], "float32")
    zero = np.zeros_like(delta)
    kl = to_numpy(diag_kl(*tensors(zero, delta, zero, zero)))
    np.testing.assert_allclose(
        kl, np.square(delta.astype("float64"))[:, 0] / 4, rtol=2e-3
    )


def test_diag_kl_defaults_to_and_broadcasts_the_prior():
    rng = np.random.default_rng(0)
    mean, log_var = rng.standard_normal((2, 5, 3))
    prior_mean, prior_log_var = rng.standard_normal((2, 3))
    np.testing.assert_allclose(
        to_numpy(DiagGaussian(*tensors(mean, log_var)).kl()),
        tfp_kl(mean, log_var, 0.0, np.zeros(())).sum(-1),
        rtol=1e-5,
    )
    parameters = mean, log_var, prior_mean, prior_log_var
    np.testing.assert_allclose(
        to_numpy(diag_kl(*tensors(*parameters))),
        tfp_kl(*parameters).sum(-1),
        rtol=1e-5,
    )


@pytest.mark.parametrize("d", [1, 2, 5])
def test_full_kl_is_tfps(d):
    rng = np.random.default_rng(d)
    mean_q, mean_p = rng.standard_normal((2, 7, d))
    cov_q, cov_p = covariances(rng, 2, 7, d)
    expected = tfd.kl_divergence(
        tfd.MultivariateNormalTriL(mean_q, np.linalg.cholesky(cov_q)),
        tfd.MultivariateNormalTriL(mean_p, np.linalg.cholesky(cov_p)),
    )
    kl = to_numpy(gaussian_kl(*tensors(mean_q, cov_q, mean_p, cov_p)))
    np.testing.assert_allclose(kl, expected, rtol=1e-4)
    same = to_numpy(gaussian_kl(*tensors(mean_q, cov_q, mean_q, cov_q)))
    np.testing.assert_allclose(same, 0, atol=1e-5)


def test_full_kl_of_diagonal_covariances_is_the_diagonal_kl():
    rng = np.random.default_rng(0)
    mean_q, log_var_q, mean_p, log_var_p = rng.standard_normal((4, 6, 3))
    cov_q, cov_p = (
        np.exp(x)[..., None] * np.eye(3) for x in (log_var_q, log_var_p)
    )
    np.testing.assert_allclose(
        to_numpy(gaussian_kl(*tensors(mean_q, cov_q, mean_p, cov_p))),
        to_numpy(diag_kl(*tensors(mean_q, log_var_q, mean_p, log_var_p))),
        rtol=1e-4,
    )


def test_diag_log_prob_is_scipys():
    rng = np.random.default_rng(0)
    x, mean, log_var = 2 * rng.standard_normal((3, 6, 4))
    expected = scipy.stats.norm.logpdf(x, mean, np.exp(log_var / 2)).sum(-1)
    x, mean, log_var = tensors(x, mean, log_var)
    log_prob = to_numpy(DiagGaussian(mean, log_var).log_prob(x))
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5)


def test_full_log_prob_is_scipys():
    rng = np.random.default_rng(0)
    x, mean = rng.standard_normal((2, 6, 3))
    cov = covariances(rng, 6, 3)
    expected = [
        scipy.stats.multivariate_normal.logpdf(*row)
        for row in zip(x, mean, cov)
    ]
    log_prob = to_numpy(gaussian_log_prob(*tensors(x, mean, cov)))
    np.testing.assert_allclose(log_prob, expected, rtol=1e-4)


def test_diag_sample_moves_and_scales_the_noise():
    rng = np.random.default_rng(0)
    mean, log_var, noise = rng.standard_normal((3, 6, 4))
    draw = DiagGaussian(*tensors(mean, log_var)).sample(*tensors(noise))
    expected = scipy.stats.norm(mean, np.exp(log_var / 2)).ppf(
        scipy.stats.norm.cdf(noise)
    )
    np.testing.assert_allclose(to_numpy(draw), expected, rtol=1e-4)


def test_a_scan_carries_and_stacks_gaussians():
    steps = np.random.default_rng(0).standard_normal((5, 3, 2))

    def step(q, x):
        q = DiagGaussian(q.mean + x, 0.5 * q.log_var)
        return q, q

    start = DiagGaussian(*tensors(np.zeros((3, 2)), np.ones((3, 2))))
    last, path = ops.scan(step, start, *tensors(steps))
    assert isinstance(last, DiagGaussian) and isinstance(path, DiagGaussian)
    mean, log_var = np.cumsum(steps, axis=0), 0.5 ** np.arange(1, 6)
    np.testing.assert_allclose(to_numpy(path.mean), mean, rtol=1e-4)
    np.testing.assert_allclose(to_numpy(path.log_var)[:, 0, 0], log_var)
    np.testing.assert_array_equal(to_numpy(last.mean), to_numpy(path.mean)[-1])
    assert tuple(path.kl().shape) == (5, 3)


def test_gradients_of_the_diag_kl(value_and_gradients):
    rng = np.random.default_rng(0)
    m, lv, pm, plv = parameters = rng.standard_normal((4, 3))
    _, gradients = value_and_gradients(diag_kl, *parameters)
    expected = (
        (m - pm) / np.exp(plv),
        (np.exp(lv - plv) - 1) / 2,
        (pm - m) / np.exp(plv),
        (1 - np.exp(lv - plv) - (m - pm) ** 2 / np.exp(plv)) / 2,
    )
    for gradient, right in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, right, rtol=1e-4, atol=1e-6)


LOGITS = np.array([[-30.0, -2.0, 0.0], [0.5, 3.0, 30.0]])


@pytest.mark.parametrize("x", [[0, 0, 0], [1, 1, 1], [0, 1, 1]])
def test_bernoulli_log_prob_is_scipys(x):
    # In half precision too; far out as well, where 1 − p is rounded to 1.
    p, q = scipy.special.expit(LOGITS), scipy.special.expit(-LOGITS)
    expected = np.where(np.array(x), np.log(p), np.log(q)).sum(-1)
    for dtype in ("float16", "float32"):
        coins = Bernoulli(ops.convert_to_tensor(LOGITS, dtype))
        log_prob = coins.log_prob(ops.convert_to_tensor(x))
        assert keras.backend.standardize_dtype(log_prob.dtype) == "float32"
        np.testing.assert_allclose(to_numpy(log_prob), expected, rtol=1e-6)


def test_bernoulli_log_prob_keeps_small_terms():
    log_prob = Bernoulli(*tensors([30.0])).log_prob(ops.ones((1,)))
    expected = -np.log1p(np.exp(-30.0))  # -9.4e-14
    assert float(log_prob) == pytest.approx(expected, rel=1e-5)


def test_bernoulli_log_prob_between_is_the_cross_entropy():
    x = np.array([0.25, 0.5, 1.0])
    p = scipy.special.expit(LOGITS)
    expected = (x * np.log(p) + (1 - x) * np.log1p(-p)).sum(-1)
    log_prob = Bernoulli(*tensors(LOGITS)).log_prob(*tensors(x))
    np.testing.assert_allclose(to_numpy(log_prob), expected, rtol=1e-5)


def test_bernoulli_draws_with_its_probabilities():
    coins = Bernoulli(*tensors(LOGITS))
    probs = scipy.special.expit(LOGITS)
    np.testing.assert_allclose(to_numpy(coins.probs), probs, rtol=1e-6)
    uniforms = np.random.default_rng(0).uniform(size=(20_000, 2, 3))
    draws = to_numpy(coins.sample(*tensors(uniforms)))
    assert draws.dtype == np.float32 and set(np.unique(draws)) == {0.0, 1.0}
    np.testing.assert_allclose(draws.mean(axis=0), probs, atol=0.015)
    # A probability of 0 in float32 is never drawn, one of 1 always.
    sure = Bernoulli(*tensors([-200.0, 200.0]))
    for uniform in (0.0, 1 - 2**-24):
        draw = to_numpy(sure.sample(*tensors([uniform] * 2)))
        np.testing.assert_array_equal(draw, [0.0, 1.0])


def test_any_number_of_leading_axes_is_a_batch():
    rng = np.random.default_rng(0)
    x, mean, log_var, other = rng.standard_normal((4, 2, 5, 3))
    cov, cov_p = covariances(rng, 2, 2, 5, 3)
    flat = [a.reshape(10, *a.shape[2:]) for a in (x, mean, log_var, other)]
    flat_cov, flat_cov_p = (a.reshape(10, 3, 3) for a in (cov, cov_p))

    def all_of(x, mean, log_var, other, cov, cov_p):
        x, mean, log_var, other, cov, cov_p = tensors(
            x, mean, log_var, other, cov, cov_p
        )
        q = DiagGaussian(mean, log_var)
        return (
            q.log_prob(x),
            q.kl(),
            Bernoulli(log_var).log_prob(x),
            gaussian_log_prob(x, mean, cov),
            gaussian_kl(mean, cov, other, cov_p),
        )

    for found, expected in zip(
        all_of(x, mean, log_var, other, cov, cov_p),
        all_of(*flat, flat_cov, flat_cov_p),
        strict=True,
    ):
        assert tuple(found.shape) == (2, 5)
        np.testing.assert_allclose(
            to_numpy(found).reshape(-1), to_numpy(expected), rtol=1e-4
        )


@pytest.fixture
def rank_one():
    """Parameters of 5 `RankOneGaussian` of 4 dimensions, and covariances."""
    rng = np.random.default_rng(0)
    mean, log_var, u = rng.standard_normal((3, 5, 4))
    u[0] = 0  # diagonal
    u[1] *= 30  # nearly flat along u
    precision = u[:, :, None] * u[:, None, :]
    precision += np.exp(-log_var)[..., None] * np.eye(4)
    return RankOneGaussian(*tensors(mean, log_var, u)), np.linalg.inv(precision)


def test_rank_one_is_linear_algebra(rank_one):
    q, cov = rank_one
    mean = to_numpy(q.mean).astype("float64")
    # The columns of R, one draw each.
    root = [
        to_numpy(q.sample(*tensors(np.tile(row, (5, 1))))) - mean
        for row in np.eye(4)
    ]
    root = np.stack(root, axis=-1)
    np.testing.assert_allclose(
        root @ root.swapaxes(-1, -2), cov, rtol=2e-3, atol=1e-6
    )
    x = mean + np.random.default_rng(1).standard_normal((5, 4))
    normals = [
        scipy.stats.multivariate_normal(mu, c) for mu, c in zip(mean, cov)
    ]
    np.testing.assert_allclose(
        to_numpy(q.log_prob(*tensors(x))),
        [normal.logpdf(row) for normal, row in zip(normals, x)],
        rtol=1e-4,
    )
    kl = 0.5 * (
        np.trace(cov, axis1=1, axis2=2)
        + np.square(mean).sum(axis=1)
        - 4
        - np.linalg.slogdet(cov)[1]
    )
    np.testing.assert_allclose(to_numpy(q.kl()), kl, rtol=1e-5)
    standard = np.zeros((5, 4)), np.tile(np.eye(4), (5, 1, 1))
    dense = gaussian_kl(*tensors(mean, cov, *standard))
    np.testing.assert_allclose(to_numpy(q.kl()), to_numpy(dense), rtol=1e-3)


def test_rank_one_without_a_direction_is_diagonal(rank_one):
    mean, log_var, _ = rank_one[0]
    one = RankOneGaussian(mean, log_var, ops.zeros_like(mean))
    noise = ops.ones_like(mean)
    for a, b in (
        (one.kl(), DiagGaussian(mean, log_var).kl()),
        (one.sample(noise), DiagGaussian(mean, log_var).sample(noise)),
        (one.log_prob(noise), DiagGaussian(mean, log_var).log_prob(noise)),
    ):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


def test_side_by_side_is_the_product(rank_one):
    one = rank_one[0]
    two = DiagGaussian(one.mean[:, :2] + 1, one.log_var[:, :2] - 1)
    both = SideBySide((one, two))
    noise = ops.ones((5, 6))
    draws = ops.concatenate(
        [one.sample(noise[:, :4]), two.sample(noise[:, 4:])], axis=-1
    )
    total = one.log_prob(noise[:, :4]) + two.log_prob(noise[:, 4:])
    for found, expected in (
        (both.sample(noise), draws),
        (both.log_prob(noise), total),
        (both.kl(), one.kl() + two.kl()),
        (both.mean, ops.concatenate([one.mean, two.mean], axis=-1)),
    ):
        np.testing.assert_array_equal(to_numpy(found), to_numpy(expected))
