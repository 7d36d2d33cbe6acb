import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.layers import PackedGRU
from keras_hvae.layers.recurrent import block_recurrence, packed_gru
from tests.harness import slow

to_numpy = ops.convert_to_numpy
R, T, E, C, H = 7, 5, 4, 3, 6
# One full row, one empty, none sorted; and batches of one and of nothing.
LENGTHS = {
    "ragged": [5, 0, 3, 1, 5, 2, 4],
    "full": [5] * 7,
    "empty": [0] * 7,
    "one": [3],
    "shortest": [1],
}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, "float32")


def make(lengths, **options):
    rows = len(lengths)
    layer = PackedGRU(H, use_cudnn=False, **options)
    layer.build((None, None, E), None, (None, C), None)
    for i, weight in enumerate(layer.weights):
        weight.assign(normal(*weight.shape, seed=i))
    inputs = normal(rows, T, E), normal(rows, C), normal(rows, H)
    return layer, np.array(lengths, "int32"), inputs


def plain(lengths, inputs, beside, state, kernel, recurrent, bias):
    """The recurrence as a plain loop over the entries of all rows."""
    states = []
    for t in range(T):
        entry = ops.concatenate([inputs[:, t], beside], axis=-1)
        given = ops.matmul(entry, kernel) + bias[0]
        kept = ops.matmul(state, recurrent) + bias[1]
        z = ops.sigmoid(given[:, :H] + kept[:, :H])
        r = ops.sigmoid(given[:, H : 2 * H] + kept[:, H : 2 * H])
        n = ops.tanh(given[:, 2 * H :] + r * kept[:, 2 * H :])
        real = ops.convert_to_tensor(lengths > t)[:, None]
        state = ops.where(real, z * state + (1 - z) * n, state)
        states.append(state)
    return ops.stack(states, axis=1)


def states_of(layer, lengths, inputs, beside, state, *weights):
    """What the layer gives with these weights."""
    states, _ = layer.stateless_call(
        weights,
        layer.non_trainable_variables,
        inputs,
        ops.convert_to_tensor(lengths),
        beside,
        state,
    )
    return states


@pytest.fixture(params=["one block", *slow("blocks", "a GPU")])
def sizes(request, monkeypatch):
    """As it runs, in many blocks and chunks, the last ones not full, and so as
    JAX runs it on a GPU.
    """
    # Only JAX needs these, but they run anywhere.
    if request.param != "one block":
        monkeypatch.setattr(packed_gru, "packed_recurrence", block_recurrence)
    if request.param == "a GPU":
        monkeypatch.setattr(block_recurrence, "on_gpu", lambda: True)
    if request.param == "blocks":
        monkeypatch.setattr(block_recurrence, "BLOCK", 2)
        monkeypatch.setattr(block_recurrence, "CHUNK", 3)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("sequences", [True, False])
def test_value_and_gradients_are_the_plain_loops(
    lengths, sequences, sizes, value_and_gradients
):
    layer, lengths, inputs = make(lengths, return_sequences=sequences)
    real = ops.convert_to_tensor(np.arange(T) < lengths[:, None])
    weight = ops.convert_to_tensor(normal(len(lengths), T, H, seed=9))
    weights = [to_numpy(w) for w in layer.weights]

    def reduce(states):
        if not sequences:
            return ops.sum(states * weight[:, 0])
        return ops.sum(ops.where(real[..., None], states * weight, 0.0))

    def loop(*tensors):
        states = plain(lengths, *tensors)
        return reduce(states if sequences else states[:, -1])

    def fast(*tensors):
        return reduce(states_of(layer, lengths, *tensors))

    expected, gradients = value_and_gradients(loop, *inputs, *weights)
    value, fast_gradients = value_and_gradients(fast, *inputs, *weights)
    assert value == pytest.approx(expected, rel=1e-5, abs=1e-5)
    for x, y in zip(fast_gradients, gradients, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="PyTorch's own GRU"
)
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("sequences", [True, False])
def test_the_gru_of_pytorch_has_the_same_gradients(
    lengths, sequences, value_and_gradients
):
    # As it runs on a GPU; the kernels of the CPU are others.
    packed, lengths, inputs = make(lengths, return_sequences=sequences)
    own = PackedGRU(H, sequences, use_cudnn=True)
    own.build((None, None, E), None, (None, C), None)
    assert packed.packs and not own.packs
    shape = (len(lengths), T, H) if sequences else (len(lengths), H)
    factors = normal(*shape, seed=9)
    if sequences:
        factors *= (np.arange(T) < lengths[:, None])[..., None]
    # What stands behind the end of a row is not read.
    inputs[0][np.arange(T) >= lengths[:, None]] = np.nan
    weights = [to_numpy(w) for w in packed.weights]

    def of(layer):
        def total(*tensors):
            states = states_of(layer, lengths, *tensors)
            return ops.sum(states * ops.convert_to_tensor(factors))

        return value_and_gradients(total, *inputs, *weights)

    value, gradients = of(own)
    expected, others = of(packed)
    assert value == pytest.approx(expected, rel=1e-5, abs=1e-5)
    for x, y in zip(gradients, others, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sequences", [True, False])
def test_the_gru_of_keras_gives_the_same(sequences, monkeypatch):
    # As it runs on a GPU: no packing, `keras.layers.GRU`, the same weights.
    layer, lengths, (inputs, beside, state) = make(
        LENGTHS["ragged"], return_sequences=sequences
    )
    monkeypatch.setattr(packed_gru, "_has_cudnn_gru", lambda: True)
    other = PackedGRU(H, sequences)
    assert layer.packs and not other.packs
    other.build((None, None, E), None, (None, C), None)
    other.set_weights(layer.get_weights())
    for arguments in (
        (inputs, lengths, beside, state),
        (inputs, lengths, beside),
    ):
        x, y = (to_numpy(f(*arguments)) for f in (layer, other))
        if sequences:
            x, y = (s[np.arange(T) < lengths[:, None]] for s in (x, y))
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_pads_are_not_read(sizes, value_and_gradients):
    layer, lengths, inputs = make(LENGTHS["ragged"])
    pads = np.arange(T) >= lengths[:, None]
    weights = [to_numpy(w) for w in layer.weights]

    def call(*tensors):
        return ops.sum(states_of(layer, lengths, *tensors))

    expected, gradients = value_and_gradients(call, *inputs, *weights)
    inputs[0][pads] = np.nan
    value, same = value_and_gradients(call, *inputs, *weights)
    assert value == expected
    for x, y in zip(same, gradients, strict=True):
        np.testing.assert_array_equal(x, y)


def test_keras_chooses_xla_but_on_tensorflow():
    on_tensorflow = keras.config.backend() == "tensorflow"
    assert PackedGRU(2, use_cudnn=False).supports_jit != on_tensorflow
