import numpy as np
import pytest
import scipy.special

from keras_hvae.evaluation.estimators.importance import (
    effective_sample_size,
    iwae,
    iwae_sweep,
    log_mean_exp,
)

pytestmark = pytest.mark.eager


def test_iwae_is_the_log_of_the_average_weight():
    weights = np.array([[0.1, 2.0], [0.3, 2.0], [0.2, 5.0]])
    figures = iwae(np.log(weights))
    np.testing.assert_allclose(
        figures["log_likelihood"], np.log([0.2, 3.0]), rtol=1e-12
    )
    np.testing.assert_allclose(
        figures["ess"], [0.36 / 0.14, 81 / 33], rtol=1e-12
    )


@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 2, 3)])
def test_iwae_is_precise_in_any_shape_far_from_zero(shape):
    # Documents have a log-likelihood of about −1000 nats; exp gives 0.
    rng = np.random.default_rng(0)
    log_weights = (rng.standard_normal(shape) * 9 - 1000).astype("float32")
    log_sum = scipy.special.logsumexp(log_weights.astype("float64"), axis=0)
    figures = iwae(log_weights)
    np.testing.assert_allclose(
        figures["log_likelihood"], log_sum - np.log(7), rtol=1e-13
    )
    squares = scipy.special.logsumexp(2 * log_weights.astype("float64"), axis=0)
    np.testing.assert_allclose(
        figures["ess"], np.exp(2 * log_sum - squares), rtol=1e-9
    )
    for figure in figures.values():
        assert figure.shape == shape[1:]
        assert figure.dtype == "float64"


def test_equal_weights_lose_nothing():
    log_weights = np.full((500, 2), -123.456)
    figures = iwae(log_weights)
    assert (figures["log_likelihood"] == -123.456).all()
    assert (figures["ess"] == 500).all()


def test_weights_of_zero_and_of_nan_stay_visible():
    log_weights = np.full((4, 3), -np.inf)
    log_weights[0, 1], log_weights[:, 2] = 0.0, [0.0, np.nan, 0.0, 0.0]
    with np.errstate(all="raise"):
        log_likelihood = log_mean_exp(log_weights)
        ess = effective_sample_size(log_weights)
    np.testing.assert_array_equal(log_likelihood, [-np.inf, -np.log(4), np.nan])
    np.testing.assert_array_equal(ess, [0, 1, np.nan])


def test_sweep_averages_disjoint_blocks():
    weights = np.array([1.0, 3.0, 2.0, 4.0, 100.0])
    sweep = iwae_sweep(np.log(weights), sizes=(1, 2, 5, 6))
    assert list(sweep) == [1, 2, 5]
    expected = {
        1: np.log(weights).mean(),
        2: np.log([2.0, 3.0]).mean(),  # the fifth draw is left out
        5: np.log(22.0),
    }
    assert sweep == pytest.approx(expected, rel=1e-12)


def test_sweep_never_falls_and_ends_in_the_bound_of_each_document():
    log_weights = 3 * np.random.default_rng(0).standard_normal((500, 20))
    sweep = iwae_sweep(log_weights)
    assert list(sweep) == [1, 10, 100, 500]
    bounds = np.stack(list(sweep.values()))  # (4, 20)
    assert (np.diff(bounds, axis=0) > 0).all()
    np.testing.assert_allclose(bounds[0], log_weights.mean(axis=0))
    np.testing.assert_array_equal(
        bounds[-1], iwae(log_weights)["log_likelihood"]
    )


def test_sweep_is_the_expected_bound():
    # Weights 1 and 3 with even odds: E log of the average of two draws.
    log_weights = np.log(
        np.random.default_rng(0).choice([1.0, 3.0], (10, 20_000))
    )
    expected = np.log([1.0, 2.0, 2.0, 3.0]).mean()
    bound = iwae_sweep(log_weights, sizes=(2,))[2]
    error = bound.std() / np.sqrt(bound.size)
    assert bound.mean() == pytest.approx(expected, abs=4 * error)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3)])
@pytest.mark.parametrize("function", [iwae, iwae_sweep])
def test_no_draws_are_an_error(function, shape):
    with pytest.raises(ValueError, match="`log_weights` must .* Received: "):
        function(np.zeros(shape))


@pytest.mark.parametrize("sizes", [(0,), (1, 2.5), (-1,), (9,), ()])
def test_sizes_must_fit(sizes):
    with pytest.raises(ValueError, match="`sizes` must .* Received: "):
        iwae_sweep(np.zeros((8, 2)), sizes)
