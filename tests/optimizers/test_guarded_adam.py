import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.optimizers import GuardedAdam


def numbers(variables):
    return [np.array(ops.convert_to_numpy(x)) for x in variables]


@pytest.mark.parametrize(
    "options", [{}, {"amsgrad": True}, {"global_clipnorm": 0.5}]
)
def test_is_adam_for_finite_gradients(options):
    rng = np.random.default_rng(0)
    start = rng.standard_normal((4, 3), "float32")
    ends = []
    for cls in (keras.optimizers.Adam, GuardedAdam):
        weights = [keras.Variable(start), keras.Variable(start[0])]
        optimizer = cls(0.1, **options)
        steps = np.random.default_rng(1)
        for _ in range(5):
            gradients = [
                ops.convert_to_tensor(
                    steps.standard_normal(x.shape).astype("float32")
                )
                for x in weights
            ]
            optimizer.apply(gradients, weights)
        ends.append(numbers(weights))
    for x, y in zip(*ends):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_changes_nothing_in_a_step_that_is_not_finite(wrong):
    weights = [keras.Variable(np.ones(2, "float32")) for _ in range(2)]
    optimizer = GuardedAdam(0.1, amsgrad=True)
    good = np.array([1.0, 2.0], "float32")
    optimizer.apply([ops.convert_to_tensor(good)] * 2, weights)
    state = [
        x for x in optimizer.variables if x.shape == (2,)
    ]  # moments, not counters
    before = numbers([*weights, *state])
    bad = np.array([0.0, wrong], "float32")
    optimizer.apply(
        [ops.convert_to_tensor(good), ops.convert_to_tensor(bad)], weights
    )
    for x, y in zip(before, numbers([*weights, *state]), strict=True):
        np.testing.assert_array_equal(x, y)
    assert int(ops.convert_to_numpy(optimizer.iterations)) == 2
    assert int(ops.convert_to_numpy(optimizer.skipped)) == 1
    optimizer.apply([ops.convert_to_tensor(good)] * 2, weights)
    assert np.all(numbers(weights)[0] < before[0])
    assert int(ops.convert_to_numpy(optimizer.skipped)) == 1


def test_errors():
    with pytest.raises(ValueError, match="`weight_decay`.*Received: 0.1"):
        GuardedAdam(weight_decay=0.1)
