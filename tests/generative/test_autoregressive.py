"""Autoregressive nets against what is known of them."""

import itertools

import keras
import numpy as np
import pytest
from scipy.special import expit, logsumexp
from scipy.stats import multivariate_normal

from keras_hvae import generative
from keras_hvae.generative import nade

D = 4
BITS = np.array([*np.ndindex(*[2] * D)], "float32")


def with_random_weights(model, seed=0):
    rng = np.random.default_rng(seed)
    for weight in model.trainable_variables:
        weight.assign(rng.standard_normal(weight.shape))
    return model


@pytest.mark.eager
def test_linear_ar_is_a_gaussian():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((D, D)) + 2 * np.eye(D)
    mean, cov = rng.standard_normal(D), root @ root.T
    order = [2, 0, 3, 1]
    model = generative.LinearAR(D, order=order)
    # x = μ + L ε in the model's order: x_i's mean given those before is linear.
    chol = np.linalg.cholesky(cov[np.ix_(order, order)])
    sigma = np.diag(chol)
    weights = np.eye(D) - (np.linalg.inv(chol).T * sigma)  # W, upper
    bias = mean[order] - mean[order] @ weights
    model.dense.set_weights([weights, bias])
    model.log_var.assign(2 * np.log(sigma))
    x = rng.multivariate_normal(mean, cov, 50)
    expected = multivariate_normal(mean, cov).logpdf(x)
    np.testing.assert_allclose(model.log_prob(x), expected, rtol=1e-4)
    draws = model.sample(40_000, 0, batch_size=40_000)
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.08)
    np.testing.assert_allclose(np.cov(draws.T), cov, atol=0.25)


@pytest.mark.eager
def test_logistic_ar_is_logistic_regressions():
    order = np.array([2, 0, 3, 1])
    model = with_random_weights(generative.LogisticAR(D, order=order))
    kernel, bias = model.dense.get_weights()
    total = np.zeros(len(BITS))
    for i, place in enumerate(order):
        before = order[:i]
        p = expit(BITS[:, before] @ kernel[:i, i] + bias[i])
        total += np.log(np.where(BITS[:, place], p, 1 - p))
    np.testing.assert_allclose(model.log_prob(BITS), total, rtol=1e-5)


@pytest.mark.eager
@pytest.mark.parametrize(
    "model",
    [
        generative.LogisticAR(D),
        generative.NeuralAR(D, units=3),
        generative.NADE(D, units=3),
        generative.LinearAR(D),
        generative.NADE(D, units=3, likelihood="mixture", components=2),
    ],
    ids=lambda model: model.name,
)
def test_no_conditional_sees_itself_or_what_comes_after(model):
    with_random_weights(model)
    x = np.random.default_rng(0).random((3, D)).astype("float32")
    first = keras.ops.convert_to_numpy(model.conditional_parameters(x))
    for i in range(D):
        moved = x.copy()
        moved[:, i] += 1
        other = keras.ops.convert_to_numpy(model.conditional_parameters(moved))
        changed = (other != first).any(axis=(0, 2))
        assert not changed[: i + 1].any()
        if i < D - 1 and not isinstance(model, generative.LinearAR):
            assert changed[i + 1 :].all()


@pytest.mark.eager
def test_mixture_outputs_integrate_to_1():
    model = generative.NADE(2, units=3, likelihood="mixture", components=3)
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(0.5 * rng.standard_normal(weight.shape))
    grid = np.linspace(-12, 12, 481)
    x = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    density = np.exp(model.log_prob(x, batch_size=len(x)))
    assert density.sum() * (grid[1] - grid[0]) ** 2 == pytest.approx(1, 1e-3)


@pytest.mark.eager
@pytest.mark.parametrize("layers", [1, 2])
def test_orderless_conditionals_are_consistent(layers):
    model = with_random_weights(
        generative.NADE(D, units=5, orderless=True, hidden_layers=layers)
    )
    # An ensemble is the mean of its members' probabilities ...
    each = [
        model.log_prob(BITS, num_orders=k, seed=3) + np.log(k)
        for k in (1, 2, 3)
    ]
    third = np.log(np.exp(each[2]) - np.exp(each[1]))
    assert np.exp(third).sum() == pytest.approx(1, abs=1e-5)
    # ... so that on the average over data it is better than on average one.
    singles = [each[0], np.log(np.exp(each[1]) - np.exp(each[0])), third]
    ensemble = logsumexp(singles, axis=0) - np.log(3)
    np.testing.assert_allclose(
        model.log_prob(BITS, num_orders=3, seed=3), ensemble, rtol=1e-5
    )
    assert (ensemble >= np.mean(singles, axis=0) - 1e-6).all()
    # What is observed leaves a distribution of the others.
    observed = np.array([False, True, True, False])
    for values in ([0, 0], [1, 0]):
        rows = BITS[(BITS[:, observed] == values).all(axis=1)]
        probs = np.exp(model.log_prob(rows, observed=observed, num_orders=2))
        assert probs.sum() == pytest.approx(1, abs=1e-5)
        given = np.zeros(D)
        given[observed] = values
        same = model.log_prob(1 - rows, given, observed, num_orders=2)
        flipped = rows.copy()
        flipped[:, ~observed] = 1 - rows[:, ~observed]
        np.testing.assert_array_equal(
            same, model.log_prob(flipped, observed=observed, num_orders=2)
        )
    # All but one: the draw has the network's own conditional.
    observed = np.array([True, True, True, False])
    given = np.array([1, 0, 1, 0])
    log_prob = model.log_prob(np.array([[1, 0, 1, 1]]), observed=observed)
    x = model.sample(20_000, 0, given, observed, batch_size=20_000)
    assert x[:, 3].mean() == pytest.approx(np.exp(log_prob[0]), abs=0.015)


@pytest.mark.eager
def test_in_one_order_what_comes_first_may_be_observed():
    order = [2, 0, 3, 1]
    model = with_random_weights(generative.NADE(D, units=5, order=order))
    observed = np.array([True, False, True, False])  # 2 and 0
    joint = model.log_prob(BITS)
    rest = model.log_prob(BITS, observed=observed)
    for values in np.ndindex(2, 2):
        rows = (BITS[:, observed] == values).all(axis=1)
        marginal = logsumexp(joint[rows])
        np.testing.assert_allclose(rest[rows], joint[rows] - marginal, 1e-4)
    others = np.array([False, True, False, False])
    for use in (
        lambda: model.log_prob(BITS, observed=others),
        lambda: model.sample(1, 0, BITS[0], others),
    ):
        with pytest.raises(ValueError, match="the first numbers in the mod"):
            use()


@pytest.fixture
def of_all_orders():
    """A model of three numbers, and log p of each x in each of 6 orders."""
    model = with_random_weights(
        generative.NADE(3, units=5, orderless=True, seed=0)
    )
    bits = np.array([*np.ndindex(2, 2, 2)], "float32")
    rows = [
        model.run(
            nade.along_an_order,
            8,
            x=bits,
            place=np.broadcast_to(place, bits.shape).astype("int32"),
            first=np.zeros(8, "int32"),
        )["log_prob"]
        for place in itertools.permutations(range(3))
    ]
    return model, bits, np.array(rows)


@pytest.mark.eager
def test_the_loss_is_on_average_that_of_an_order(of_all_orders):
    model, bits, rows = of_all_orders
    many = np.broadcast_to(bits[5], (30_000, 3))
    nll = keras.ops.convert_to_numpy(model(many)["nll"])
    error = nll.std() / np.sqrt(len(nll))
    assert nll.mean() == pytest.approx(-rows[:, 5].mean(), abs=4 * error)


@pytest.mark.eager
def test_draws_are_of_all_orders(of_all_orders):
    model, bits, rows = of_all_orders
    n = 20_000
    x = model.sample(n, seed=0, batch_size=n)
    found = np.bincount((x @ [4, 2, 1]).astype(int), minlength=8) / n
    probs = np.exp(rows).mean(axis=0)
    assert 0.5 * np.abs(found - probs).sum() < 0.02


@pytest.mark.parametrize(
    "order", [[0, 1, 2], [0, 1, 2, 2], [1, 2, 3, 4], [[0, 1, 2, 3]]]
)
def test_an_order_that_is_no_permutation_is_refused(order):
    for cls in (generative.LogisticAR, generative.NeuralAR, generative.NADE):
        with pytest.raises(ValueError, match="`order` must be a permutation"):
            cls(D, order=order)


def test_arguments_that_do_not_go_together_are_refused():
    for arguments, name in (
        ({"orderless": True, "order": [0, 1, 2, 3]}, "order"),
        ({"hidden_layers": 2}, "hidden_layers"),
        ({"likelihood": "poisson"}, "likelihood"),
        ({"components": 0}, "components"),
        ({"units": -1}, "units"),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            generative.NADE(D, **arguments)
    model = generative.NADE(D, units=2)
    with pytest.raises(ValueError, match="`num_orders` must be 1 without"):
        model.log_prob(BITS, num_orders=2)
    model = generative.NADE(D, units=2, orderless=True)
    with pytest.raises(ValueError, match="`observed` must be bool of shape"):
        model.log_prob(BITS, observed=np.ones(3, "bool"))
    with pytest.raises(ValueError, match="must come together"):
        model.log_prob(BITS, given=BITS[0])
    with pytest.raises(ValueError, match="`num_orders` must be an integer"):
        model.log_prob(BITS, num_orders=0)


@pytest.mark.eager
@pytest.mark.parametrize("cls", [generative.LogisticAR, generative.NADE])
def test_one_number(cls):
    model = cls(1)
    probs = np.exp(model.log_prob(np.array([[0], [1]])))
    assert probs.sum() == pytest.approx(1, abs=1e-6)
    assert model.sample(3, 0).shape == (3, 1)
