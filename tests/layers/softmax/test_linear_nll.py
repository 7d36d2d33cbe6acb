import numpy as np
import pytest
import scipy.special
from keras import ops

from keras_hvae.layers.softmax import linear_nll as module
from tests.harness import slow

N, H, V = 37, 5, 11
MASKS = {
    "ragged": np.arange(N) % 3 > 0,
    "all": np.ones(N, bool),
    "none": np.zeros(N, bool),
    "one": np.arange(N) == 20,
}
UPSTREAM = {
    "uniform": np.full(N, 0.5, "float32"),
    "of each row": np.random.default_rng(1).normal(size=N).astype("float32"),
}


@pytest.fixture(params=["chunks", *slow("one chunk", "a GPU")])
def chunks(request, monkeypatch):
    if request.param != "one chunk":
        monkeypatch.setattr(module, "ROWS", (8, 8))
    if request.param == "a GPU":
        monkeypatch.setattr(module, "on_gpu", lambda: True)
        monkeypatch.setattr(module, "ROWS_ON_GPU", (12, 12))


def inputs():
    rng = np.random.default_rng(0)
    weights = (
        rng.normal(size=(N, H)),
        rng.normal(size=(H, V)),
        rng.normal(size=V),
    )
    return [3 * x for x in weights], rng.integers(0, V, N).astype("int32")


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("upstream", UPSTREAM.values(), ids=UPSTREAM)
@pytest.mark.parametrize("training", [True, False])
def test_value_and_gradients_are_the_plain_ones(
    mask, upstream, training, chunks, value_and_gradients
):
    weights, targets = inputs()
    upstream, targets = map(ops.convert_to_tensor, (upstream, targets))

    def plain(hidden, kernel, bias, mask):
        logits = ops.matmul(hidden, kernel) + bias
        log_probs = ops.log_softmax(logits)
        nll = -ops.take_along_axis(log_probs, targets[:, None], 1)[:, 0]
        return ops.sum(ops.where(mask > 0, nll, 0.0) * upstream * mask)

    def fused(hidden, kernel, bias, mask):
        nll = module.linear_nll(
            hidden, kernel, bias, targets, mask > 0, training
        )
        return ops.sum(nll * upstream * mask)

    expected, gradients = value_and_gradients(plain, *weights, mask)
    value, fused_gradients = value_and_gradients(fused, *weights, mask)
    assert value == pytest.approx(expected, rel=1e-5, abs=1e-4)
    for x, y in zip(fused_gradients, gradients, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_large_logits_are_no_trouble(training, chunks):
    weights, targets = inputs()
    hidden, kernel, bias = (100 * x.astype("float32") for x in weights)
    log_probs = scipy.special.log_softmax(
        hidden.astype("float64") @ kernel + bias, axis=-1
    )
    nll = module.linear_nll(
        *map(ops.convert_to_tensor, (hidden, kernel, bias, targets)),
        ops.ones(N, "bool"),
        training,
    )
    expected = -log_probs[np.arange(N), targets]
    np.testing.assert_allclose(
        ops.convert_to_numpy(nll), expected, rtol=1e-5, atol=0.1
    )
