import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.layers import LatentChain
from keras_hvae.layers.latent.transition import TRANSITIONS

to_numpy = ops.convert_to_numpy
B, N, H, UNITS, D = 3, 4, 6, 5, 2
LENGTHS = [4, 2, 1]
MASK = np.arange(N) < np.array(LENGTHS)[:, None]
KINDS = list(itertools.product(TRANSITIONS, ("shared", "learned")))


def random_inputs(sentences=N):
    rng = np.random.default_rng(0)
    return {
        "contexts": rng.standard_normal((B, sentences, H), "float32"),
        "backward": rng.standard_normal((B, H), "float32"),
        "noise": rng.standard_normal((B, sentences, D), "float32"),
    }


def make_chain(transition="rnn", prior="shared", **kwargs):
    chain = LatentChain(D, UNITS, transition, prior, **kwargs)
    chain.build((None, None, H), (None, H))
    rng = np.random.default_rng(1)
    for weight in chain.weights:  # the first prior is made special, too
        weight.assign(0.7 * rng.standard_normal(weight.shape))
    return chain


def run(chain, **inputs):
    return {key: to_numpy(x) for key, x in chain(**inputs).items()}


def loop_posterior(chain, contexts, backward, noise):
    """One document of real sentences only, a sentence at a time."""
    contexts, backward, noise = (
        ops.convert_to_tensor(x) for x in (contexts, backward, noise)
    )
    z, path = None, []
    for i in range(contexts.shape[1]):
        if i == 0:
            hidden = chain.initial(backward)
        else:
            hidden = chain.f_z(contexts[:, i], z)
        mean, log_var = chain.head(hidden)
        z = mean + ops.exp(0.5 * log_var) * noise[:, i]
        path.append([to_numpy(x)[0] for x in (z, mean, log_var)])
    return np.stack(path, axis=1)


@pytest.fixture(params=KINDS, ids="-".join)
def chain(request):
    return make_chain(*request.param)


def test_posterior_and_prior_are_loops(chain):
    inputs = random_inputs()
    out = run(chain, **inputs, mask=MASK)
    names = ("z", "mean", "log_var")
    for row, length in enumerate(LENGTHS):
        one = {key: x[row : row + 1] for key, x in inputs.items()}
        one["contexts"] = one["contexts"][:, :length]
        for name, expected in zip(names, loop_posterior(chain, **one)):
            np.testing.assert_allclose(
                out[name][row, :length], expected, rtol=1e-4, atol=1e-5
            )
            # Pads carry the last real one on.
            np.testing.assert_array_equal(
                out[name][row, length:],
                np.repeat(out[name][row, length - 1 : length], N - length, 0),
            )
    # d_i = tanh(W z_i + b); the prior of i + 1 is made of z_i and d_i.
    kernel, bias = (to_numpy(w) for w in chain.lat2dec.weights)
    np.testing.assert_allclose(
        out["context"], np.tanh(out["z"] @ kernel + bias), rtol=1e-4, atol=1e-5
    )
    for name, weight in (
        ("prior_mean", chain.initial_mean),
        ("prior_log_var", chain.initial_log_var),
    ):
        np.testing.assert_array_equal(
            out[name][:, 0], np.tile(to_numpy(weight), (B, 1))
        )
    for i in range(1, N):
        hidden = chain.prior_f_z(out["context"][:, i - 1], out["z"][:, i - 1])
        mean, log_var = chain.prior_head(hidden)
        for name, expected in (
            ("prior_mean", mean),
            ("prior_log_var", log_var),
        ):
            np.testing.assert_allclose(
                out[name][:, i], to_numpy(expected), rtol=1e-4, atol=1e-5
            )


@pytest.mark.parametrize("prior", ["shared", "learned"])
def test_bounded_chains_are_never_too_sure(prior):
    plain, bounded = (
        make_chain("concat", prior, bounded=x) for x in (False, True)
    )
    # A head that would say log σ² = −12 and −2, of posteriors and priors.
    for chain in (plain, bounded):
        for head in (chain.head, chain.prior_head):
            head.log_var.kernel.assign(0.0 * head.log_var.kernel)
            head.log_var.bias.assign([-12.0, -2.0])
    own, out = (run(x, **random_inputs()) for x in (plain, bounded))
    assert (own["log_var"][..., 0] == -12).all()
    np.testing.assert_allclose(out["log_var"][..., 0], -7, atol=0.01)
    np.testing.assert_allclose(out["log_var"][..., 1], -2, atol=0.01)
    later = out["prior_log_var"][:, 1:]
    np.testing.assert_allclose(later[..., 0], -4, atol=0.06)
    np.testing.assert_allclose(later[..., 1], -2 + 0.13, atol=0.01)
    # The roll-out has the same prior, and the first one is as it was.
    for name in ("prior_mean", "prior_log_var"):
        np.testing.assert_array_equal(out[name][:, 0], own[name][:, 0])
    z = ops.convert_to_tensor(out["z"][:, :1])
    _, log_var = bounded.prior_step(z, bounded.decoder_context(z))
    np.testing.assert_allclose(to_numpy(log_var)[..., 0], -4, atol=0.06)


def test_roll_out_is_a_loop(chain):
    noise = ops.convert_to_tensor(random_inputs()["noise"])
    rolled = to_numpy(chain.roll_out(noise))
    mean = ops.convert_to_tensor(chain.initial_mean)
    log_var = ops.convert_to_tensor(chain.initial_log_var)
    path = []
    for i in range(N):
        z = mean + ops.exp(0.5 * log_var) * noise[:, i]
        path.append(to_numpy(z))
        mean, log_var = chain.prior_step(z, chain.decoder_context(z))
    np.testing.assert_allclose(rolled, np.stack(path, 1), rtol=1e-4, atol=1e-5)
    # It goes on where a path ends: with the same noise, along the same path.
    on = chain.roll_out(
        noise[:, 2:],
        previous=ops.convert_to_tensor(rolled[:, 1]),
    )
    np.testing.assert_allclose(
        to_numpy(on), rolled[:, 2:], rtol=1e-4, atol=1e-5
    )


def test_prior_is_shared_or_not(chain):
    inputs = random_inputs()
    noise = ops.convert_to_tensor(inputs["noise"])
    before, rolled = run(chain, **inputs), to_numpy(chain.roll_out(noise))
    for layer in (chain.f_z, chain.head):
        for weight in layer.trainable_weights:
            weight.assign(weight + 0.3)
    after = run(chain, **inputs)
    assert (before["mean"][:, 1:] != after["mean"][:, 1:]).all()
    shared = chain.prior == "shared"
    again = to_numpy(chain.roll_out(noise))
    assert (rolled[:, 1:] != again[:, 1:]).all() == shared
    assert (rolled == again).all() == (not shared)
    # Both priors have the path of z; only the shared one has the f's too.
    z, d = ops.convert_to_tensor(before["z"]), before["context"]
    mean, _ = chain.prior_step(z[:, :-1], ops.convert_to_tensor(d[:, :-1]))
    unchanged = np.allclose(
        to_numpy(mean), before["prior_mean"][:, 1:], rtol=1e-5, atol=1e-6
    )
    assert unchanged == (not shared)


def test_pads_change_nothing_before_them():
    chain, inputs = make_chain(), random_inputs()
    out = run(chain, **inputs, mask=MASK)
    pad = ~MASK[..., None]
    inputs["contexts"] = np.where(pad, 50.0, inputs["contexts"]).astype(
        "float32"
    )
    inputs["noise"] = np.where(pad, 50.0, inputs["noise"]).astype("float32")
    other = run(chain, **inputs, mask=MASK)
    for name in out:
        np.testing.assert_array_equal(out[name], other[name])


def test_zero_noise_is_the_path_of_means():
    inputs = random_inputs()
    inputs["noise"] = np.zeros_like(inputs["noise"])
    out = run(make_chain(), **inputs)
    np.testing.assert_array_equal(out["z"], out["mean"])


def test_first_sentence_reads_backward_and_later_ones_their_context():
    chain, inputs = make_chain(), random_inputs()
    inputs["noise"] = np.zeros_like(inputs["noise"])
    out = run(chain, **inputs)
    other = {**inputs, "contexts": inputs["contexts"].copy()}
    other["contexts"][:, 0] += 1.0  # c_1: no latent reads it
    for name, x in run(chain, **other).items():
        np.testing.assert_array_equal(x, out[name])
    other["contexts"][:, 2] += 1.0  # c_3: z_3 and those after it do
    changed = (run(chain, **other)["mean"] != out["mean"]).any(axis=(0, 2))
    assert changed.tolist() == [False, False, True, True]
    other = {**inputs, "backward": inputs["backward"] + 1.0}
    assert (run(chain, **other)["mean"][:, 0] != out["mean"][:, 0]).all()


def test_any_number_of_sentences_in_one_functional_model():
    chain = make_chain()
    names = ("contexts", "backward", "noise")
    shapes = ((None, H), (H,), (None, D))
    inputs = {
        name: keras.Input(shape, name=name)
        for name, shape in zip(names, shapes)
    }
    model = keras.Model(inputs, chain(**inputs))
    for sentences in (1, 2, 5):
        arrays = random_inputs(sentences)
        predicted = model.predict_on_batch(arrays)
        for name, x in run(chain, **arrays).items():
            assert x.shape[1] == sentences
            np.testing.assert_allclose(predicted[name], x, rtol=1e-4, atol=1e-5)


def test_draws_its_own_noise():
    inputs = random_inputs()
    del inputs["noise"]
    first, again, other = (make_chain(seed=s) for s in (1, 1, 2))
    z = run(first, **inputs)["z"]
    np.testing.assert_array_equal(z, run(again, **inputs)["z"])
    assert (z != run(first, **inputs)["z"]).all()  # the next draw
    assert (z != run(other, **inputs)["z"]).all()


def test_noise_and_first_prior_are_not_rounded_under_mixed_precision():
    # 0.1 in half precision is 0.09998.
    chain = make_chain(dtype="mixed_float16")
    for weight in (chain.initial_mean, chain.initial_log_var):
        weight.assign([0.1, 0.2])
    inputs = random_inputs()
    out = run(chain, **inputs)
    first = np.tile(np.float32([0.1, 0.2]), (B, 1))
    np.testing.assert_array_equal(out["prior_mean"][:, 0], first)
    np.testing.assert_array_equal(out["prior_log_var"][:, 0], first)
    noise = (out["z"] - out["mean"]) / np.exp(out["log_var"] / 2)
    np.testing.assert_allclose(noise, inputs["noise"], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("prior", "width"), [("shared", H), ("learned", UNITS)]
)
def test_the_width_of_what_the_decoder_gets(prior, width):
    out = run(make_chain(prior=prior), **random_inputs())
    assert out["context"].shape == (B, N, width)


def test_its_config_has_all_of_it():
    given = {
        "transition": "gated",
        "prior": "learned",
        "initial_prior": "empirical",
        "mean_norm": 0.5,
        "seed": 3,
    }
    config = LatentChain(D, UNITS, **given).get_config()
    again = LatentChain.from_config(config).get_config()
    assert {key: again[key] for key in given} == given


@pytest.mark.parametrize("bad", [0, -1.0])
def test_mean_norm_is_more_than_0(bad):
    with pytest.raises(ValueError, match="`mean_norm` must be > 0"):
        LatentChain(D, UNITS, mean_norm=bad)


def test_the_first_prior_is_not_trained():
    names = {x.name for x in make_chain().trainable_weights}
    assert not names & {"initial_mean", "initial_log_var"}
