import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.layers import MaskedGRU, PackedGRU
from keras_hvae.layers.recurrent import packed_gru

to_numpy = ops.convert_to_numpy
R, T, E, C, H = 5, 4, 3, 2, 6
# Gaps in the middle, in front and behind; all real; nothing real.
MASK = np.array(
    [[1, 0, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]],
    "bool",
)


def normal(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape, "float32")


def make(beside=False, **options):
    layer = MaskedGRU(H, **options)
    layer.build((None, None, E), None, (None, C) if beside else None)
    rng = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(0.7 * rng.standard_normal(weight.shape))
    return layer


@pytest.mark.parametrize("state", [False, True], ids=["zeros", "given"])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside"])
def test_is_a_loop_over_the_real_entries(gru_step, state, beside):
    inputs, extra = normal(R, T, E), normal(R, C)
    start = normal(R, H) if state else np.zeros((R, H), "float32")
    expected = np.empty((R, T, H))
    layer = make(beside, return_sequences=True)
    for row in range(R):
        h = start[row]
        for t in range(T):
            if MASK[row, t]:
                x = [inputs[row, t]] + [extra[row]] * beside
                h = gru_step(np.concatenate(x), h, layer.cell)
            expected[row, t] = h
    options = {
        "beside": ops.convert_to_tensor(extra) if beside else None,
        "initial_state": ops.convert_to_tensor(start) if state else None,
    }
    states = to_numpy(layer(inputs, MASK, **options))
    np.testing.assert_allclose(states, expected, rtol=1e-4, atol=1e-5)
    last = make(beside)(inputs, MASK, **options)
    np.testing.assert_allclose(
        to_numpy(last), expected[:, -1], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("sequences", [True, False])
def test_what_is_not_real_is_not_read(sequences):
    layer = make(return_sequences=sequences)
    inputs = normal(R, T, E)
    expected = to_numpy(layer(inputs, MASK))
    inputs[~MASK] = np.nan
    np.testing.assert_array_equal(to_numpy(layer(inputs, MASK)), expected)


def test_without_gaps_it_is_a_packed_gru():
    layer, packed = make(), PackedGRU(H, use_cudnn=False)
    packed.build((None, None, E))
    packed.set_weights(layer.get_weights())
    lengths = np.array([4, 0, 2, 1, 3], "int32")
    mask = np.arange(T) < lengths[:, None]
    np.testing.assert_allclose(
        to_numpy(layer(normal(R, T, E), mask)),
        to_numpy(packed(normal(R, T, E), lengths)),
        rtol=1e-6,
    )


def test_only_pytorch_takes_the_gru_of_a_gpu(monkeypatch):
    # What TensorFlow exports on a machine with a GPU must run without one.
    monkeypatch.setattr(packed_gru, "_has_cudnn_gru", lambda: True)
    assert make().gru.packs == (keras.config.backend() != "torch")
