"""The information of posteriors, and the multiplier that holds it."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.distributions import DiagGaussian
from keras_hvae.layers import DiagGaussianKL, MinimumRate, Sampling
from keras_hvae.layers.latent import minimum_rate
from tests.harness import slow

to_numpy = ops.convert_to_numpy
B, N, D = 40, 3, 2
MASK = np.arange(N) < np.resize([3, 1, 2, 0], B)[:, None]
COUNTS = MASK.sum(axis=0)
PLACES = [(0, 0, 0), (2, 0, 1), (0, 1, 1), (2, 1, 0), (4, 2, 1)]


def batch(seed=0):
    """Means and log-variances in the units of the prior."""
    rng = np.random.default_rng(seed)
    mean = rng.standard_normal((B, N, D)) @ [[1.0, 0.5], [0.0, 0.3]]
    log_var = rng.standard_normal((B, N, D)) - 1
    return (x.astype("float32") for x in (mean + 0.2, log_var))


def information(mean, log_var, corrected=True):
    """I of rows `(R, d)` in float64.

    ½ log det C − ½ E Σ log σ², C = Cov μ + diag E σ², in units of E σ².
    """
    mean, log_var = (x.astype("float64") for x in (mean, log_var))
    variance = np.exp(log_var).mean(axis=0)
    rest = (mean - mean.mean(axis=0)) / np.sqrt(variance)
    freedom = len(mean) - 1
    eye = np.eye(mean.shape[-1])
    covariance = rest.T @ rest / freedom + eye
    used = np.trace(eye - np.linalg.inv(covariance)) if corrected else 0.0
    lacks = used * (used + 1) / (2 * freedom)
    log_det = np.linalg.slogdet(covariance)[1] + lacks
    return 0.5 * (log_det - (log_var - np.log(variance)).sum(-1).mean())


def of_places(mean, log_var, corrected=True):
    return [
        information(rows(mean, i), rows(log_var, i), corrected)
        for i in range(N)
    ]


def rows(x, place):
    return x[MASK[:, place], place]


def first(values):
    """Of the places that a layer has, those of the batches here."""
    return to_numpy(values)[:N]


def run(layer, mean, log_var, mask=MASK, kl=None):
    kl = np.zeros(mask.shape, "float32") if kl is None else kl
    given = map(ops.convert_to_tensor, (kl, mean, log_var, mask))
    return to_numpy(layer(*given))


def price(level):
    """w and ν at a level of the multiplier."""
    return np.clip(2 - level, 0.1, 1.0), np.minimum(level, 1.0)


@pytest.mark.parametrize("level", [1.5, 0.25, *slow(2.0, 1.0)])
def test_what_information_and_mismatch_cost(level):
    layer = MinimumRate(1e6, speed=1e-9, gain=0.0)
    mean, log_var = batch()
    layer.build(mean.shape)
    layer.multiplier.assign([level] * minimum_rate.PLACES)
    kl = np.random.default_rng(1).random(MASK.shape, "float32") + 5
    result = run(layer, mean, log_var, kl=kl)
    values = first(layer.information())
    weight, free = price(level)
    for place, expected in enumerate(of_places(mean, log_var)):
        assert values[place] == pytest.approx(expected, rel=1e-4)
        cost = weight * (rows(kl, place) - free * expected)
        np.testing.assert_allclose(rows(result, place), cost, rtol=1e-4)
    assert not result[~MASK].any()
    mean_value = to_numpy(layer.mean_of(layer.information()))
    assert mean_value == pytest.approx(
        np.average(values, weights=COUNTS), rel=1e-5
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
    value = information(mean, log_var, corrected=False)
    assert kl.mean() == pytest.approx(value + mismatch, rel=1e-4)
    corrected = information(mean, log_var)
    run_value = to_numpy(layer.information())[0]
    assert run_value == pytest.approx(corrected, rel=1e-4)


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


def test_few_rows_say_as_much_as_many():
    # 64 sentences of a Gaussian in 32 dimensions: log det C lacks 8 nats.
    rng = np.random.default_rng(0)
    values, plain = [], []
    for _ in range(20):
        mean = 5 * rng.standard_normal((64, 1, 32)).astype("float32")
        q = mean, np.zeros_like(mean)
        layer = MinimumRate(1.0)
        run(layer, *q, np.ones((64, 1), "bool"))
        values.append(to_numpy(layer.information())[0])
        plain.append(information(mean[:, 0], q[1][:, 0], corrected=False))
    expected = 16 * np.log(1 + 25)
    assert np.mean(values) == pytest.approx(expected, rel=0.02)
    assert np.mean(plain) < 0.93 * expected


@pytest.mark.parametrize("level", [2.0, 0.5])
def test_gradient_is_that_of_the_batch_s_sum(value_and_gradients, level):
    mean, log_var = batch()
    layer = MinimumRate(1e6, speed=1e-9, gain=0.0)
    layer.build(mean.shape)
    layer.multiplier.assign([level] * minimum_rate.PLACES)
    kl = np.ones(MASK.shape, "float32")
    weight, free = price(level)

    def total(kl, mean, log_var):
        return ops.sum(layer(kl, mean, log_var, ops.convert_to_tensor(MASK)))

    def exact(mean, log_var):
        values = of_places(mean, log_var, corrected=False)
        return -weight * free * np.dot(COUNTS, values)

    _, gradients = value_and_gradients(total, kl, mean, log_var)
    np.testing.assert_allclose(gradients[0], weight * MASK, rtol=1e-5)
    inputs = mean.astype("float64"), log_var.astype("float64")
    for which, gradient in enumerate(gradients[1:]):
        for place in PLACES:
            sides = []
            for sign in (1, -1):
                moved = [x.copy() for x in inputs]
                moved[which][place] += sign * 1e-4
                sides.append(exact(*moved))
            slope = (sides[0] - sides[1]) / 2e-4
            assert gradient[place] == pytest.approx(slope, rel=1e-3)
        assert not gradient[~MASK].any()


def test_information_is_a_moving_average():
    layer = MinimumRate(1.0, momentum=0.5)
    batches = [tuple(batch(seed)) for seed in (0, 1)]
    for one in batches:
        run(layer, *one)
    expected = np.average(
        [of_places(*x) for x in batches], axis=0, weights=(1, 2)
    )
    np.testing.assert_allclose(first(layer.information()), expected, 1e-4)


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
    per_place = of_places(mean, log_var)
    for rate, down in ((2 * max(per_place), 0), (0.5 * min(per_place), 1)):
        layer = MinimumRate(rate, speed=0.1, gain=0.2)
        layer.build(mean.shape)
        assert (to_numpy(layer.multiplier) == 2).all()
        layer.multiplier.assign([0.5] * minimum_rate.PLACES)
        run(layer, mean, log_var)
        error = 1 - np.array(per_place) / rate
        assert (error < 0).all() == down
        values = first(layer.multiplier)
        np.testing.assert_allclose(values, 0.5 + 0.1 * error, rtol=1e-4)
        # No sentence was seen there.
        assert (to_numpy(layer.multiplier)[N:] == 0.5).all()
        expected = np.clip(0.5 + 0.3 * error, 0, 2)
        np.testing.assert_allclose(first(layer.level()), expected, 1e-4)
        for _ in range(200):
            run(layer, mean, log_var)
        for values in (layer.multiplier, layer.level()):
            assert (first(values) == (0 if down else 2)).all()


def test_a_place_without_rows_keeps_what_it_had():
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
    assert to_numpy(fresh.multiplier)[1] == 2


def test_posteriors_that_are_far_apart_can_be_told():
    mean, log_var = batch()
    for size in (1e5, 1e9):
        layer = MinimumRate(1.0)
        result = run(layer, size * mean[..., :1].repeat(D, -1), log_var)
        assert np.isfinite(result).all()
        assert (first(layer.information()) > 8).all()


@pytest.mark.parametrize("value", [np.nan, *slow(np.inf, 3e38)])
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


@pytest.mark.parametrize("level", [2.0, 1.0])
def test_the_loss_has_what_the_kl_costs(inputs, level):
    layer = DiagGaussianKL(kl_weight=0.3, rate=1e6)
    layer.build((B, N, D))
    # Far below the rate, `gain` gives a level of 2.
    layer.minimum_rate.gain = 0.0
    layer.minimum_rate.multiplier.assign([level - 0.01] * minimum_rate.PLACES)
    kl = to_numpy(layer(**inputs, mask=MASK, training=True))
    (loss,) = map(float, map(to_numpy, layer.losses))
    scale = np.exp(-0.5 * inputs["prior_log_var"])
    u = scale * (inputs["mean"] - inputs["prior_mean"])
    log_var = inputs["log_var"] - inputs["prior_log_var"]
    weight, free = price(level)
    cost = weight * (kl.sum() - free * np.dot(COUNTS, of_places(u, log_var)))
    documents = MASK.any(axis=1).sum()
    assert loss == pytest.approx(0.3 * cost / documents, rel=1e-3)
    # In inference nothing is free, and nothing is learned.
    before = [to_numpy(w) for w in layer.weights]
    layer(**inputs, mask=MASK)
    (loss,) = map(float, map(to_numpy, layer.losses))
    assert loss == pytest.approx(kl.sum() / documents, rel=1e-5)
    for weight, old in zip(layer.weights, before):
        np.testing.assert_array_equal(to_numpy(weight), old)


def test_a_floor_and_a_rate_are_refused():
    with pytest.raises(ValueError, match="`free_bits` must be 0 with a `rate`"):
        DiagGaussianKL(free_bits=1.0, rate=1.0)
    with pytest.raises(ValueError, match="`rate` must be >= 0. Received: -1"):
        DiagGaussianKL(rate=-1)
    assert DiagGaussianKL(free_bits=1.0, rate=0).minimum_rate is None


@pytest.mark.parametrize("rate", [*slow(None, 1.5), 2.5])
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
    reached = information(read[0][:, 0], read[1][:, 0])
    variances = np.linalg.eigvalsh(np.cov(x[:, 0].T))[1:]
    expected = rate or 0.5 * np.log(2 * variances).sum()
    assert reached == pytest.approx(expected, rel=0.05)
    q = DiagGaussian(*map(ops.convert_to_tensor, read))
    kl = to_numpy(q.kl()).mean()
    assert kl == pytest.approx(reached, rel=0.05)


def test_places_behind_the_last_share_one():
    many = minimum_rate.PLACES + 4
    rng = np.random.default_rng(0)
    mean = rng.standard_normal((B, many, D)).astype("float32")
    mask = np.ones((B, many), "bool")
    layer = MinimumRate(1.0)
    result = run(layer, mean, np.zeros_like(mean), mask)
    assert np.isfinite(result).all()
    values = to_numpy(layer.count)
    np.testing.assert_array_equal(values, [B] * (len(values) - 1) + [5 * B])
    shared = result[0, minimum_rate.PLACES - 1 :]
    np.testing.assert_allclose(shared, shared[0], rtol=1e-5)
