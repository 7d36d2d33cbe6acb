import numpy as np
from keras import ops

from keras_hvae.layers import WordDecoder

to_numpy = ops.convert_to_numpy


def decoder_and_inputs():
    rng = np.random.default_rng(0)
    words = rng.standard_normal((2, 3, 5, 4), "float32")
    contexts = rng.standard_normal((2, 3, 2), "float32")
    layer = WordDecoder(6)
    layer(words, contexts)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer, words, contexts


def test_is_a_loop_over_the_cell(gru_step):
    layer, words, contexts = decoder_and_inputs()
    states = to_numpy(layer(words, contexts))
    kernel, bias = (to_numpy(w) for w in layer.state.weights)
    state = np.tanh(contexts @ kernel + bias)
    for j in range(5):
        inputs = np.concatenate([words[:, :, j], contexts], axis=-1)
        state = gru_step(inputs, state, layer.gru.cell)
        np.testing.assert_allclose(states[:, :, j], state, rtol=1e-3, atol=1e-5)


def test_steps_are_the_call():
    layer, words, contexts = decoder_and_inputs()
    states = to_numpy(layer(words, contexts)).reshape(6, 5, 6)
    words, contexts = words.reshape(6, 5, 4), contexts.reshape(6, 2)
    contexts = ops.convert_to_tensor(contexts)
    state, prepared = layer.initial_state(contexts), layer.prepare(contexts)
    for j in range(5):
        state = layer.step(ops.convert_to_tensor(words[:, j]), prepared, state)
        np.testing.assert_allclose(
            to_numpy(state), states[:, j], rtol=1e-4, atol=1e-5
        )
