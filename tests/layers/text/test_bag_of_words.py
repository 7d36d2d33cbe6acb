import numpy as np
import pytest
from keras import ops
from scipy.special import log_softmax

from keras_hvae.layers import BagOfWords, Zipf

to_numpy = ops.convert_to_numpy
V, H = 9, 4


def make_layer(**kwargs):
    layer = BagOfWords(V, 5, **kwargs)
    layer.build((None, None, H))
    rng = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(rng.standard_normal(weight.shape))
    return layer


def make_contexts(*shape):
    return np.random.default_rng(1).standard_normal((*shape, H), "float32")


def oracle(layer, contexts, documents):
    """−Σ log p over lists of words, one list a sentence."""
    kernel, bias, out, out_bias = (to_numpy(w) for w in layer.weights)
    total = 0.0
    for rows, sentences in zip(contexts, documents):
        for d, words in zip(rows, sentences):
            log_p = log_softmax(np.tanh(d @ kernel + bias) @ out + out_bias)
            total -= sum(log_p[word] for word in words)
    return total


def test_is_the_nll_of_the_words_averaged_over_real_documents(make_ids):
    contexts = make_contexts(4, 3)
    ids = np.zeros((4, 3, 4), "int32")
    ids[0, 0] = [5, 5, 6, 3]  # a word twice
    ids[0, 1] = [1, 3, 0, 0]  # [UNK] is a word as any
    ids[1, 0] = [3, 0, 0, 0]  # no words but a real document
    ids[2, 0] = [8, 7, 4, 5]  # cut: without [EOS]
    words = [[[5, 5, 6], [1]], [[]], [[8, 7, 4, 5]], []]
    layer = make_layer(weight=0.3)
    out = layer(contexts, ids, training=True)
    np.testing.assert_array_equal(to_numpy(out), contexts)
    (loss,) = layer.losses
    expected = 0.3 * oracle(layer, contexts, words) / 3
    assert float(to_numpy(loss)) == pytest.approx(expected, rel=1e-5)


def test_adds_nothing_in_inference(make_ids):
    layer = make_layer()
    contexts = make_contexts(3, 4)
    out = layer(contexts, make_ids(vocabulary=V))
    np.testing.assert_array_equal(to_numpy(out), contexts)
    assert not layer.losses


def test_a_batch_of_padding_costs_nothing():
    layer = make_layer()
    layer(make_contexts(2, 3), np.zeros((2, 3, 4), "int32"), training=True)
    assert [float(to_numpy(x)) for x in layer.losses] == [0.0]


def test_gradient_reaches_the_contexts_of_real_words(value_and_gradients):
    layer = make_layer()
    ids = np.array([[[5, 5, 3], [0, 0, 0]]], "int32")
    token_ids = ops.convert_to_tensor(ids)

    def loss(contexts):
        return layer._nll(contexts, token_ids)

    contexts = make_contexts(1, 2)
    value, (gradient,) = value_and_gradients(loss, contexts)
    words = [[[5, 5]]]
    assert value == pytest.approx(oracle(layer, contexts, words), rel=1e-5)
    for k in range(H):
        high, low = contexts.astype("float64"), contexts.astype("float64")
        high[0, 0, k] += 1e-4
        low[0, 0, k] -= 1e-4
        difference = oracle(layer, high, words) - oracle(layer, low, words)
        assert gradient[0, 0, k] == pytest.approx(difference / 2e-4, rel=1e-3)
    assert not gradient[0, 1].any()


def test_bias_starts_as_told():
    layer = BagOfWords(V, 5, bias_initializer=Zipf())
    layer.build((None, None, H))
    np.testing.assert_array_equal(
        to_numpy(layer.logits.bias), to_numpy(Zipf()((V,)))
    )
