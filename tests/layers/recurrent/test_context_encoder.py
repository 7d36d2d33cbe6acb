import numpy as np
import pytest
from keras import ops

from keras_hvae.layers import ContextEncoder

to_numpy = ops.convert_to_numpy
LENGTHS = [4, 2, 1, 0]
MASK = np.arange(4) < np.array(LENGTHS)[:, None]
UNITS = 5


@pytest.fixture(params=["inclusive", "exclusive"])
def encoder(request):
    layer = ContextEncoder(UNITS, backward=request.param)
    layer.build((None, None, 3))
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def sentences():
    return np.random.default_rng(0).standard_normal((4, 4, 3), "float32")


def test_is_a_loop_over_the_cells(encoder, gru_step):
    contexts, backward = encoder(sentences(), mask=MASK)
    for row, length in enumerate(LENGTHS):
        state, path = np.zeros(UNITS), []
        for sentence in sentences()[row, :length]:
            state = gru_step(sentence, state, encoder.forward_gru.cell)
            path.append(state)
        if path:
            np.testing.assert_allclose(
                to_numpy(contexts[row, :length]), path, rtol=1e-4, atol=1e-6
            )
        first = 1 if encoder.backward == "exclusive" else 0
        state = np.zeros(UNITS)
        for context in path[first:][::-1]:
            state = gru_step(context, state, encoder.backward_gru.cell)
        np.testing.assert_allclose(
            to_numpy(backward[row]), state, rtol=1e-4, atol=1e-6
        )


def test_a_pad_in_between_is_passed_over(encoder):
    mask = np.array([[True, False, True, True]] * 4)
    contexts, backward = encoder(sentences(), mask=mask)
    without = sentences()[:, [0, 2, 3]]
    expected, expected_backward = encoder(without, mask=mask[:, [0, 2, 3]])
    np.testing.assert_allclose(
        to_numpy(contexts)[:, [0, 2, 3]], to_numpy(expected), rtol=1e-5
    )
    np.testing.assert_allclose(
        to_numpy(backward), to_numpy(expected_backward), rtol=1e-5
    )


def test_one_sentence_is_read_backward_only_if_inclusive(encoder):
    one = np.arange(4) < np.ones((4, 1))
    _, backward = encoder(sentences(), mask=one)
    _, other = encoder(sentences() + 1, mask=one)
    changed = (to_numpy(backward) != to_numpy(other)).any()
    assert changed == (encoder.backward == "inclusive")


def test_padding_changes_nothing(encoder):
    contexts, backward = encoder(sentences(), mask=MASK)
    other = np.where(MASK[..., None], sentences(), 100.0).astype("float32")
    more = np.pad(other, ((0, 0), (0, 3), (0, 0)))
    mask = np.pad(MASK, ((0, 0), (0, 3)))
    more_contexts, more_backward = encoder(more, mask=mask)
    np.testing.assert_allclose(
        to_numpy(contexts)[MASK], to_numpy(more_contexts)[mask], rtol=1e-5
    )
    np.testing.assert_allclose(
        to_numpy(backward), to_numpy(more_backward), rtol=1e-5
    )


def test_contexts_look_back_only_and_backward_at_all(encoder):
    contexts, backward = (to_numpy(x) for x in encoder(sentences(), mask=MASK))
    other = sentences()
    other[:, 3] += 1.0  # a real sentence of the first document only
    new_contexts, new_backward = (
        to_numpy(x) for x in encoder(other, mask=MASK)
    )
    np.testing.assert_array_equal(contexts[:, :3], new_contexts[:, :3])
    assert (contexts[0, 3] != new_contexts[0, 3]).any()
    assert (backward[0] != new_backward[0]).any()
    np.testing.assert_array_equal(backward[1:], new_backward[1:])


def test_without_a_mask_all_sentences_are_real():
    sentences = np.random.default_rng(0).standard_normal((2, 3, 4), "float32")
    for backward in ("inclusive", "exclusive"):
        layer = ContextEncoder(5, backward)
        outputs = layer(sentences)
        expected = layer(sentences, mask=np.ones((2, 3), "bool"))
        for x, y in zip(outputs, expected, strict=True):
            np.testing.assert_array_equal(to_numpy(x), to_numpy(y))
