import numpy as np
import pytest
from keras import ops

from keras_hvae.layers import Transition

to_numpy = ops.convert_to_numpy
UNITS = 5


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def weights(dense):
    return (to_numpy(w) for w in dense.weights)


def expected(layer, context, z, gru_step):
    both = np.concatenate([context, z], axis=-1)
    if layer.kind == "rnn":
        kernel, bias = weights(layer.state)
        return gru_step(context, z @ kernel + bias, layer.cell)
    if layer.kind == "sum":
        kernel, bias = weights(layer.from_context)
        (from_z,) = weights(layer.from_z)
        return np.tanh(context @ kernel + bias + z @ from_z)
    kernel, bias = weights(layer.proposal)
    proposal = np.tanh(both @ kernel + bias)
    if layer.kind == "concat":
        return proposal
    kernel, bias = weights(layer.gate)
    gate = sigmoid(both @ kernel + bias)
    kernel, bias = weights(layer.linear)
    return gate * proposal + (1 - gate) * (z @ kernel + bias)


@pytest.mark.parametrize("kind", ["rnn", "concat", "sum", "gated"])
def test_is_its_formula(kind, gru_step):
    rng = np.random.default_rng(0)
    context = rng.standard_normal((2, 4, 3), "float32")
    z = rng.standard_normal((2, 4, 2), "float32")
    layer = Transition(UNITS, kind)
    layer(context, z)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    np.testing.assert_allclose(
        to_numpy(layer(context, z)),
        expected(layer, context, z, gru_step),
        rtol=1e-4,
        atol=1e-5,
    )
    # The same for a step at a time as for all sentences at once.
    np.testing.assert_allclose(
        to_numpy(layer(context[:, 1], z[:, 1])),
        to_numpy(layer(context, z))[:, 1],
        rtol=1e-5,
        atol=1e-6,
    )


def test_gated_starts_near_the_identity():
    layer = Transition(2, "gated")
    z = np.array([[0.3, -0.7]], "float32")
    layer(np.zeros((1, 3), "float32"), z)
    np.testing.assert_array_equal(to_numpy(layer.linear(z)), z)
