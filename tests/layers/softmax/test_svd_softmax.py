import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.layers import (
    AdaptiveSoftmax,
    SampledSoftmax,
    SVDSoftmax,
    TokenNLL,
)

to_numpy = ops.convert_to_numpy
V, H = 40, 8


@pytest.fixture(params=["full", "by word", "tied", "tied, narrow"])
def softmax(request):
    width = {"tied": 12, "tied, narrow": 3}.get(request.param)
    embedding = keras.layers.Embedding(V, width) if width else None
    cls = SampledSoftmax if request.param == "by word" else TokenNLL
    layer = cls(V, embedding=embedding)
    layer.build((None, H))
    rng = np.random.default_rng(0)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


HIDDEN = np.random.default_rng(1).standard_normal((2, 5, H), "float32")


def test_is_exact_for_its_candidates_and_with_full_width(softmax):
    exact = to_numpy(softmax.logits(ops.convert_to_tensor(HIDDEN)))
    whole = SVDSoftmax.of(softmax, width=H, num_candidates=1)
    np.testing.assert_allclose(
        to_numpy(whole(HIDDEN)), exact, rtol=1e-4, atol=1e-4
    )
    every = SVDSoftmax.of(softmax, width=1, num_candidates=V)
    np.testing.assert_allclose(
        to_numpy(every(HIDDEN)), exact, rtol=1e-4, atol=1e-4
    )


def test_computes_those_in_full_that_the_preview_finds_best(softmax):
    kernel, bias, *bottleneck = softmax.linear_weights("float32")
    kernel = to_numpy(kernel)
    if bottleneck:
        kernel = to_numpy(bottleneck[0]) @ kernel
    u, s, v = np.linalg.svd(kernel, full_matrices=False)
    preview = HIDDEN @ (u[:, :2] * s[:2]) @ v[:2] + to_numpy(bias)
    exact = to_numpy(softmax.logits(ops.convert_to_tensor(HIDDEN)))
    best = np.argsort(-preview, axis=-1)[..., :6]
    expected = preview.copy()
    np.put_along_axis(
        expected, best, np.take_along_axis(exact, best, -1), axis=-1
    )
    layer = SVDSoftmax.of(softmax, width=2, num_candidates=6)
    np.testing.assert_allclose(
        to_numpy(layer(HIDDEN)), expected, rtol=1e-4, atol=1e-4
    )
    assert not np.allclose(expected, exact, atol=0.1)


def test_names_what_it_cannot_be_made_of():
    adaptive = AdaptiveSoftmax(V)
    adaptive.build((None, H))
    for softmax in (adaptive, TokenNLL(V)):
        with pytest.raises(ValueError, match="`softmax` must be a built"):
            SVDSoftmax.of(softmax, 2, 2)
    full = TokenNLL(V)
    full.build((None, H))
    with pytest.raises(ValueError, match="`width` .* 8 dim.* Received: 9"):
        SVDSoftmax.of(full, 9, 2)
    with pytest.raises(ValueError, match="`num_candidates` .* 40.*: 41"):
        SVDSoftmax.of(full, 2, 41)
