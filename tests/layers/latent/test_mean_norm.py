"""Batch-normalised posterior means: the layer, and in the chain."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.layers import LatentChain, MeanNorm

to_numpy = ops.convert_to_numpy
B, N, H, UNITS, D, GAMMA = 5, 4, 6, 5, 2, 0.5
LENGTHS = [4, 3, 2, 2, 0]  # one real row at the last position
MASK = np.arange(N) < np.array(LENGTHS)[:, None]
EPSILON = MeanNorm.epsilon
# Moving mean and variance of the first position, and of the others.
AVERAGES = ([-0.6, 0.1], [1.5, 0.7]), ([0.2, -0.3], [0.5, 2.0])


def norms(chain):
    return chain.first_norm, chain.norm


def make_chain(mean_norm=GAMMA, **kwargs):
    chain = LatentChain(D, UNITS, seed=0, mean_norm=mean_norm, **kwargs)
    chain.build((None, None, H), (None, H))
    rng = np.random.default_rng(1)
    for weight in chain.weights:
        weight.assign(0.7 * rng.standard_normal(weight.shape))
    if mean_norm is not None:
        for norm, (mean, variance) in zip(norms(chain), AVERAGES):
            norm.moving_mean.assign(mean)
            norm.moving_variance.assign(variance)
    return chain


def random_inputs():
    rng = np.random.default_rng(0)
    return {
        "contexts": rng.standard_normal((B, N, H), "float32"),
        "backward": rng.standard_normal((B, H), "float32"),
        "noise": rng.standard_normal((B, N, D), "float32"),
        "mask": MASK,
    }


def run(chain, training=False):
    out = chain(**random_inputs(), training=training)
    return {key: to_numpy(x) for key, x in out.items()}


def raw_means(chain, z):
    """f_μ(t_i) along a given path of latents: what is normalised."""
    inputs, raw = random_inputs(), []
    for i in range(N):
        if i == 0:
            hidden = chain.initial(ops.convert_to_tensor(inputs["backward"]))
        else:
            hidden = chain.f_z(
                ops.convert_to_tensor(inputs["contexts"][:, i]),
                ops.convert_to_tensor(z[:, i - 1]),
            )
        raw.append(to_numpy(chain.head(hidden)[0]))
    return np.stack(raw, axis=1)


def test_training_normalises_each_position_over_its_real_rows():
    chain = make_chain()
    out = run(chain, training=True)
    for i in range(N - 1):
        shift = to_numpy(norms(chain)[i > 0].shift)
        assert shift.all()
        mean = out["mean"][MASK[:, i], i].astype("float64")
        np.testing.assert_allclose(mean.mean(axis=0), shift, atol=1e-5)
        raw = raw_means(chain, out["z"])[MASK[:, i], i].astype("float64")
        expected = GAMMA * (raw - raw.mean(axis=0))
        expected /= np.sqrt(raw.var(axis=0) + EPSILON)
        np.testing.assert_allclose(mean, expected + shift, rtol=1e-3, atol=1e-4)


def test_a_single_row_takes_the_moving_averages():
    chain = make_chain()
    old = AVERAGES[1]  # `run` moves them afterwards
    out = run(chain, training=True)
    raw = raw_means(chain, out["z"])[0, -1]
    expected = GAMMA * (raw - old[0]) / np.sqrt(np.array(old[1]) + EPSILON)
    expected += to_numpy(chain.norm.shift)
    np.testing.assert_allclose(out["mean"][0, -1], expected, rtol=1e-4)


def test_inference_takes_the_moving_averages_and_keeps_them():
    chain = make_chain()
    out = run(chain)
    raw = raw_means(chain, out["z"])
    for norm, old, at in zip(
        norms(chain), AVERAGES, (slice(1), slice(1, None))
    ):
        expected = GAMMA * (raw[:, at] - old[0]) / np.sqrt(old[1])
        expected += to_numpy(norm.shift)
        np.testing.assert_allclose(
            out["mean"][:, at][MASK[:, at]],
            expected[MASK[:, at]],
            rtol=1e-4,
            atol=1e-4,
        )
        np.testing.assert_array_equal(
            to_numpy(norm.moving_mean), np.float32(old[0])
        )


def test_moving_averages_are_of_all_real_sentences():
    chain = make_chain()
    raw = raw_means(chain, run(chain, training=True)["z"])
    first, rest = raw[MASK[:, 0], 0], raw[:, 1:][MASK[:, 1:]]
    for norm, old, rows in zip(norms(chain), AVERAGES, (first, rest)):
        for weight, before, batch in (
            (norm.moving_mean, old[0], rows.mean(axis=0)),
            (norm.moving_variance, old[1], rows.var(axis=0)),
        ):
            expected = 0.95 * np.array(before) + 0.05 * batch
            np.testing.assert_allclose(to_numpy(weight), expected, rtol=1e-5)


def test_the_prior_is_not_normalised():
    chain = make_chain()
    out = run(chain, training=True)
    mean, log_var = chain.prior_step(
        *(ops.convert_to_tensor(out[key][:, :-1]) for key in ("z", "context"))
    )
    np.testing.assert_allclose(
        out["prior_mean"][:, 1:], to_numpy(mean), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        out["prior_log_var"][:, 1:], to_numpy(log_var), rtol=1e-4, atol=1e-5
    )


def test_without_there_is_no_difference_between_training_and_inference():
    chain = make_chain(mean_norm=None)
    for x, y in zip(run(chain, True).values(), run(chain).values()):
        np.testing.assert_array_equal(x, y)


def test_a_batch_without_two_rows_moves_nothing():
    norm = MeanNorm(1.0)
    norm.build((None, D))
    rows = ops.full((3, D), 7.0)
    for mask in ([[True], [False], [False]], [[False]] * 3):
        norm.update(rows, ops.convert_to_tensor(mask))
    assert not to_numpy(norm.moving_mean).any()
    assert (to_numpy(norm.moving_variance) == 1.0).all()


def test_gradient_flows_through_the_statistics(value_and_gradients):
    norm = MeanNorm(GAMMA)
    norm.build((None, 1))
    mask = np.array([[True], [True], [True], [False]])
    target = np.array([[1.0], [2.0], [-0.5], [3.0]])
    mean = np.array([[0.3], [-1.0], [0.9], [5.0]])

    def loss(mean):
        normed = norm(mean, ops.convert_to_tensor(mask), training=True)
        weights = ops.convert_to_tensor(np.where(mask, target, 0.0), "float32")
        return ops.sum(weights * normed)

    def oracle(mean):
        real = mean[:3]
        normed = (real - real.mean()) / np.sqrt(real.var() + EPSILON)
        return GAMMA * (target[:3] * normed).sum()

    value, (gradient,) = value_and_gradients(loss, mean)
    assert value == pytest.approx(oracle(mean), rel=1e-5)
    for i in range(4):
        step = 1e-5 * (np.arange(4) == i)[:, None]
        difference = (oracle(mean + step) - oracle(mean - step)) / 2e-5
        assert gradient[i, 0] == pytest.approx(difference, abs=1e-4)


@pytest.mark.slow
def test_averages_move_in_a_compiled_fit():
    chain = make_chain()
    inputs = {
        key: keras.Input(x.shape[1:], dtype=x.dtype.name, name=key)
        for key, x in random_inputs().items()
    }
    out = chain(**inputs)
    model = keras.Model(inputs, out["context"])  # all weights matter to it
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    arrays = random_inputs()
    model.fit(
        arrays,
        np.zeros((B, N, H), "float32"),
        batch_size=B,
        epochs=5,
        verbose=0,
    )
    raw = raw_means(chain, run(chain, training=True)["z"])
    raw = raw[:, 1:][MASK[:, 1:]]
    old = np.array(AVERAGES[1][0])
    expected = raw.mean(axis=0) + 0.95**6 * (old - raw.mean(axis=0))
    np.testing.assert_allclose(
        to_numpy(chain.norm.moving_mean), expected, rtol=1e-4
    )


def test_equal_means_are_no_division_by_zero():
    norm = MeanNorm(GAMMA)
    norm.build((None, D))
    means = np.full((3, D), 2.0, "float32")
    out = to_numpy(norm(means, np.ones((3, 1), bool), training=True))
    np.testing.assert_allclose(out, 0, atol=1e-3)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_its_averages_stay_finite(wrong):
    norm = MeanNorm(GAMMA)
    norm.build((None, D))
    rows = np.random.default_rng(0).standard_normal((B, D)).astype("float32")
    real = np.ones((B, 1), "bool")
    norm.update(ops.convert_to_tensor(rows), ops.convert_to_tensor(real))
    before = [to_numpy(norm.moving_mean), to_numpy(norm.moving_variance)]
    rows[2, 1] = wrong
    norm.update(ops.convert_to_tensor(rows), ops.convert_to_tensor(real))
    np.testing.assert_array_equal(to_numpy(norm.moving_mean), before[0])
    np.testing.assert_array_equal(to_numpy(norm.moving_variance), before[1])
