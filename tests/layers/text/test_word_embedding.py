import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.layers import (
    ClassSoftmax,
    NoiseContrastive,
    OneVsEach,
    SampledSoftmax,
    TokenNLL,
    WordEmbedding,
)

to_numpy = ops.convert_to_numpy


def test_is_that_of_keras():
    plain, ours = keras.layers.Embedding(7, 3), WordEmbedding(7, 3)
    ids = np.array([[1, 2], [2, 6]])
    plain.build()
    ours.build()
    ours.set_weights(plain.get_weights())
    np.testing.assert_array_equal(to_numpy(ours(ids)), to_numpy(plain(ids)))


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="the gradient is ours there"
)
def test_its_gradient_is_not_rounded_in_half_precision():
    import tensorflow as tf

    layer = WordEmbedding(5, 3, dtype="mixed_bfloat16")
    layer.build()
    with tf.GradientTape() as tape:
        rows = layer(np.full(301, 2))
        total = ops.sum(ops.cast(rows, "float32"))
    assert keras.backend.standardize_dtype(rows.dtype) == "bfloat16"
    gradient = tape.gradient(total, layer.embeddings.value)
    # bfloat16 has 300 and 302, but no 301.
    assert to_numpy(gradient)[2].tolist() == [301.0] * 3


def fit_once(layer, inputs, optimizer):
    symbolic = [keras.Input(x.shape[1:], dtype=x.dtype.name) for x in inputs]
    model = keras.Model(symbolic, ops.sum(layer(*symbolic)))
    model.compile(optimizer, loss=lambda y, x: -x)
    before = [to_numpy(w) for w in layer.trainable_weights]
    model.fit(list(inputs), np.zeros(len(inputs[0])), batch_size=100, verbose=0)
    after = [to_numpy(w) for w in layer.trainable_weights]
    return [x - y for x, y in zip(after, before)]


IDS = np.full((100, 1), 2, "int32")  # one word, a hundred times


def test_a_gradient_of_many_equal_words_is_clipped_to_its_norm():
    optimizer = keras.optimizers.SGD(1.0, global_clipnorm=1.0)
    (step,) = fit_once(WordEmbedding(5, 3), [IDS], optimizer)
    assert np.linalg.norm(step) == pytest.approx(1, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        TokenNLL,
        ClassSoftmax,
        SampledSoftmax,
        OneVsEach,
        NoiseContrastive,
        lambda v: TokenNLL(v, embedding=WordEmbedding(v, 3)),
        lambda v: SampledSoftmax(v, embedding=WordEmbedding(v, 3)),
        lambda v: WordEmbedding(v, 3),
    ],
)
def test_adams_first_step_is_its_rate(make):
    # Whatever the gradients, if those of a word are added up before they are
    # squared.
    layer = make(9)
    hidden = np.random.default_rng(0).standard_normal((100, 1, 4), "float32")
    inputs = [IDS] if isinstance(layer, WordEmbedding) else [hidden, IDS]
    steps = fit_once(layer, inputs, keras.optimizers.Adam(0.01))
    largest = max(np.abs(step).max() for step in steps)
    assert largest == pytest.approx(0.01, rel=1e-2)
