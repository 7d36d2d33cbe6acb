"""Softmaxes of one linear layer, tied to an embedding."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.layers import (
    NoiseContrastive,
    OneVsEach,
    SampledSoftmax,
    TokenNLL,
)

to_numpy = ops.convert_to_numpy
V, E, H = 9, 3, 5
CLASSES = [TokenNLL, SampledSoftmax, OneVsEach, NoiseContrastive]


@pytest.fixture(params=CLASSES)
def tied(request):
    embedding = keras.layers.Embedding(V, E)
    layer = request.param(V, embedding=embedding, bias_initializer="normal")
    layer.build((None, H))
    return layer


def test_tied_logits_are_of_the_table(tied):
    hidden = np.random.default_rng(0).standard_normal((4, H), "float32")
    table = to_numpy(tied.embedding.embeddings)
    narrow = hidden @ to_numpy(tied.bottleneck.kernel)
    expected = narrow @ table.T + to_numpy(tied.bias)
    logits = tied.logits(ops.convert_to_tensor(hidden))
    np.testing.assert_allclose(to_numpy(logits), expected, rtol=1e-5, atol=1e-6)
    targets = ops.arange(1, 5, dtype="int32")
    nll = to_numpy(tied.nll(ops.convert_to_tensor(hidden), targets))
    log_probs = to_numpy(ops.log_softmax(logits))
    np.testing.assert_allclose(
        nll, -log_probs[np.arange(4), np.arange(1, 5)], rtol=1e-4
    )


def test_the_table_is_the_only_kernel(tied):
    shapes = sorted(tuple(w.shape) for w in tied.trainable_weights)
    assert shapes == sorted([(V, E), (H, E), (V,)])


def test_training_moves_the_table(tied):
    inputs = keras.Input((2, H)), keras.Input((2,), dtype="int32")
    model = keras.Model(inputs, tied(*inputs))
    model.compile("adam")
    before = [to_numpy(w) for w in tied.trainable_weights]
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((3, 2, H), "float32")
    model.fit([hidden, rng.integers(1, V, (3, 2))], verbose=0)
    for weight, old in zip(tied.trainable_weights, before):
        assert (to_numpy(weight) != old).any(), weight.path


def test_config_makes_a_tied_layer_again(tied):
    again = type(tied).from_config(tied.get_config())
    again.build((None, H))
    assert again.embedding.output_dim == E
    assert [w.shape for w in again.weights] == [w.shape for w in tied.weights]


def test_a_saved_model_is_tied_again(tmp_path):
    embedding = keras.layers.Embedding(V, E)
    ids = keras.Input((None,), dtype="int32")
    hidden = keras.layers.Dense(H)(embedding(ids))
    model = keras.Model(ids, TokenNLL(V, embedding=embedding)(hidden, ids))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.count_params() == model.count_params()
    assert again.layers[-1].embedding is again.get_layer(embedding.name)


def test_names_an_embedding_of_another_vocabulary():
    with pytest.raises(ValueError, match="`embedding` .* 9 ids. Received: 8"):
        TokenNLL(V, embedding=keras.layers.Embedding(8, E))
