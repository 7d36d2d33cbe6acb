import keras
import numpy as np
from keras import ops

from keras_hvae.layers import WordEncoder

to_numpy = ops.convert_to_numpy
LENGTHS = np.array([[5, 2, 1], [3, 0, 4]])
MASK = np.arange(5) < LENGTHS[..., None]


def words():
    return np.random.default_rng(0).standard_normal((2, 3, 5, 4), "float32")


def test_is_the_last_real_state(gru_step):
    layer = WordEncoder(6)
    output = to_numpy(layer(words(), mask=MASK))
    layer.gru.cell.bias.assign(np.random.default_rng(1).normal(size=(2, 18)))
    output = to_numpy(layer(words(), mask=MASK))
    for i, j in np.ndindex(LENGTHS.shape):
        state = np.zeros(6)
        for word in words()[i, j, : LENGTHS[i, j]]:
            state = gru_step(word, state, layer.gru.cell)
        np.testing.assert_allclose(output[i, j], state, rtol=1e-4, atol=1e-6)


def test_is_keras_masked_gru():
    layer = WordEncoder(6)
    output = to_numpy(layer(words(), mask=MASK)).reshape(6, 6)
    gru = keras.layers.GRU(6, use_cudnn=False)
    gru.build((None, 5, 4))
    gru.set_weights(layer.gru.get_weights())
    expected = gru(words().reshape(6, 5, 4), mask=MASK.reshape(6, 5))
    np.testing.assert_allclose(output, to_numpy(expected), rtol=1e-5, atol=1e-6)
    assert not output[4].any()  # the sentence without words


def test_padding_changes_nothing():
    layer = WordEncoder(6)
    output = to_numpy(layer(words(), mask=MASK))
    other = np.where(MASK[..., None], words(), 100.0).astype("float32")
    np.testing.assert_array_equal(output, to_numpy(layer(other, mask=MASK)))
