"""The information of posteriors, and the multiplier that holds it."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.distributions import DiagGaussian
from keras_hvae.layers import DiagGaussianKL, MinimumRate, Sampling
from tests.harness import slow

to_numpy = ops.convert_to_numpy
B, N, D = 40, 3, 2
MASK = np.arange(N) < np.resize([3, 1, 2, 0], B)[:, None]
GROUPS = [slice(0, 1), slice(1, None)]
PLACES = [(0, 0, 0), (2, 0, 1), (0, 1, 1), (2, 1, 0), (4, 2, 1)]


def batch(seed=0):
    """Means and log-variances in the units of the prior."""
    rng = np.random.default_rng(seed)
    mean = rng.standard_normal((B, N, D)) @ [[1.0, 0.5], [0.0, 0.3]]
    log_var = rng.standard_normal((B, N, D)) - 1
    return (x.astype("float32") for x in (mean + 0.2, log_var))


def information(*batches):
    """I of batches in float64: lists of positions, (mean, log_var) each.

    ½ log det C − ½ E Σ log σ², C = Cov μ + diag E σ², in units of a
    position's E σ².
    """
    scatter, freedom, rows, log_vars = 0.0, 0, 0, 0.0
    for positions in batches:
        for mean, log_var in positions:
            mean, log_var = (x.astype("float64") for x in (mean, log_var))
            variance = np.exp(log_var).mean(axis=0)
            rest = (mean - mean.mean(axis=0)) / np.sqrt(variance)
            scatter = scatter + rest.T @ rest
            freedom += len(mean) - 1
            rows += len(mean)
            log_vars += (log_var - np.log(variance)).sum()
    covariance = scatter / freedom + np.eye(len(scatter))
    return 0.5 * (np.linalg.slogdet(covariance)[1] - log_vars / rows)


def positions(mean, log_var, group, mask=MASK):
    """The real rows of a group's positions."""
    return [
        (mean[mask[:, i], i], log_var[mask[:, i], i])
        for i in (range(1) if group == 0 else range(1, mean.shape[1]))
    ]


def of_groups(mean, log_var):
    return [information(positions(mean, log_var, g)) for g in (0, 1)]


def rows(x, group, mask=MASK):
    return x[:, GROUPS[group]][mask[:, GROUPS[group]]]


def run(layer, mean, log_var, mask=MASK):
    return to_numpy(
        layer(*map(ops.convert_to_tensor, (mean, log_var, mask))),
    )


def test_information_is_of_the_rows_of_each_group():
    layer = MinimumRate(1.0, momentum=0.0)
    mean, log_var = batch()
    result = run(layer, mean, log_var)
    values = to_numpy(layer.information())
    for group, expected in enumerate(of_groups(mean, log_var)):
        assert values[group] == pytest.approx(expected, rel=1e-4)
        weighted = to_numpy(layer.free_share())[group] * expected
        np.testing.assert_allclose(rows(result, group), weighted, rtol=1e-4)
    assert not result[~MASK].any()
    counts = MASK[:, :1].sum(), MASK[:, 1:].sum()
    mean_value = to_numpy(layer.mean_of(layer.information()))
    assert mean_value == pytest.approx(
        np.average(values, weights=counts), rel=1e-5
    )


def test_the_kl_is_information_and_the_mismatch_of_the_moments():
    # Against N(0, I): E KL(q ‖ p) = I + KL(N(m, C) ‖ p).
    mean, log_var = (x[MASK[:, 0], :1] for x in batch())
    layer = MinimumRate(1.0)
    q = mean, log_var
    run(layer, *q, np.ones((len(mean), 1), "bool"))
    kl = to_numpy(
        DiagGaussian(*map(ops.convert_to_tensor, (mean, log_var))).kl()
    )
    mean, log_var = mean[:, 0].astype("float64"), log_var[:, 0]
    covariance = np.cov(mean.T) + np.diag(np.exp(log_var).mean(axis=0))
    center = mean.mean(axis=0)
    mismatch = 0.5 * (
        np.trace(covariance)
        + center @ center
        - D
        - np.linalg.slogdet(covariance)[1]
    )
    # `cov` has one row less in its denominator than the average of the KL.
    mismatch -= 0.5 * mean.var(axis=0).sum() / (len(mean) - 1)
    value = to_numpy(layer.information())[0]
    assert kl.mean() == pytest.approx(value + mismatch, rel=1e-4)


def test_information_of_a_gaussian_is_exact():
    # x ~ N(0, 1), q(u | x) = N(a x, s²): I(x; u) = ½ log (1 + a² / s²).
    a, s = 3.0, 0.5
    x = np.random.default_rng(0).standard_normal((100_000, 1, 1), "float32")
    layer = MinimumRate(1.0)
    run(layer, a * x, np.full_like(x, 2 * np.log(s)), np.ones((len(x), 1)) > 0)
    expected = 0.5 * np.log1p(a**2 / s**2)
    assert to_numpy(layer.information())[0] == pytest.approx(expected, rel=1e-2)


def test_a_message_said_twice_counts_once():
    rng = np.random.default_rng(0)
    mask = np.ones((1000, 1)) > 0
    values = []
    for copies in (1, 2):
        # As sure from two copies as from one: each has twice the variance.
        x = np.repeat(rng.standard_normal((1000, 1, 1), "float32"), copies, -1)
        layer = MinimumRate(1.0)
        run(layer, 10 * x, np.full_like(x, np.log(copies)), mask)
        values.append(to_numpy(layer.information())[0])
    assert values[1] == pytest.approx(values[0], rel=0.03)


def test_equal_posteriors_carry_nothing_whatever_their_kl():
    mean = np.full((B, N, D), 3.0, "float32")
    layer = MinimumRate(1.0)
    run(layer, mean, np.full_like(mean, -4.0))
    np.testing.assert_allclose(to_numpy(layer.information()), 0.0, atol=1e-5)


def test_gradient_is_that_of_the_batch_s_information(value_and_gradients):
    mean, log_var = batch()
    layer = MinimumRate(100.0, momentum=0.0, gain=0.0)
    layer.build(mean.shape)
    layer.multiplier.assign([0.5, 0.25])
    shares = to_numpy(layer.multiplier) + layer.speed  # nearly: I << 100

    def total(mean, log_var):
        return ops.sum(layer(mean, log_var, ops.convert_to_tensor(MASK)))

    def exact(mean, log_var):
        counts = MASK[:, :1].sum(), MASK[:, 1:].sum()
        return sum(np.prod([counts, shares, of_groups(mean, log_var)], axis=0))

    _, gradients = value_and_gradients(total, mean, log_var)
    inputs = mean.astype("float64"), log_var.astype("float64")
    for which, gradient in enumerate(gradients):
        for place in PLACES:
            sides = []
            for sign in (1, -1):
                moved = [x.copy() for x in inputs]
                moved[which][place] += sign * 1e-4
                sides.append(exact(*moved))
            slope = (sides[0] - sides[1]) / 2e-4
            assert gradient[place] == pytest.approx(slope, rel=1e-3)
        assert not gradient[~MASK].any()


def test_moments_are_of_all_batches_the_last_ones_most():
    layer = MinimumRate(1.0, momentum=0.5)
    first, second = (tuple(batch(seed)) for seed in (0, 1))
    run(layer, *first)
    run(layer, *second)
    # Half a batch of the first kind for each of the second.
    for group, value in enumerate(to_numpy(layer.information())):
        expected = information(
            positions(*first, group), *[positions(*second, group)] * 2
        )
        assert value == pytest.approx(expected, rel=1e-4)


def test_posteriors_that_drift_together_say_nothing():
    layer = MinimumRate(1.0)
    for step in range(50):
        mean = np.full((B, N, D), 0.3 * step, "float32")
        run(layer, mean, np.full_like(mean, 0.1 * step - 3))
    np.testing.assert_allclose(to_numpy(layer.information()), 0.0, atol=1e-5)


def test_a_place_alone_says_nothing():
    mean = np.zeros((B, N, D), "float32") + np.arange(N)[:, None]
    layer = MinimumRate(1.0)
    run(layer, mean, -mean)
    np.testing.assert_allclose(to_numpy(layer.information()), 0.0, atol=1e-5)


def test_the_multiplier_rises_below_the_rate_and_falls_above():
    mean, log_var = batch()
    per_group = of_groups(mean, log_var)
    for rate, down in ((2 * max(per_group), 0), (0.5 * min(per_group), 1)):
        layer = MinimumRate(rate, speed=0.1, gain=0.2)
        layer.build(mean.shape)
        layer.multiplier.assign([0.5, 0.5])
        run(layer, mean, log_var)
        error = 1 - np.array(per_group) / rate
        assert (error < 0).all() == down
        values = to_numpy(layer.multiplier)
        np.testing.assert_allclose(values, 0.5 + 0.1 * error, rtol=1e-4)
        shares = to_numpy(layer.free_share())
        expected = np.clip(0.5 + 0.3 * error, 0, 1)
        np.testing.assert_allclose(shares, expected, rtol=1e-4)
        for _ in range(200):
            run(layer, mean, log_var)
        # Nothing is paid for information, and none is forbidden.
        for values in (layer.multiplier, layer.free_share()):
            np.testing.assert_array_equal(
                to_numpy(values), [0.0, 0.0] if down else [1.0, 1.0]
            )


def test_a_group_without_rows_keeps_what_it_had():
    mean, log_var = batch()
    layer = MinimumRate(50.0)
    run(layer, mean, log_var)
    before = [to_numpy(w)[1] for w in layer.weights]
    run(layer, *batch(1), MASK & [True, False, False])
    for weight, old in zip(layer.weights, before):
        np.testing.assert_array_equal(to_numpy(weight)[1], old)
    fresh = MinimumRate(50.0)
    run(fresh, mean[:, :1], log_var[:, :1], MASK[:, :1])
    assert np.isfinite([to_numpy(fresh.information())]).all()
    assert to_numpy(fresh.multiplier)[1] == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_a_batch_that_is_not_finite_leaves_no_trace(value):
    mean, log_var = batch()
    layer = MinimumRate(0.1)
    run(layer, mean, log_var)
    before = [to_numpy(w) for w in layer.weights]
    mean[0, 0, 0] = value
    run(layer, mean, log_var)
    for weight, old in zip(layer.weights, before):
        np.testing.assert_array_equal(to_numpy(weight), old)


def test_padding_may_hold_anything():
    mean, log_var = batch()
    layers = MinimumRate(1.0), MinimumRate(1.0)
    results = [run(layers[0], mean, log_var)]
    for x in (mean, log_var):
        x[~MASK] = np.inf
    results.append(run(layers[1], mean, log_var))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(
    "arguments", [{"rate": 0}, {"rate": float("nan")}, {"speed": -1}]
)
def test_numbers_out_of_range_are_refused(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"`{name}` must be > 0. Received"):
        MinimumRate(**{"rate": 1.0, **arguments})
    with pytest.raises(ValueError, match="`gain` must be >= 0. Received: -1"):
        MinimumRate(1.0, gain=-1)
    with pytest.raises(ValueError, match="`momentum` must be in"):
        MinimumRate(1.0, momentum=1)


# === In the layer of the KL ===


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    names = ("mean", "log_var", "prior_mean", "prior_log_var")
    return {name: rng.standard_normal((B, N, D), "float32") for name in names}


def test_the_loss_has_the_kl_without_what_is_free(inputs):
    layer = DiagGaussianKL(kl_weight=0.3, rate=100.0)
    kl = to_numpy(layer(**inputs, mask=MASK, training=True))
    (loss,) = map(float, map(to_numpy, layer.losses))
    scale = np.exp(-0.5 * inputs["prior_log_var"])
    u = scale * (inputs["mean"] - inputs["prior_mean"])
    log_var = inputs["log_var"] - inputs["prior_log_var"]
    counts = MASK[:, :1].sum(), MASK[:, 1:].sum()
    free = sum(np.multiply(counts, of_groups(u, log_var)))
    documents = MASK.any(axis=1).sum()
    expected = 0.3 * (kl.sum() - free) / documents
    assert loss == pytest.approx(expected, rel=1e-3)
    # In inference nothing is free, and nothing is learned.
    before = [to_numpy(w) for w in layer.weights]
    layer(**inputs, mask=MASK)
    (loss,) = map(float, map(to_numpy, layer.losses))
    assert loss == pytest.approx(kl.sum() / documents, rel=1e-5)
    for weight, old in zip(layer.weights, before):
        np.testing.assert_array_equal(to_numpy(weight), old)


def test_the_prior_has_the_gradient_of_the_kl(inputs, value_and_gradients):
    gradients = []
    for rate in (None, 100.0):
        layer = DiagGaussianKL(rate=rate)

        def loss(*values, layer=layer):
            names = ("mean", "log_var", "prior_mean", "prior_log_var")
            layer(**dict(zip(names, values)), mask=MASK, training=True)
            return layer.losses[-1]

        gradients.append(value_and_gradients(loss, *inputs.values())[1])
    plain, with_rate = gradients
    for which in (2, 3):
        np.testing.assert_allclose(with_rate[which], plain[which], rtol=1e-5)
    for which in (0, 1):
        assert np.abs(with_rate[which] - plain[which]).max() > 1e-3


def test_a_floor_and_a_rate_are_refused():
    with pytest.raises(ValueError, match="`free_bits` must be 0 with a `rate`"):
        DiagGaussianKL(free_bits=1.0, rate=1.0)
    with pytest.raises(ValueError, match="`rate` must be >= 0. Received: -1"):
        DiagGaussianKL(rate=-1)
    assert DiagGaussianKL(free_bits=1.0, rate=0).minimum_rate is None


@pytest.mark.parametrize("rate", [*slow(None), 1.5, *slow(2.5)])
def test_a_training_holds_the_rate(rate):
    # A linear autoencoder of numbers from N(0, I), to two latents, whose
    # reconstruction is N(x̂, ½ I): probabilistic PCA. The ELBO alone has
    # ½ log 2 λ nats for each of the two largest variances λ.
    x = np.random.default_rng(0).standard_normal((512, 1, 3), "float32")
    inputs = keras.Input((1, 3))
    mean = keras.layers.Dense(2)(inputs)
    log_var = keras.layers.Dense(2, kernel_initializer="zeros")(inputs)
    layer = DiagGaussianKL(rate=rate)
    kl = layer(mean, log_var, mask=ops.ones_like(mean[..., 0], "bool"))
    z = Sampling(seed=0)(mean, log_var)
    out = keras.layers.Dense(3)(z)
    model = keras.Model(inputs, {"out": out, "kl": kl})
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(0.02, 1200)
        ),
        loss={
            "out": lambda x, y: ops.sum(ops.square(x - y), axis=-1),
            "kl": None,
        },
    )
    many = np.tile(x, (600, 1, 1))
    model.fit(many, {"out": many}, batch_size=256, shuffle=False, verbose=0)
    read = keras.Model(inputs, [mean, log_var]).predict(x, verbose=0)
    reached = information([(read[0][:, 0], read[1][:, 0])])
    variances = np.linalg.eigvalsh(np.cov(x[:, 0].T))[1:]
    expected = rate or 0.5 * np.log(2 * variances).sum()
    assert reached == pytest.approx(expected, rel=0.05)
    q = DiagGaussian(*map(ops.convert_to_tensor, read))
    kl = to_numpy(q.kl()).mean()
    assert kl == pytest.approx(reached, rel=0.05)
