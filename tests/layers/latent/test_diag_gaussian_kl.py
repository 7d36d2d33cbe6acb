import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.layers import DiagGaussianKL

to_numpy = ops.convert_to_numpy
# Three documents of 3, 1 and 0 sentences; the last one pads the batch.
MASK = np.array([[True, True, True], [True, False, False], [False] * 3])
D, DOCUMENTS = 2, 2


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    names = ("mean", "log_var", "prior_mean", "prior_log_var")
    return {
        name: rng.standard_normal((*MASK.shape, D), "float32") for name in names
    }


@pytest.fixture
def kl(inputs):
    """The textbook KL of each dimension, 0 at padding: (B, n, d)."""
    m, lv, pm, plv = (x.astype("float64") for x in inputs.values())
    kl = 0.5 * (plv - lv - 1 + (np.exp(lv) + (m - pm) ** 2) / np.exp(plv))
    return kl * MASK[..., None]


def loss(layer):
    (value,) = layer.losses
    return float(to_numpy(value))


def test_returns_the_kl_of_each_sentence(inputs, kl):
    layer = DiagGaussianKL(kl_weight=0.1, free_bits=50.0)
    for training in (True, False):
        output = to_numpy(layer(**inputs, mask=MASK, training=training))
        np.testing.assert_allclose(output, kl.sum(-1), rtol=1e-5)
        assert (output[~MASK] == 0).all()


def test_without_mask_and_prior(inputs):
    m, lv = inputs["mean"], inputs["log_var"]
    layer = DiagGaussianKL()
    output = to_numpy(layer(m, lv))
    expected = 0.5 * (np.exp(lv) + m**2 - 1 - lv).sum(-1)
    np.testing.assert_allclose(output, expected, rtol=1e-5)
    assert loss(layer) == pytest.approx(expected.sum() / 3, rel=1e-5)


def test_padding_may_hold_anything(inputs, kl):
    for x in inputs.values():
        x[~MASK] = np.inf
    layer = DiagGaussianKL()
    output = to_numpy(layer(**inputs, mask=MASK, training=True))
    np.testing.assert_allclose(output, kl.sum(-1), rtol=1e-5)
    assert loss(layer) == pytest.approx(kl.sum() / DOCUMENTS, rel=1e-5)


def test_loss_in_training_is_weighted(inputs, kl):
    layer = DiagGaussianKL(kl_weight=0.3)
    layer(**inputs, mask=MASK, training=True)
    assert loss(layer) == pytest.approx(0.3 * kl.sum() / DOCUMENTS, rel=1e-5)
    layer.kl_weight.assign(0.7)
    layer(**inputs, mask=MASK, training=True)
    assert loss(layer) == pytest.approx(0.7 * kl.sum() / DOCUMENTS, rel=1e-5)


def test_loss_in_inference_is_the_kl(inputs, kl):
    layer = DiagGaussianKL(kl_weight=0.3, free_bits=100.0)
    layer(**inputs, mask=MASK)
    assert loss(layer) == pytest.approx(kl.sum() / DOCUMENTS, rel=1e-5)


def test_without_options_the_loss_in_training_is_the_kl(inputs, kl):
    layer = DiagGaussianKL()
    layer(**inputs, mask=MASK, training=True)
    assert loss(layer) == pytest.approx(kl.sum() / DOCUMENTS, rel=1e-5)
    # There is no floor: a posterior that is the prior costs nothing.
    prior = inputs["prior_mean"], inputs["prior_log_var"]
    layer(*prior, *prior, mask=MASK, training=True)
    assert loss(layer) == 0


# At each of the three positions, with this many real sentences:
COUNTS = MASK.sum(axis=0)


def floor_dimensions(kl, free_bits):
    return sum(
        count * max(free_bits / D, kl[:, i, d].sum() / count)
        for i, count in enumerate(COUNTS)
        for d in range(D)
    )


def floor_sentences(kl, free_bits):
    return sum(max(free_bits, x) for x in kl.sum(-1)[MASK])


def floor_batch(kl, free_bits):
    return sum(
        count * max(free_bits, kl[:, i].sum() / count)
        for i, count in enumerate(COUNTS)
    )


FLOORS = {
    "dimension": floor_dimensions,
    "sentence": floor_sentences,
    "batch": floor_batch,
}


@pytest.mark.parametrize("mode", FLOORS)
# Below, amid and above the KLs of this batch's sentences and dimensions.
@pytest.mark.parametrize("free_bits", [1e-3, 1.0, 2.0, 5.0, 100.0])
def test_free_bits(inputs, kl, mode, free_bits):
    layer = DiagGaussianKL(0.5, free_bits, mode)
    layer(**inputs, mask=MASK, training=True)
    expected = 0.5 * FLOORS[mode](kl, free_bits) / DOCUMENTS
    assert loss(layer) == pytest.approx(expected, rel=1e-5)


def test_free_bits_are_of_the_batch_if_not_said(inputs, kl):
    layer = DiagGaussianKL(free_bits=5.0)
    layer(**inputs, mask=MASK, training=True)
    expected = floor_batch(kl, 5.0) / DOCUMENTS
    assert loss(layer) == pytest.approx(expected, rel=1e-5)


def test_free_bits_modes_differ(kl):
    # So that the test above tells one from the other.
    values = {round(floor(kl, 5.0), 3) for floor in FLOORS.values()}
    assert len(values) == 3 and round(kl.sum(), 3) not in values


@pytest.mark.parametrize("mode", FLOORS)
def test_a_batch_of_padding_adds_nothing(inputs, mode):
    layer = DiagGaussianKL(free_bits=2.0, free_bits_mode=mode)
    output = layer(**inputs, mask=np.zeros_like(MASK), training=True)
    assert not to_numpy(output).any() and loss(layer) == 0


def test_nothing_is_rounded_under_mixed_precision(inputs, mixed_float16):
    losses = []
    for dtype in ("mixed_float16", "float32"):
        layer = DiagGaussianKL(kl_weight=1e-3, dtype=dtype)
        layer(**inputs, mask=MASK, training=True)
        losses.append(loss(layer))
    assert losses[0] == losses[1]


def test_half_precision_inputs_are_computed_in_float32():
    # 300² is more than float16 can hold.
    mean = np.full((1, 1, 1), 300.0, "float16")
    layer = DiagGaussianKL(dtype="float16")
    output = to_numpy(layer(mean, np.zeros_like(mean)))
    assert output.dtype == "float32"
    np.testing.assert_array_equal(output, [[45_000.0]])


@pytest.mark.parametrize("name", ["kl_weight", "free_bits"])
def test_a_weight_or_floor_that_is_no_number_is_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must .* Received: nan"):
        DiagGaussianKL(**{name: float("nan")})


def test_gradient_of_a_floored_kl_is_zero(inputs):
    # The point of free bits: below the floor nothing pulls at the posterior.
    mean = keras.Input((3, D))
    shifted = keras.layers.Dense(D, kernel_initializer="identity")(mean)
    log_var = keras.layers.Dense(D, name="log_var")(mean)
    layer = DiagGaussianKL(free_bits=1000.0)
    model = keras.Model(mean, layer(shifted, log_var))
    model.compile("sgd", jit_compile=False)
    before = [to_numpy(w) for w in model.trainable_weights]
    model.fit(inputs["mean"], verbose=0)
    for weight, old in zip(model.trainable_weights, before):
        np.testing.assert_array_equal(to_numpy(weight), old)
