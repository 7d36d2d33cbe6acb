"""The information of posteriors, and the multiplier that holds it."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import logsumexp

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
    """Samples, means and log-variances in the units of the prior."""
    rng = np.random.default_rng(seed)
    mean = rng.standard_normal((B, N, D)) @ [[1.0, 0.5], [0.0, 0.3]] + 0.2
    log_var = rng.standard_normal((B, N, D)) - 1
    noise = rng.standard_normal((B, N, D))
    sample = mean + np.exp(0.5 * log_var) * noise
    return [x.astype("float32") for x in (sample, mean, log_var)]


def draw(mean, log_var, seed=9):
    noise = np.random.default_rng(seed).standard_normal(mean.shape)
    return (mean + np.exp(0.5 * log_var) * noise).astype("float32")


def in_units(sample, mean, log_var, mask=MASK):
    """About the averages of their position, in units of its E σ²."""
    arrays = [x.astype("float64") for x in (sample, mean, log_var)]
    for i in range(mask.shape[1]):
        real = mask[:, i]
        center = arrays[1][real, i].mean(axis=0)
        variance = np.exp(arrays[2][real, i]).mean(axis=0)
        for x in arrays[:2]:
            x[:, i] = (x[:, i] - center) / np.sqrt(variance)
        arrays[2][:, i] -= np.log(variance)
    return arrays


def information(sample, mean, log_var, mask=MASK, mixture=None):
    """log q(u | x) − log q(u) of each sentence, in float64.

    q(u) is the average of the mixture's posteriors, else of the batch's.
    """
    u, mean, log_var = in_units(sample, mean, log_var, mask)
    if mixture is None:
        mixture = mean[mask], log_var[mask]
    square = np.square(u[..., None, :] - mixture[0])
    logs = -0.5 * (square / np.exp(mixture[1]) + mixture[1]).sum(axis=-1)
    own = -0.5 * (np.square(u - mean) / np.exp(log_var) + log_var).sum(axis=-1)
    other = np.ones(logs.shape, "bool")
    other[mask] = ~np.eye(mask.sum(), len(mixture[0]), dtype="bool")
    logs = np.where(other, logs, own[..., None])
    return own - logsumexp(logs, axis=-1) + np.log(logs.shape[-1])


def of_places(values, mask=MASK):
    return [values[mask[:, i], i].mean() for i in range(mask.shape[1])]


def first(values):
    """Of the places that a layer has, those of the batches here."""
    return to_numpy(values)[:N]


def run(layer, sample, mean, log_var, mask=MASK, kl=None):
    kl = np.zeros(mask.shape, "float32") if kl is None else kl
    given = map(ops.convert_to_tensor, (kl, sample, mean, log_var, mask))
    return to_numpy(layer(*given))


def held_of(mean, log_var, rate=1.0):
    """What a layer takes for the information of rows `(R, d)`."""
    layer = MinimumRate(rate)
    q = mean[:, None].astype("float32"), log_var[:, None].astype("float32")
    run(layer, draw(*q), *q, np.ones((len(mean), 1), "bool"))
    return to_numpy(layer.held())[0]


def price(level):
    """w and ν at a level of the multiplier."""
    return np.clip(2 - level, 0.3, 1.0), np.minimum(level, 1.0)


def fixed(level):
    """A layer whose multiplier stays where it is."""
    layer = MinimumRate(5.0, speed=1e-9, gain=0.0)
    layer.build(MASK.shape, (B, N, D))
    layer.multiplier.assign([level] * minimum_rate.PLACES)
    return layer


@pytest.mark.parametrize("level", [1.8, 0.25, *slow(1.5, 1.0)])
def test_what_information_and_mismatch_cost(level):
    layer = fixed(level)
    posterior = batch()
    kl = np.random.default_rng(1).random(MASK.shape, "float32") + 5
    result = run(layer, *posterior, kl=kl)
    weight, free = price(level)
    expected = information(*posterior)
    cost = weight * (kl - free * expected)
    np.testing.assert_allclose(result[MASK], cost[MASK], rtol=1e-4)
    assert not result[~MASK].any()
    values = first(layer.held())
    np.testing.assert_allclose(values, of_places(expected), rtol=1e-4)
    mean_value = to_numpy(layer.mean_of(layer.held()))
    assert mean_value == pytest.approx(
        np.average(values, weights=COUNTS), rel=1e-5
    )


def test_information_of_a_gaussian():
    # x ~ N(0, 1), q(u | x) = N(a x, s²): I(x; u) = ½ log (1 + a² / s²).
    a, s = 3.0, 0.5
    x = np.random.default_rng(0).standard_normal((2000, 1))
    value = held_of(a * x, np.full_like(x, 2 * np.log(s)))
    assert value == pytest.approx(0.5 * np.log1p(a**2 / s**2), rel=0.03)


@pytest.mark.parametrize("scale", [30.0, 300.0])
def test_a_message_said_more_clearly_says_no_more(scale):
    # One of four, in a code of three dimensions: log 4, however far apart.
    rng = np.random.default_rng(0)
    code = scale * rng.standard_normal((4, 3))[np.arange(2000) % 4]
    value = held_of(code, np.zeros_like(code))
    assert value == pytest.approx(np.log(4), rel=0.01)


def test_a_message_said_twice_counts_once():
    x = np.random.default_rng(0).standard_normal((2000, 1))
    once = held_of(10 * x, np.zeros_like(x))
    # As sure from two copies as from one: each has twice the variance.
    x = x.repeat(2, axis=-1)
    assert held_of(10 * x, np.full_like(x, np.log(2))) == pytest.approx(
        once, rel=0.03
    )


def test_equal_posteriors_carry_nothing_whatever_their_kl():
    mean = np.full((B, D), 3.0)
    assert held_of(mean, np.full_like(mean, -4.0)) == pytest.approx(0, abs=1e-5)


def test_a_mixture_tells_no_more_than_it_has():
    mean = 1e3 * np.arange(100.0)[:, None]
    value = held_of(mean, np.zeros_like(mean))
    assert value == pytest.approx(np.log(100), rel=1e-5)


@pytest.mark.parametrize("nats", [1.0, 3.0, 5.0])
def test_how_much_too_low_a_mixture_is(nats):
    # A Gaussian channel in 8 dimensions, at the rates that are measured.
    noise = 1 / np.expm1(2 * nats / 8)
    mean = np.random.default_rng(0).standard_normal((minimum_rate.BANK, 8))
    value = held_of(mean, np.full_like(mean, np.log(noise)))
    assert nats - 0.25 < value < nats + 0.05


def test_earlier_batches_are_in_the_mixture():
    layer = MinimumRate(1.0, momentum=0.0)
    batches = [batch(seed) for seed in (0, 1)]
    for one in batches:
        run(layer, *one)
    units = [in_units(*x) for x in batches]
    mixture = [
        np.concatenate([x[k][MASK] for x in units[::-1]]) for k in (1, 2)
    ]
    expected = of_places(information(*batches[1], mixture=mixture))
    np.testing.assert_allclose(first(layer.held()), expected, rtol=1e-4)
    assert to_numpy(layer.mixture)[:, 0].sum() == 2 * MASK.sum()


def test_the_oldest_posteriors_go():
    layer = MinimumRate(1.0)
    mask = np.ones((900, 1), "bool")
    for seed in range(5):
        mean = np.random.default_rng(seed).standard_normal((900, 1, D))
        run(layer, mean, mean, 0 * mean, mask)
        assert (to_numpy(layer.mixture)[:900, 0] == 1).all()
        newest = mean[:, 0] - mean.mean(axis=0)
        kept = to_numpy(layer.mixture)[:900, 1 : 1 + D]
        np.testing.assert_allclose(kept, newest, atol=1e-5)
    assert to_numpy(layer.mixture)[:, 0].sum() == minimum_rate.BANK


def test_a_batch_may_have_more_than_the_mixture():
    mean = np.random.default_rng(0).standard_normal((5000, 1))
    value = held_of(mean, np.zeros_like(mean))
    assert value == pytest.approx(0.5 * np.log(2), rel=0.1)


@pytest.mark.parametrize("level", [2.0, 0.5])
def test_gradient_is_that_of_the_batch_s_sum(value_and_gradients, level):
    posterior = batch()
    layer = fixed(level)
    kl = np.ones(MASK.shape, "float32")
    weight, free = price(level)

    def total(kl, *posterior):
        return ops.sum(layer(kl, *posterior, ops.convert_to_tensor(MASK)))

    _, mean, log_var = in_units(*posterior)
    mixture = mean[MASK], log_var[MASK]

    def exact(posterior):
        values = information(*posterior, mixture=mixture)
        return -weight * free * values[MASK].sum()

    _, gradients = value_and_gradients(total, kl, *posterior)
    np.testing.assert_allclose(gradients[0], weight * MASK, rtol=1e-5)
    inputs = [x.astype("float64") for x in posterior]
    for which, gradient in enumerate(gradients[1:]):
        for place in PLACES:
            sides = []
            for sign in (1, -1):
                moved = [x.copy() for x in inputs]
                moved[which][place] += sign * 1e-4
                sides.append(exact(moved))
            slope = (sides[0] - sides[1]) / 2e-4
            assert gradient[place] == pytest.approx(slope, rel=1e-3, abs=1e-4)
        assert not gradient[~MASK].any()


def test_gradient_is_on_average_that_of_the_information(value_and_gradients):
    # I of a Gaussian channel, by a and log s²: though the mixture is fixed.
    a, s = 1.5, 0.7
    rng = np.random.default_rng(0)
    x, noise = map(
        ops.convert_to_tensor, rng.standard_normal((2, 2000, 1, 1), "float32")
    )
    mask = ops.ones((2000, 1), "bool")
    zeros = ops.zeros((2000, 1))
    layer = MinimumRate(5.0, speed=1e-9, gain=0.0)

    def total(a, log_var):
        mean = a * x
        log_var = log_var + ops.zeros_like(mean)
        sample = mean + ops.exp(0.5 * log_var) * noise
        return ops.sum(layer(zeros, sample, mean, log_var, mask)) / 2000

    given = np.array(a, "float32"), np.array(2 * np.log(s), "float32")
    _, gradients = value_and_gradients(total, *given)
    share = a**2 / (a**2 + s**2)
    expected = [share / a, -0.5 * share]
    average = np.array(gradients) / -minimum_rate.LOWEST_WEIGHT
    np.testing.assert_allclose(average, expected, rtol=0.1)


def test_what_is_held_is_a_moving_average():
    layer = MinimumRate(1.0, momentum=0.5)
    first_one, second = batch(0), batch(1)
    run(layer, *first_one)
    old = first(layer.held())
    np.testing.assert_allclose(old, of_places(information(*first_one)), 1e-4)
    run(layer, *second)
    alone = MinimumRate(1.0, momentum=0.0)
    run(alone, *first_one)
    run(alone, *second)
    expected = (old + 2 * first(alone.held())) / 3
    np.testing.assert_allclose(first(layer.held()), expected, 1e-4)


def test_above_what_a_mixture_can_measure_the_kl_is_held():
    posterior = batch()
    kl = np.random.default_rng(1).random(MASK.shape, "float32") + 5
    layer = MinimumRate(6.0)
    run(layer, *posterior, kl=kl)
    np.testing.assert_allclose(first(layer.held()), of_places(kl), rtol=1e-5)


def test_posteriors_that_drift_together_say_nothing():
    layer = MinimumRate(1.0)
    for step in range(50):
        mean = np.full((B, N, D), 0.3 * step, "float32")
        log_var = np.full_like(mean, 0.1 * step - 3)
        run(layer, draw(mean, log_var, step), mean, log_var)
    np.testing.assert_allclose(to_numpy(layer.held()), 0.0, atol=1e-5)


def test_a_place_alone_says_nothing():
    mean = np.zeros((B, N, D), "float32") + np.arange(N)[:, None]
    layer = MinimumRate(1.0)
    run(layer, draw(mean, -mean), mean, -mean)
    np.testing.assert_allclose(to_numpy(layer.held()), 0.0, atol=1e-5)


def test_the_multiplier_rises_below_the_rate_and_falls_above():
    posterior = batch()
    per_place = of_places(information(*posterior))
    for rate, down in ((2 * max(per_place), 0), (0.5 * min(per_place), 1)):
        layer = MinimumRate(rate, speed=0.1, gain=0.2)
        layer.build(MASK.shape, (B, N, D))
        assert (to_numpy(layer.multiplier) == 2).all()
        layer.multiplier.assign([0.5] * minimum_rate.PLACES)
        run(layer, *posterior)
        error = 1 - np.array(per_place) / rate
        assert (error < 0).all() == down
        values = first(layer.multiplier)
        np.testing.assert_allclose(values, 0.5 + 0.1 * error, rtol=1e-4)
        # No sentence was seen there.
        assert (to_numpy(layer.multiplier)[N:] == 0.5).all()
        expected = np.clip(0.5 + 0.3 * error, 0, 2)
        np.testing.assert_allclose(first(layer.level()), expected, 1e-4)
        layer.speed = 2.0
        for _ in range(6):
            run(layer, *posterior)
        assert (first(layer.level()) == (0 if down else 2)).all()


@pytest.mark.parametrize("start", [0.1, 1.5])
def test_the_multiplier_rests_while_its_level_is_at_an_end(start):
    posterior = batch()
    per_place = np.array(of_places(information(*posterior)))
    # Too little, which a level of 2 asks for already, or the other way.
    rate = 2 * per_place.max() if start > 1 else 0.5 * per_place.min()
    layer = MinimumRate(rate, speed=0.1, gain=4.0)
    layer.build(MASK.shape, (B, N, D))
    layer.multiplier.assign([start] * minimum_rate.PLACES)
    for _ in range(3):
        run(layer, *posterior)
    assert (to_numpy(layer.multiplier) == np.float32(start)).all()
    assert (first(layer.level()) == (2 if start > 1 else 0)).all()
    # It goes on when the error turns, with no help of `gain`, too.
    layer.gain, before = 0.0, to_numpy(layer.multiplier)[:N]
    layer.multiplier.assign([2.0 if start > 1 else 0.0] * minimum_rate.PLACES)
    layer.rate = 1.0 if start > 1 else 100.0
    run(layer, *posterior)
    after = first(layer.multiplier)
    assert ((after < 2) if start > 1 else (after > 0)).all() and before.all()


def test_a_place_without_rows_keeps_what_it_had():
    layer = MinimumRate(5.0)
    run(layer, *batch())
    places = layer.count, layer.nats, layer.multiplier
    before = [to_numpy(w)[1] for w in places]
    run(layer, *batch(1), MASK & [True, False, False])
    for weight, old in zip(places, before):
        np.testing.assert_array_equal(to_numpy(weight)[1], old)
    fresh = MinimumRate(5.0)
    run(fresh, *(x[:, :1] for x in batch()), MASK[:, :1])
    assert np.isfinite([to_numpy(fresh.held())]).all()
    assert to_numpy(fresh.multiplier)[1] == 2


@pytest.mark.parametrize("size", [1e5, 1e9])
def test_posteriors_that_are_far_apart_can_be_told(size):
    _, mean, log_var = batch()
    mean *= size
    layer = MinimumRate(1.0)
    result = run(layer, draw(mean, log_var), mean, log_var)
    assert np.isfinite(result).all()
    assert (first(layer.held()) > 3).all()


@pytest.mark.parametrize("value", [np.nan, *slow(np.inf)])
@pytest.mark.parametrize("which", [0, 1])
def test_a_batch_that_is_not_finite_leaves_no_trace(value, which):
    posterior = batch()
    layer = MinimumRate(0.1)
    run(layer, *posterior)
    before = [to_numpy(w) for w in layer.weights]
    posterior[which][0, 0, 0] = value
    run(layer, *posterior)
    for weight, old in zip(layer.weights, before):
        np.testing.assert_array_equal(to_numpy(weight), old)


def test_padding_may_hold_anything():
    posterior = batch()
    layers = MinimumRate(1.0), MinimumRate(1.0)
    results = [run(layers[0], *posterior)]
    for x in posterior:
        x[~MASK] = np.inf
    results.append(run(layers[1], *posterior))
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
    names = ("mean", "log_var", "prior_mean", "prior_log_var", "sample")
    return {name: rng.standard_normal((B, N, D), "float32") for name in names}


@pytest.mark.parametrize("level", [2.0, 1.0])
def test_the_loss_has_what_the_kl_costs(inputs, level):
    layer = DiagGaussianKL(kl_weight=0.3, rate=5.0)
    layer.build((B, N, D))
    layer.minimum_rate.speed = layer.minimum_rate.gain = 0.0
    layer.minimum_rate.multiplier.assign([level] * minimum_rate.PLACES)
    kl = to_numpy(layer(**inputs, mask=MASK, training=True))
    (loss,) = map(float, map(to_numpy, layer.losses))
    scale = np.exp(-0.5 * inputs["prior_log_var"])
    u, mean = (
        scale * (inputs[key] - inputs["prior_mean"])
        for key in ("sample", "mean")
    )
    log_var = inputs["log_var"] - inputs["prior_log_var"]
    weight, free = price(level)
    told = information(u, mean, log_var)[MASK].sum()
    cost = weight * (kl.sum() - free * told)
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


def test_a_training_with_a_rate_needs_the_sample(inputs):
    layer = DiagGaussianKL(rate=1.0)
    del inputs["sample"]
    layer(**inputs, mask=MASK)
    with pytest.raises(ValueError, match="`sample` must be .* Received: None"):
        layer(**inputs, mask=MASK, training=True)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [None, 2.5])
def test_a_training_holds_the_rate(rate):
    # A linear autoencoder of numbers from N(0, I), to two latents, whose
    # reconstruction is N(x̂, ½ I): probabilistic PCA. The ELBO alone has
    # ½ log 2 λ nats for each of the two largest variances λ.
    rng = np.random.default_rng(0)
    x = rng.standard_normal((51_200, 1, 3), "float32")
    inputs = keras.Input((1, 3))
    mean = keras.layers.Dense(2)(inputs)
    log_var = keras.layers.Dense(2, kernel_initializer="zeros")(inputs)
    layer = DiagGaussianKL(rate=rate)
    z = Sampling(seed=0)(mean, log_var)
    mask = ops.ones_like(mean[..., 0], "bool")
    kl = layer(mean, log_var, mask=mask, sample=z)
    out = keras.layers.Dense(3)(z)
    model = keras.Model(inputs, {"out": out, "kl": kl})
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(0.02, 2000)
        ),
        loss={
            "out": lambda x, y: ops.sum(ops.square(x - y), axis=-1),
            "kl": None,
        },
    )
    many = np.tile(x, (10, 1, 1))
    model.fit(many, {"out": many}, batch_size=256, shuffle=False, verbose=0)
    read = keras.Model(inputs, [mean, log_var]).predict(x, verbose=0)
    # Of Gaussians: ½ log det Cov z − ½ E Σ log σ².
    mean, log_var = (x[:, 0].astype("float64") for x in read)
    covariance = np.cov(mean.T) + np.diag(np.exp(log_var).mean(axis=0))
    reached = 0.5 * (np.linalg.slogdet(covariance)[1] - log_var.sum(-1).mean())
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
    result = run(layer, mean, mean, np.zeros_like(mean), mask)
    assert np.isfinite(result).all()
    values = to_numpy(layer.count)
    np.testing.assert_array_equal(values, [B] * (len(values) - 1) + [5 * B])
    assert (to_numpy(layer.held()) > 0).all()
