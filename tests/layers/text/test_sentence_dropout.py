import numpy as np
import pytest
from keras import ops

from keras_hvae.layers import SentenceDropout

to_numpy = ops.convert_to_numpy


def test_replaces_sentences_by_the_learned_vector_at_its_rate():
    sentences = np.ones((100, 200, 3), "float32")
    layer = SentenceDropout(0.3, seed=0)
    layer.build(sentences.shape)
    layer.unknown.assign([2.0, 3.0, 4.0])
    out = to_numpy(layer(sentences, training=True))
    dropped = (out == [2.0, 3.0, 4.0]).all(axis=-1)
    # Whole vectors: those that are not dropped are as they were.
    assert (out[~dropped] == 1.0).all()
    # 6 standard errors of a share of 20,000 independent draws.
    assert dropped.mean() == pytest.approx(0.3, abs=0.02)
    again = to_numpy(layer(sentences, training=True))
    assert (again != out).any()  # the next draw


@pytest.mark.parametrize(("rate", "training"), [(0.9, False), (0.0, True)])
def test_else_nothing_changes(rate, training):
    sentences = np.random.default_rng(0).standard_normal((4, 5, 3), "float32")
    out = SentenceDropout(rate, seed=0)(sentences, training=training)
    np.testing.assert_array_equal(to_numpy(out), sentences)
