import numpy as np
import pytest
import scipy.special
from keras import ops

from keras_hvae.layers import TokenNLL

to_numpy = ops.convert_to_numpy
V = 7
# Three documents: of 2, 1 and 0 sentences.
TARGETS = np.array(
    [[[5, 6, 3], [4, 3, 0]], [[3, 0, 0], [0, 0, 0]], [[0] * 3, [0] * 3]],
    "int32",
)


def case():
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((3, 2, 3, 4), "float32")
    layer = TokenNLL(V)
    layer(hidden, TARGETS)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    kernel, bias = (to_numpy(w) for w in layer.weights)
    log_probs = scipy.special.log_softmax(hidden @ kernel + bias, axis=-1)
    nll = -np.take_along_axis(log_probs, TARGETS[..., None], -1)[..., 0]
    return layer, hidden, nll * (TARGETS != 0)


def test_is_numpys_and_zero_at_padding():
    layer, hidden, expected = case()
    nll = to_numpy(layer(hidden, TARGETS))
    np.testing.assert_allclose(nll, expected, rtol=1e-5)
    assert not nll[TARGETS == 0].any() and nll[TARGETS != 0].all()


@pytest.mark.parametrize("training", [True, False])
def test_loss_is_the_mean_over_real_documents(training):
    layer, hidden, expected = case()
    layer(hidden, TARGETS, training=training)
    (loss,) = layer.losses
    assert float(to_numpy(loss)) == pytest.approx(expected.sum() / 2, rel=1e-5)


def test_nll_alone_adds_no_loss():
    layer, hidden, expected = case()
    fresh = TokenNLL(V)
    fresh.build(hidden.shape)
    fresh.set_weights(layer.get_weights())
    nll = fresh.nll(ops.convert_to_tensor(hidden), TARGETS)
    np.testing.assert_allclose(to_numpy(nll), expected, rtol=1e-5)
    assert fresh.losses == []


def test_a_batch_of_padding_adds_nothing():
    layer, hidden, _ = case()
    assert not to_numpy(layer(hidden, np.zeros_like(TARGETS))).any()
    assert float(to_numpy(layer.losses[0])) == 0


def test_large_ids_survive_a_half_policy(mixed_float16):
    # float16 knows no 2,049: it would be 2,048.
    layer = TokenNLL(2050)
    hidden = np.zeros((1, 1, 1, 2), "float32")
    layer(hidden, np.array([[[1]]]))
    layer.bias.assign(-5.0 * (np.arange(2050) != 2049))
    nll = to_numpy(layer(hidden, np.array([[[2049]]])))
    expected = np.log(1 + 2049 * np.exp(-5.0))
    assert nll.dtype == "float32"
    assert nll[0, 0, 0] == pytest.approx(expected, rel=1e-3)
