"""One pass against the recursion, and against what may not be seen."""

import numpy as np
import pytest
from keras import ops

from keras_hvae.distributions import Bernoulli
from keras_hvae.layers import (
    MaskedDense,
    NADEConditionals,
    OrderlessConditionals,
)

to_numpy = ops.convert_to_numpy
R, D, H, P = 6, 5, 4, 2


@pytest.fixture
def layer():
    layer = NADEConditionals(D, H, P)
    layer.build((None, D))
    rng = np.random.default_rng(0)
    layer.set_weights([rng.standard_normal(x.shape) for x in layer.weights])
    return layer


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def sigmoid_of(a):
    return 1 / (1 + np.exp(-a))


def by_recursion(layer, x, hidden_shift=0.0, shift=0.0):
    W, c, V, b = map(to_numpy, layer.weights)
    a = np.zeros((len(x), H)) + c + hidden_shift
    rows = []
    for i in range(D):
        rows.append(sigmoid_of(a) @ V[i].T + b[i])
        a = a + x[:, i : i + 1] * W[i]
    return np.stack(rows, axis=1) + shift


def test_a_pass_is_the_recursion(layer):
    x = normal(R, D)
    expected = by_recursion(layer, x)
    np.testing.assert_allclose(to_numpy(layer(x)), expected, rtol=1e-4)
    hidden_shift, shift = normal(R, H, seed=2), normal(R, D, P, seed=3)
    found = to_numpy(layer(x, hidden_shift, shift))
    expected = by_recursion(layer, x, hidden_shift, shift)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_context_of_each_step(layer):
    x, hidden_shift = normal(3, 2, D), normal(3, 2, H, seed=2)
    found = to_numpy(layer(x, hidden_shift)).reshape(6, D, P)
    expected = by_recursion(layer, x.reshape(6, D), hidden_shift.reshape(6, H))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_it_is_a_step_of_an_rbm_s_mean_field():
    """With V tied to W, from mean field at 0 for x_i and what comes after."""
    layer = NADEConditionals(D, H)
    layer.build((None, D))
    rng = np.random.default_rng(0)
    W, b, c = (rng.standard_normal(s) for s in ((D, H), D, H))
    layer.set_weights([W, c, W[:, None], b[:, None]])
    x = (normal(R, D) > 0).astype("float32")
    logits = to_numpy(layer(x))[..., 0]
    for i in range(D):
        # E(x, h) = −bᵀ x − cᵀ h − xᵀ W h: q(x, h) that minimises the free
        # energy for one part at a time, first h, then x_i.
        x_mean = np.where(np.arange(D) < i, x, 0.0)
        h_mean = sigmoid_of(c + x_mean @ W)
        gain = b[i] + h_mean @ W[i]  # the fall of the energy for x_i = 1
        np.testing.assert_allclose(
            sigmoid_of(logits[:, i]), sigmoid_of(gain), rtol=1e-4
        )


def test_gradients(layer, value_and_gradients):
    x = normal(R, D)
    direction = normal(R, D, P, seed=4)

    def total(x):
        return ops.sum(ops.multiply(layer(x), direction))

    _, (gradient,) = value_and_gradients(total, x)
    for place in [(0, 0), (3, 2), (5, 3), (1, 4)]:
        sides = []
        for sign in (1, -1):
            moved = x.astype("float64")
            moved[place] += sign * 1e-4
            sides.append((by_recursion(layer, moved) * direction).sum())
        slope = (sides[0] - sides[1]) / 2e-4
        assert gradient[place] == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_draws_have_the_probabilities_of_the_pass():
    layer = NADEConditionals(3, H)
    layer.build((None, 3))
    rng = np.random.default_rng(0)
    layer.set_weights([rng.standard_normal(x.shape) for x in layer.weights])
    bits = np.array([*np.ndindex(2, 2, 2)], "float32")
    log_prob = Bernoulli(layer(bits)[..., 0]).log_prob(bits)
    n = 40_000
    x = layer.draw(
        lambda parameters, uniforms: Bernoulli(parameters).sample(uniforms)[
            ..., 0
        ],
        ops.convert_to_tensor(rng.random((n, 3, 1), "float32")),
        ops.zeros((n, 3)),
        ops.zeros((n, 3), "bool"),
    )
    found = np.bincount((to_numpy(x) @ [4, 2, 1]).astype(int), minlength=8)
    np.testing.assert_allclose(found / n, np.exp(to_numpy(log_prob)), atol=0.01)


def test_a_context_shifts_the_draws_as_the_pass():
    # Of a parameter that is the draw itself, the draws are the conditionals.
    layer = NADEConditionals(D, H)
    layer.build((None, D))
    hidden_shift, shift = normal(R, H), normal(R, D, 1, seed=2)
    zeros = ops.zeros((R, D))
    x = layer.draw(
        lambda parameters, uniforms: parameters[:, 0],
        zeros[..., None],
        zeros,
        zeros > 0,
        ops.convert_to_tensor(hidden_shift),
        ops.convert_to_tensor(shift),
    )
    again = layer(x, hidden_shift, shift)[..., 0]
    np.testing.assert_allclose(to_numpy(x), to_numpy(again), rtol=1e-4)


def test_what_is_observed_stays(layer):
    given = normal(R, D)
    observed = np.arange(D) < np.arange(R)[:, None] % D
    x = to_numpy(
        layer.draw(
            lambda parameters, uniforms: parameters[:, 0],
            ops.zeros((R, D, 1)),
            ops.convert_to_tensor(given),
            ops.convert_to_tensor(observed),
        )
    )
    np.testing.assert_array_equal(x[observed], given[observed])
    conditionals = by_recursion(layer, x)[..., 0]
    np.testing.assert_allclose(
        x[~observed], conditionals[~observed], rtol=1e-3, atol=1e-5
    )


def test_another_width_is_refused():
    with pytest.raises(ValueError, match="`x` must have 3 numbers. Received"):
        NADEConditionals(3).build((None, 4))
    with pytest.raises(ValueError, match="`inputs` must have 3 numbers"):
        MaskedDense(np.ones((3, 2))).build((None, 4))
    with pytest.raises(ValueError, match="`units` must be an integer >= 1"):
        NADEConditionals(3, units=0)


# === Masked and orderless ===


@pytest.mark.parametrize("mask", [[1, 0], [[0.5]], np.zeros((2, 2, 1))])
def test_a_mask_of_something_else_is_refused(mask):
    with pytest.raises(ValueError, match="`mask` must be zeros and ones"):
        MaskedDense(mask)


def test_cut_connections_carry_nothing():
    mask = np.random.default_rng(0).integers(0, 2, (D, H))
    layer = MaskedDense(mask, "tanh")
    x = normal(R, D)
    y = to_numpy(layer(x))
    kernel, bias = layer.get_weights()
    np.testing.assert_allclose(
        y, np.tanh(x @ (kernel * mask) + bias), rtol=1e-4, atol=1e-6
    )


def test_what_is_not_observed_is_not_read():
    layer = OrderlessConditionals(D, H, 2, P, "tanh")
    observed = np.arange(D) % 2 == np.zeros((R, 1))
    x = normal(R, D)
    first = to_numpy(layer(x, observed))
    x[~observed] = np.inf
    np.testing.assert_array_equal(to_numpy(layer(x, observed)), first)
    x = normal(R, D)
    x[:, 0] += 1
    assert (to_numpy(layer(x, observed)) != first).any()
    # An observed 0 is told from one that is not observed.
    zeros = np.zeros((R, D), "float32")
    some, none = layer(zeros, observed), layer(zeros, observed & False)
    assert (to_numpy(some) != to_numpy(none)).any()
