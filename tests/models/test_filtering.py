"""One step of inference, whoever takes it; what filtering knows."""

import numpy as np
import pytest
from keras import ops

from keras_hvae.ids import EOS_ID
from keras_hvae.inference import compiled, randomness

pytestmark = pytest.mark.eager

SETTINGS = {
    "rnn": {},
    "concat-learned": {"transition": "concat", "prior": "learned"},
    "sum-exclusive": {"transition": "sum", "backward": "exclusive"},
    "gated-norm": {"transition": "gated", "mean_norm": 0.7},
    "text": {"past": "text"},
    "text-learned": {"past": "text", "transition": "sum", "prior": "learned"},
}


@pytest.fixture(scope="module", params=SETTINGS)
def filtering(request, make_hvae):
    options = {**SETTINGS[request.param], "inference": "filtering"}
    return make_hvae(scale=1.0, **options)


def test_the_path_is_the_step_again_and_again(filtering, make_ids):
    model, ids = filtering, make_ids()
    noise = np.random.default_rng(0).standard_normal((3, 4, 2), "float32")
    out = model.runner.run(compiled.score, x=ids, noise=noise)
    reading = model.infer(*map(ops.convert_to_tensor, (ids, noise)))
    given = model.runner.run(compiled.contexts, x=ids)
    z = np.zeros((3, 2), "float32")
    real = (ids != 0).any(-1)
    before = model.latent_chain.before(given["contexts"])
    for i in range(4):
        z, q, p = model.latent_chain.filter_step(
            given["contexts"][:, i],
            given["backward"],
            noise[:, i],
            z,
            np.full((3, 1), i > 0),
            None if before is None else before[:, i],
        )
        for received, key in (
            (z, "z"),
            (q.mean, "mean"),
            (q.log_var, "log_var"),
            (p.mean, "prior_mean"),
            (p.log_var, "prior_log_var"),
        ):
            expected = ops.convert_to_numpy(reading[key])[:, i]
            received = np.broadcast_to(
                ops.convert_to_numpy(received), expected.shape
            )
            np.testing.assert_allclose(
                received[real[:, i]],
                expected[real[:, i]],
                rtol=1e-4,
                atol=1e-5,
                err_msg=f"{key} {i}",
            )
        kl = ops.convert_to_numpy(q.kl(p)) * real[:, i]
        np.testing.assert_allclose(out["kl"][:, i], kl, rtol=1e-3, atol=1e-4)


def test_filtering_knows_no_later_sentence(filtering, make_ids):
    ids = make_ids(1)
    other = ids.copy()
    other[0, 2, 0] = 5 if ids[0, 2, 0] != 5 else 6
    before, after = (filtering.encode(x)["mean"][0] for x in (ids, other))
    np.testing.assert_allclose(after[:2], before[:2], atol=1e-6)
    assert (np.abs(after[2:] - before[2:]).max(axis=1) > 1e-4).all()


def test_smoothing_knows_the_whole_document(make_hvae, make_ids):
    model = make_hvae(scale=1.0)
    ids = make_ids(1)
    other = ids.copy()
    other[0, 3, 0] = 5 if ids[0, 3, 0] != 5 else 6
    before, after = (model.encode(x)["mean"][0] for x in (ids, other))
    assert np.abs(after[0] - before[0]).max() > 1e-4
    assert not model.conditional_terms


def test_reply_and_generate_go_on_from_the_same_latents(filtering, make_ids):
    ids = make_ids()
    options = {"max_words": 4, "seed": [5, 6, 7], "temperature": 0.9}
    generated = filtering.generate(ids, num_sentences=1, **options)
    replied = filtering.reply(ids, **options)
    np.testing.assert_array_equal(replied, generated[:, 0])
    assert not filtering.conditional_terms


@pytest.mark.parametrize("inference", ["smoothing", "filtering"])
def test_a_chat_goes_on_from_its_state(make_hvae, make_ids, inference):
    model = make_hvae(scale=1.0, inference=inference)
    ids = make_ids(1)
    whole, state = model.reply(ids, return_state=True, seed=3, max_words=4)
    _, first = model.reply(ids[:, :2], return_state=True, seed=0)
    assert first["count"].tolist() == [2]
    again, second = model.reply(
        ids[:, 2:], state=first, return_state=True, seed=3, max_words=4
    )
    np.testing.assert_array_equal(again, whole)
    for key, x in state.items():
        np.testing.assert_allclose(second[key], x, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="`state` must be that of 2 documents"):
        model.reply(np.repeat(ids, 2, axis=0), state=first)


def test_reply_draws_from_the_prior_after_the_last_mean(make_hvae, make_ids):
    """By hand: q's means one sentence after the other, then the prior."""
    model = make_hvae(scale=1.0)
    ids = make_ids(1)
    _, state = model.reply(ids, return_state=True, seed=2)
    encoder, chain = model.context_encoder, model.latent_chain
    sentences = model.emission.embed(ops.convert_to_tensor(ids))
    mask = ops.convert_to_tensor((ids != 0).any(-1))
    contexts = encoder.forward_gru(sentences, mask)
    _, backward = encoder(sentences[:, :1], mask[:, :1])
    z = ops.zeros((1, 2))
    for i in range(4):
        started = np.full((1, 1), i > 0)
        _, q, _ = chain.filter_step(
            contexts[:, i], backward, ops.zeros((1, 2)), z, started
        )
        z = q.mean
    np.testing.assert_allclose(
        *map(ops.convert_to_numpy, (state["z"], z)), rtol=1e-4, atol=1e-5
    )
    noise = randomness.normals([(2, 0)], 1, 2)
    prior = chain.prior_after(z, np.full((1, 1), True))
    drawn = prior.sample(noise[:, 0])
    written = model.reply(ids, seed=2, sampler="greedy")
    expected = model.decode(ops.convert_to_numpy(drawn)[None], seed=2)
    np.testing.assert_array_equal(written[0], expected[0, 0])
    assert (written == EOS_ID).any()
