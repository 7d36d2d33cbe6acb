import numpy as np
import pytest
from keras import ops

from keras_hvae.layers import ClassSoftmax, Zipf

to_numpy = ops.convert_to_numpy
V, H = 11, 6  # classes of 4, 4 and 3 words
TARGETS = np.array([[[4, 9, 3], [10, 6, 0]], [[5, 8, 10], [0, 0, 0]]], "int32")


def make(**options):
    layer = ClassSoftmax(V, num_classes=3, **options)
    layer.build((None, H))
    rng = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer, rng.standard_normal((2, 2, 3, H), "float32")


def plain_log_probs(hidden, kernel, bias, classes, class_bias):
    """Class by class."""
    log_classes = ops.log_softmax(ops.matmul(hidden, classes) + class_bias)
    parts = []
    for c, size in enumerate((4, 4, 3)):
        logits = ops.matmul(hidden, ops.transpose(kernel[c])) + bias[c]
        words = ops.log_softmax(logits[..., :size])
        parts.append(log_classes[..., c : c + 1] + words)
    return ops.concatenate(parts, axis=-1)


def test_sums_to_one_and_nll_is_its_part_of_it():
    layer, hidden = make()
    log_probs = to_numpy(layer.logits(ops.convert_to_tensor(hidden)))
    assert log_probs.shape == (2, 2, 3, V)
    np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, rtol=1e-5)
    plain = to_numpy(
        plain_log_probs(
            *map(ops.convert_to_tensor, (hidden, *layer.get_weights()))
        )
    )
    np.testing.assert_allclose(log_probs, plain, rtol=1e-4, atol=1e-5)
    own = np.take_along_axis(log_probs, TARGETS[..., None], -1)[..., 0]
    for training in (True, False):
        nll = to_numpy(layer(hidden, TARGETS, training=training))
        expected = np.where(TARGETS > 0, -own, 0)
        np.testing.assert_allclose(nll, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 200])
@pytest.mark.parametrize("case", ["mixed", "one class", "no word"])
def test_gradients_are_those_of_its_log_probs(rows, case, value_and_gradients):
    # 200 rows: several blocks of a class.
    layer, _ = make()
    rng = np.random.default_rng(rows)
    hidden = rng.standard_normal((rows, H), "float32")
    targets = rng.integers(0, V, rows).astype("int32")
    if case == "one class":
        targets[:] = 5
    if case == "no word":
        targets[:] = 0
    targets = ops.convert_to_tensor(targets)
    weights = layer.get_weights()

    def call(hidden, *weights):
        nll, _ = layer.stateless_call(
            weights, [], hidden, targets, training=True
        )
        return ops.sum(nll)

    def plain(hidden, *weights):
        log_probs = plain_log_probs(hidden, *weights)
        own = ops.take_along_axis(log_probs, targets[:, None], -1)[:, 0]
        return -ops.sum(ops.where(targets > 0, own, 0.0))

    expected, gradients = value_and_gradients(plain, hidden, *weights)
    value, fast = value_and_gradients(call, hidden, *weights)
    assert value == pytest.approx(expected, rel=1e-5)
    for x, y in zip(fast, gradients, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=2e-5)


def test_starts_from_the_full_bias():
    layer = ClassSoftmax(V, num_classes=3, bias_initializer=Zipf())
    layer.build((None, H))
    bias = to_numpy(Zipf()((V,), dtype="float32")).astype("float64")
    log_probs = to_numpy(layer.logits(np.zeros((1, H), "float32")))[0]
    expected = bias - np.log(np.exp(bias).sum())
    np.testing.assert_allclose(log_probs, expected, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 5, 10, 1000, 1001])
@pytest.mark.parametrize("classes", [None, 1, 7, "size"])
def test_every_word_has_a_class_and_every_class_a_word(size, classes):
    if classes == 7 and size < 7:
        return
    layer = ClassSoftmax(size, size if classes == "size" else classes)
    room = layer.num_classes * layer.class_size
    assert room - layer.class_size < size <= room
    again = ClassSoftmax.from_config(layer.get_config())
    assert again.class_size == layer.class_size


def test_names_too_many_classes():
    with pytest.raises(ValueError, match="`num_classes` .* 11. Received: 12"):
        ClassSoftmax(V, num_classes=12)
