import numpy as np
import pytest
from keras import ops

from keras_hvae.layers import (
    AdaptiveSoftmax,
    ClassSoftmax,
    NoiseContrastive,
    OneVsEach,
    SampledSoftmax,
    TokenNLL,
)

to_numpy = ops.convert_to_numpy
V, H, N = 9, 4, 6
TARGETS = np.array([4, 0, 8, 3, 1, 8], "int32")
CLASSES = [SampledSoftmax, OneVsEach, NoiseContrastive]


def make(cls, num_sampled):
    rng = np.random.default_rng(0)
    layer = cls(V, num_sampled=num_sampled, seed=0)
    layer.build((None, H))
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    hidden = rng.standard_normal((N, H), "float32")
    logits = hidden @ to_numpy(layer.kernel).T + to_numpy(layer.bias)
    return layer, ops.convert_to_tensor(hidden), logits.astype("float64")


@pytest.mark.parametrize("cls", CLASSES)
def test_outside_of_training_it_is_the_full_softmax(cls):
    layer, hidden, logits = make(cls, 3)
    full = TokenNLL(V)
    full.build((None, H))
    kernel, bias = layer.get_weights()
    full.set_weights([kernel.T, bias])
    args = hidden, ops.convert_to_tensor(TARGETS)
    np.testing.assert_allclose(
        to_numpy(layer.nll(*args)), to_numpy(full.nll(*args)), rtol=1e-5
    )
    np.testing.assert_allclose(
        to_numpy(layer.logits(hidden)), logits, rtol=1e-4
    )


def test_q_is_a_distribution_and_the_draws_follow_it():
    layer, _, _ = make(SampledSoftmax, 20_000)
    q = np.exp(to_numpy(layer.log_q(np.arange(V))))
    assert q.sum() == pytest.approx(1, rel=1e-5)
    drawn = np.bincount(to_numpy(layer._draw()), minlength=V) / 20_000
    np.testing.assert_allclose(drawn, q, atol=0.015)


def test_sampled_softmax_tends_to_the_softmax():
    layer, hidden, _ = make(SampledSoftmax, 50_000)
    args = hidden, ops.convert_to_tensor(TARGETS)
    sampled = to_numpy(layer.nll(*args, training=True))
    np.testing.assert_allclose(sampled, to_numpy(layer.nll(*args)), rtol=0.03)
    assert sampled[1] == 0  # padding


def test_one_vs_each_tends_to_the_bound():
    layer, hidden, logits = make(OneVsEach, 50_000)
    targets = ops.convert_to_tensor(TARGETS)
    found = to_numpy(layer.nll(hidden, targets, training=True))
    exact = to_numpy(layer.nll(hidden, targets))
    for row, target in enumerate(TARGETS):
        if target:
            others = np.delete(logits[row], target)
            bound = np.log1p(np.exp(others - logits[row, target])).sum()
            assert found[row] == pytest.approx(bound, rel=0.03)
            assert found[row] > exact[row]


def test_nce_tends_to_a_loss_whose_best_is_normalised():
    # −f_t + Σ exp f, apart from a constant: least where Σ exp f = 1.
    layer, hidden, logits = make(NoiseContrastive, 50_000)
    targets = ops.convert_to_tensor(TARGETS)
    found = to_numpy(layer.nll(hidden, targets, training=True))
    constant = to_numpy(layer.log_q(TARGETS)) + np.log(50_000)
    total = np.exp(logits).sum(-1)
    expected = total - logits[np.arange(N), TARGETS]
    np.testing.assert_allclose(
        (found - constant)[TARGETS > 0], expected[TARGETS > 0], rtol=0.05
    )


@pytest.mark.parametrize("cls", CLASSES)
def test_gradients_are_those_of_its_loss(cls, value_and_gradients):
    layer, hidden, _ = make(cls, 40)
    targets = ops.convert_to_tensor(TARGETS)
    drawn = to_numpy(layer._draw())
    layer._draw = lambda: ops.convert_to_tensor(drawn)
    weights = layer.get_weights()

    def loss(hidden, *weights):
        nll, _ = layer.stateless_call(
            weights,
            layer.non_trainable_variables,
            hidden,
            targets,
            training=True,
        )
        return ops.sum(nll)

    value, gradients = value_and_gradients(loss, to_numpy(hidden), *weights)
    assert value > 0
    step = 1e-2
    for k, gradient in enumerate(gradients):
        arrays = [to_numpy(hidden), *weights]
        direction = np.sign(gradient)
        arrays[k] = arrays[k] + step * direction
        higher, _ = value_and_gradients(loss, *arrays)
        arrays[k] = arrays[k] - 2 * step * direction
        lower, _ = value_and_gradients(loss, *arrays)
        slope = (higher - lower) / (2 * step)
        assert slope == pytest.approx(abs(gradient).sum(), rel=0.02)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("cls", [*CLASSES, AdaptiveSoftmax, ClassSoftmax])
def test_targets_may_be_int64(cls, training):
    # As NumPy's are.
    layer = cls(V, num_sampled=5) if cls in CLASSES else cls(V)
    if cls in CLASSES:
        layer._draw = lambda: ops.convert_to_tensor([4, 2, 7, 3], "int32")
    hidden = np.random.default_rng(0).standard_normal((N, H), "float32")
    expected = to_numpy(layer(hidden, TARGETS, training=training))
    nll = to_numpy(layer(hidden, TARGETS.astype("int64"), training=training))
    np.testing.assert_allclose(nll, expected, rtol=1e-6)
    assert (nll[TARGETS > 0] > 0).all()
