import numpy as np
import pytest
from keras import ops

from keras_hvae.layers import DocumentDecoder

to_numpy = ops.convert_to_numpy
B, N, M, E, H = 3, 3, 4, 3, 6
# Words a sentence: also a document that ends early, and one that is padding.
LENGTHS = np.array([[4, 1, 3], [2, 4, 0], [0, 0, 0]])
MASK = np.arange(M) < LENGTHS[..., None]


def decoder_and_words(scope):
    rng = np.random.default_rng(0)
    words = rng.standard_normal((B, N, M, E), "float32")
    layer = DocumentDecoder(H, scope)
    layer.build(words.shape)
    for weight in layer.weights:
        weight.assign(0.7 * rng.standard_normal(weight.shape))
    return layer, words


def loop(layer, words, gru_step):
    """States (B, n, m, H) and contexts (B, n, H), word by word."""
    states, contexts = np.zeros((B, N, M, H)), np.zeros((B, N, H))
    for row in range(B):
        state = np.zeros(H)
        for i in range(N):
            if layer.scope == "sentence":
                state = np.zeros(H)
            contexts[row, i] = state
            for j in range(M):
                if MASK[row, i, j]:
                    state = gru_step(words[row, i, j], state, layer.gru.cell)
                states[row, i, j] = state
    return states, contexts


@pytest.mark.parametrize("scope", ["document", "sentence"])
def test_is_a_loop_over_the_words(gru_step, scope):
    layer, words = decoder_and_words(scope)
    expected, contexts = loop(layer, words, gru_step)
    states = layer(words, mask=MASK)
    np.testing.assert_allclose(to_numpy(states), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        to_numpy(layer.contexts_of(states)), contexts, rtol=1e-4, atol=1e-5
    )
    # Only one that reads on knows anything before the second sentence.
    assert contexts[:2, 1:].any() == (scope == "document")
    words[~MASK] = np.nan
    np.testing.assert_array_equal(
        to_numpy(layer(words, mask=MASK)), to_numpy(states)
    )


@pytest.mark.parametrize("scope", ["document", "sentence"])
def test_steps_from_the_contexts_are_the_call(scope):
    layer, words = decoder_and_words(scope)
    states = layer(words, mask=MASK)
    contexts = ops.reshape(layer.contexts_of(states), (B * N, H))
    state, prepared = layer.initial_state(contexts), layer.prepare(contexts)
    for j in range(M):
        here = ops.convert_to_tensor(words[:, :, j].reshape(B * N, E))
        state = layer.step(here, prepared, state)
        real = MASK[:, :, j]
        np.testing.assert_allclose(
            to_numpy(state).reshape(B, N, H)[real],
            to_numpy(states)[:, :, j][real],
            rtol=1e-4,
            atol=1e-5,
        )
