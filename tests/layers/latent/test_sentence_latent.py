import numpy as np
from keras import ops

from keras_hvae.layers import SentenceLatent

to_numpy = ops.convert_to_numpy
B, N, C, H, D = 2, 3, 5, 4, 2


def layer_and_inputs():
    rng = np.random.default_rng(0)
    past, sentences, noise = (
        rng.standard_normal((B, N, width), "float32") for width in (C, H, D)
    )
    layer = SentenceLatent(D, units=6)
    layer.build(past.shape, sentences.shape)
    for weight in layer.weights:
        weight.assign(rng.standard_normal(weight.shape))
    return layer, past, sentences, noise


def dense(x, layer):
    kernel, bias = (to_numpy(w) for w in layer.weights)
    return x @ kernel + bias


def assert_close(x, y):
    np.testing.assert_allclose(to_numpy(x), y, rtol=1e-4, atol=1e-5)


def test_is_its_equations():
    layer, past, sentences, noise = layer_and_inputs()
    both = np.concatenate([past, sentences], axis=-1)
    t = np.tanh(dense(both, layer.hidden))
    prior_t = np.tanh(dense(past, layer.prior_hidden))
    out = layer(past, sentences, noise)
    mean, log_var = dense(t, layer.head.mean), dense(t, layer.head.log_var)
    assert_close(out["mean"], mean)
    assert_close(out["log_var"], log_var)
    assert_close(out["prior_mean"], dense(prior_t, layer.prior_head.mean))
    assert_close(out["prior_log_var"], dense(prior_t, layer.prior_head.log_var))
    assert_close(out["z"], mean + np.exp(log_var / 2) * noise)
    for x, key in zip(layer.prior(past), ("prior_mean", "prior_log_var")):
        assert_close(x, to_numpy(out[key]))


def test_the_prior_does_not_know_the_sentence():
    layer, past, sentences, noise = layer_and_inputs()
    out, other = (layer(past, x, noise) for x in (sentences, 2 * sentences))
    for key, x in out.items():
        same = (to_numpy(x) == to_numpy(other[key])).all()
        assert same == key.startswith("prior_")


def test_draws_without_noise():
    layer, past, sentences, _ = layer_and_inputs()
    first, second = (layer(past, sentences) for _ in range(2))
    assert (to_numpy(first["z"]) != to_numpy(second["z"])).all()
    np.testing.assert_array_equal(
        to_numpy(first["mean"]), to_numpy(second["mean"])
    )


def test_a_seed_repeats_its_draws():
    _, past, sentences, _ = layer_and_inputs()
    draws = []
    for seed in (1, 1, 2):
        layer = SentenceLatent(D, units=6, seed=seed)
        out = layer(past, sentences)
        noise = (out["z"] - out["mean"]) * ops.exp(-out["log_var"] / 2)
        draws.append(to_numpy(noise))
    np.testing.assert_allclose(draws[0], draws[1], rtol=1e-4, atol=1e-5)
    assert (abs(draws[0] - draws[2]) > 1e-3).all()


def test_noise_is_not_rounded_under_mixed_precision(mixed_float16):
    # 0.1 in half precision is 0.09998.
    _, past, sentences, noise = layer_and_inputs()
    layer = SentenceLatent(D, units=6)
    assert layer.compute_dtype == "float16"
    out = layer(past, sentences, noise)
    mean, log_var = (to_numpy(out[key]) for key in ("mean", "log_var"))
    drawn = (to_numpy(out["z"]) - mean) / np.exp(log_var / 2)
    np.testing.assert_allclose(drawn, noise, rtol=2e-5, atol=2e-6)
