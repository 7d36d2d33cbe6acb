import numpy as np
import pytest
from keras import ops

from keras_hvae.layers import AdaptiveSoftmax, Zipf

to_numpy = ops.convert_to_numpy
V, H = 12, 8
TARGETS = np.array([[[4, 9, 3], [11, 6, 0]], [[5, 8, 10], [0, 0, 0]]])


def make(**options):
    layer = AdaptiveSoftmax(V, cutoffs=(5, 9), div_value=2, **options)
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((2, 2, 3, H), "float32")
    layer(hidden, TARGETS)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer, hidden


def test_sums_to_one_and_nll_is_its_part_of_it():
    layer, hidden = make()
    log_probs = to_numpy(layer.log_probs(hidden))
    assert log_probs.shape == (2, 2, 3, V)
    np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, rtol=1e-5)
    own = np.take_along_axis(log_probs, TARGETS[..., None], -1)[..., 0]
    expected = np.where(TARGETS > 0, -own, 0)
    for training in (True, False):
        nll = to_numpy(layer(hidden, TARGETS, training=training))
        np.testing.assert_allclose(nll, expected, rtol=1e-4, atol=1e-5)
        assert float(to_numpy(layer.losses[0])) == pytest.approx(
            expected.sum() / 2, rel=1e-5
        )


def test_gradients_are_those_of_its_log_probs(value_and_gradients):
    layer, hidden = make()
    weights = [to_numpy(w) for w in layer.weights]
    targets = ops.convert_to_tensor(TARGETS.astype("int32"))

    def call(hidden, *weights):
        nll, _ = layer.stateless_call(
            weights, [], hidden, targets, training=True
        )
        return ops.sum(nll)

    def plain(hidden, *weights):
        head, *rest = weights[0], *weights[1:]
        log_head = ops.log_softmax(ops.matmul(hidden, head) + rest[0])
        parts = [log_head[..., :5]]
        for i in range(2):
            bottleneck, kernel, bias = rest[1 + 3 * i : 4 + 3 * i]
            inside = ops.matmul(ops.matmul(hidden, bottleneck), kernel) + bias
            inside = ops.log_softmax(inside)
            parts.append(log_head[..., 5 + i : 6 + i] + inside)
        log_probs = ops.concatenate(parts, axis=-1)
        own = ops.take_along_axis(log_probs, targets[..., None], -1)[..., 0]
        return -ops.sum(ops.where(targets > 0, own, 0.0))

    expected, gradients = value_and_gradients(plain, hidden, *weights)
    value, fast_gradients = value_and_gradients(call, hidden, *weights)
    assert value == pytest.approx(expected, rel=1e-5)
    for x, y in zip(fast_gradients, gradients, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_starts_from_the_full_bias():
    layer = AdaptiveSoftmax(V, cutoffs=(5, 9), bias_initializer=Zipf())
    layer.build((None, H))
    bias = to_numpy(Zipf()((V,), dtype="float32")).astype("float64")
    log_probs = to_numpy(layer.log_probs(np.zeros((1, H), "float32")))[0]
    expected = bias - np.log(np.exp(bias).sum())
    np.testing.assert_allclose(log_probs, expected, rtol=1e-5)


def test_default_cutoffs_suit_any_vocabulary():
    for size in (5, 20, 1000, 50_000):
        layer = AdaptiveSoftmax(size)
        assert 0 < layer.cutoffs[0] < layer.cutoffs[1] < size
