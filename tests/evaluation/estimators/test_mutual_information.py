import tracemalloc

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from keras_hvae.evaluation.estimators import mutual_information
from keras_hvae.evaluation.estimators.mutual_information import (
    at_cap,
    mi_batch32,
    mi_full,
)

pytestmark = pytest.mark.eager


def draw(mean, log_var, seed=0):
    noise = np.random.default_rng(seed).standard_normal(mean.shape)
    return mean + np.exp(0.5 * log_var) * noise


def random_posteriors(count, d, low=-15.0, high=1.0, seed=0):
    rng = np.random.default_rng(seed)
    mean = 2 * rng.standard_normal((count, d))
    log_var = rng.uniform(low, high, (count, d))
    return mean, log_var, draw(mean, log_var, seed + 1)


def ratios(mean, log_var, z):
    """log q(z_i|x_i) − log q(z_i) by scipy, term by term."""
    densities = scipy.stats.norm.logpdf(
        z[:, None], mean[None], np.exp(0.5 * log_var)[None]
    ).sum(axis=-1)  # (N, N)
    mixture = scipy.special.logsumexp(densities, axis=1) - np.log(len(z))
    return np.diag(densities) - mixture


@pytest.mark.parametrize("d", [1, 3, 64])
def test_full_is_scipys_also_for_narrow_posteriors(d):
    arrays = random_posteriors(50, d)
    assert mi_full(*arrays) == pytest.approx(ratios(*arrays).mean(), abs=1e-9)


def test_narrow_posteriors_that_overlap_far_from_the_origin():
    # σ is 5e-4, the means are closer than that, at 10,000.
    rng = np.random.default_rng(0)
    log_var = np.full((40, 8), -15.0)
    mean = 1e4 + 2e-4 * rng.standard_normal((40, 8))
    arrays = mean, log_var, draw(mean, log_var)
    expected = ratios(*arrays).mean()
    assert 0.3 < expected < 3
    assert mi_full(*arrays) == pytest.approx(expected, abs=1e-6)


def test_full_is_the_integral():
    means, log_vars = [-1.5, 0.0, 0.4, 3.0], [-1.0, 0.0, -3.0, 0.5]
    posteriors = [
        scipy.stats.norm(m, np.exp(v / 2)) for m, v in zip(means, log_vars)
    ]

    def information(z):
        densities = np.array([q.pdf(z) for q in posteriors])
        return scipy.special.rel_entr(densities, densities.mean()).mean()

    expected, _ = scipy.integrate.quad(information, -15, 15, limit=200)
    # Many documents of each kind: the mixture stays what it is.
    mean = np.repeat(means, 500)[:, None]
    log_var = np.repeat(log_vars, 500)[:, None]
    z = draw(mean, log_var)
    error = ratios(mean, log_var, z).std() / np.sqrt(len(z))
    assert error < 0.03
    assert mi_full(mean, log_var, z) == pytest.approx(expected, abs=3 * error)


def test_distinct_documents_reach_the_caps():
    mean = np.random.default_rng(0).standard_normal((96, 4))
    log_var = np.full((96, 4), -15.0)
    z = draw(mean, log_var)
    assert mi_full(mean, log_var, z) == pytest.approx(np.log(96))
    assert mi_batch32(mean, log_var, z) == pytest.approx(np.log(32))


def test_an_estimate_within_5_percent_of_its_cap_is_of_the_cap():
    cap = np.log(96)
    assert at_cap(cap, cap) and at_cap(0.95 * cap, cap)
    assert not at_cap(0.94 * cap, cap) and not at_cap(None, cap)


def test_a_collapsed_posterior_carries_nothing():
    mean, log_var = np.zeros((2, 96, 4))
    z = draw(mean, log_var)
    assert mi_full(mean, log_var, z) == pytest.approx(0, abs=1e-12)
    assert mi_batch32(mean, log_var, z) == pytest.approx(0, abs=1e-12)


def test_batches_are_of_32_and_leave_the_remainder_out():
    arrays = random_posteriors(32, 2, low=-1)
    assert mi_batch32(*arrays) == pytest.approx(mi_full(*arrays), rel=1e-12)
    arrays = random_posteriors(75, 2, low=-1)
    order = np.random.default_rng(5).permutation(75)
    expected = [
        ratios(*(x[rows] for x in arrays)).mean()
        for rows in (order[:32], order[32:64])
    ]
    assert mi_batch32(*arrays, seed=5) == pytest.approx(np.mean(expected))
    assert mi_batch32(*arrays, seed=6) != mi_batch32(*arrays, seed=5)


def test_the_larger_mixture_tells_more():
    arrays = random_posteriors(640, 3, low=-4, high=-3)
    assert mi_batch32(*arrays) < np.log(32) < mi_full(*arrays) < np.log(640)


def test_works_in_chunks(monkeypatch):
    arrays = random_posteriors(23, 3)
    whole = mi_full(*arrays)
    for elements in (1, 23 * 5):  # rows one by one, and by fives
        monkeypatch.setattr(mutual_information, "CHUNK_ELEMENTS", elements)
        assert mi_full(*arrays) == pytest.approx(whole, rel=1e-12)


def test_memory_does_not_grow_with_the_square():
    arrays = random_posteriors(5000, 2)  # the matrix would be 200 MB
    tracemalloc.start()
    mi_full(*arrays)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6


def test_half_as_precise_inputs_are_computed_in_float64():
    arrays = [x.astype("float32") for x in random_posteriors(40, 4)]
    expected = ratios(*(x.astype("float64") for x in arrays)).mean()
    assert mi_full(*arrays) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("function", "count"), [(mi_full, 1), (mi_batch32, 31)]
)
def test_too_few_rows(function, count):
    with pytest.raises(ValueError, match=rf"N >= {count + 1} .*\({count}, 2\)"):
        function(*np.zeros((3, count, 2)))


@pytest.mark.parametrize("shape", [(40,), (40, 3), (39, 2), (1, 40, 2)])
@pytest.mark.parametrize("function", [mi_full, mi_batch32])
def test_shapes_must_agree(function, shape):
    with pytest.raises(ValueError, match="`mean`.* same shape .* Received: "):
        function(np.zeros((40, 2)), np.zeros((40, 2)), np.zeros(shape))
    if len(shape) != 2:
        with pytest.raises(ValueError, match="same shape .* Received: "):
            function(*np.zeros((3, *shape)))
