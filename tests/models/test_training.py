"""fit and evaluate: what they optimise and what they report."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae import HVAE, data
from keras_hvae.callbacks import LatentDiagnostics
from tests.harness import slow

to_numpy = ops.convert_to_numpy
KEYS = ["kl", "kl_weight", "loss", "nll", "perplexity"]
# TensorFlow and PyTorch are quicker without compiling, for a few steps.
EAGERLY = keras.config.backend() != "jax"


@pytest.fixture
def compiled(make_hvae):
    def make(optimizer="adam", **kwargs):
        model = make_hvae(**kwargs)
        model.compile(optimizer, run_eagerly=EAGERLY)
        return model

    return make


def test_fit_needs_neither_loss_nor_targets(make_hvae, make_ids):
    # All defaults, so with XLA where that is the default: graph mode, batches
    # of different shapes, and a validation set.
    model = make_hvae(scale=0.0)
    model.compile(keras.optimizers.Adam(0.03))
    batches = [make_ids(3), make_ids(2, sentences=2, words=7, seed=1)]

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return len(batches)

        def __getitem__(self, index):
            return batches[index]

    history = model.fit(
        Batches(), validation_data=Batches(), epochs=2, verbose=0
    ).history
    assert sorted(history) == sorted([*KEYS, *[f"val_{key}" for key in KEYS]])
    assert all(np.isfinite(values).all() for values in history.values())
    assert history["nll"][1] < history["nll"][0]


@pytest.mark.parametrize("kl_weight", [*slow(0.0), 0.4, *slow(2.0)])
def test_loss_is_nll_and_the_weighted_kl(compiled, make_ids, kl_weight):
    model = compiled(kl_weight=kl_weight)
    history = model.fit(make_ids(), verbose=0).history
    logs = {key: value[0] for key, value in history.items()}
    assert logs["kl"] > 0.1  # without its layer there would be none
    assert logs["loss"] == pytest.approx(
        logs["nll"] + kl_weight * logs["kl"], rel=1e-5
    )
    assert logs["kl_weight"] == pytest.approx(kl_weight)


def test_free_bits_are_in_the_loss_and_not_in_the_kl(compiled, make_ids):
    ids = make_ids()
    model = compiled(free_bits=50.0, free_bits_mode="sentence", kl_weight=0.5)
    history = model.fit(ids, verbose=0).history
    logs = {key: value[0] for key, value in history.items()}
    floor = 50.0 * (ids != 0).any(-1).sum() / len(ids)
    assert 0.1 < logs["kl"] < 0.5 * floor
    assert logs["loss"] == pytest.approx(logs["nll"] + 0.5 * floor, rel=1e-5)


def test_a_rate_is_in_the_loss_and_the_logs(compiled, make_ids):
    ids = make_ids()
    model = compiled(rate=5.0, kl_weight=0.5)
    history = model.fit(ids, verbose=0).history
    logs = {key: value[0] for key, value in history.items()}
    assert sorted(logs) == sorted([*KEYS, "rate", "multiplier"])
    # Far below its rate, all information is free, the rest costs the least.
    # One draw of few posteriors: the estimate may be below 0.
    assert abs(logs["rate"]) > 1e-3 and logs["multiplier"] == 2
    per_document = (ids != 0).any(-1).sum() / len(ids)
    free = logs["rate"] * per_document
    expected = logs["nll"] + 0.5 * 0.3 * (logs["kl"] - free)
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)
    again = model.evaluate(ids, return_dict=True, verbose=0)
    assert again["loss"] == pytest.approx(again["nll"] + again["kl"], rel=1e-5)
    assert again["rate"] == pytest.approx(logs["rate"], rel=1e-5)


@pytest.mark.slow
def test_a_rate_that_is_too_high_leaves_a_training_finite(compiled, make_ids):
    ids = np.tile(make_ids(), (40, 1, 1))
    model = compiled(keras.optimizers.Adam(0.05), rate=500.0)
    diagnostics = LatentDiagnostics([ids], verbose=0)
    history = model.fit(
        ids, batch_size=8, epochs=3, verbose=0, callbacks=[diagnostics]
    ).history
    assert all(np.isfinite(x).all() for x in history.values())
    assert "No latent can carry the `rate` of 500" in diagnostics.advice[-1]


def test_evaluate_is_the_elbo_whatever_training_weighs(compiled, make_ids):
    model = compiled(kl_weight=0.3, free_bits=50.0)
    ids = make_ids()
    logs = model.evaluate(ids, return_dict=True, verbose=0)
    assert sorted(logs) == KEYS
    assert logs["kl"] > 0.1
    assert logs["loss"] == pytest.approx(logs["nll"] + logs["kl"], rel=1e-5)
    assert logs["kl_weight"] == 1.0
    model.kl_weight.assign(0.0)
    again = model.evaluate(ids, return_dict=True, verbose=0)
    assert again["loss"] == pytest.approx(again["nll"] + again["kl"], rel=1e-5)


def test_perplexity_counts_documents_and_tokens(compiled, make_ids):
    # Batches of 2, 2 and 1 with a document of padding in two of them: a mean
    # of the batches' means would be something else.
    ids = make_ids(5)
    ids[[1, 4]] = 0
    logs = compiled().evaluate(ids, batch_size=2, return_dict=True, verbose=0)
    nats = (logs["nll"] + logs["kl"]) * 3
    expected = np.exp(nats / (ids != 0).sum())
    assert logs["perplexity"] == pytest.approx(expected, rel=1e-5)


def test_reports_means_over_real_documents(compiled, make_ids):
    ids = make_ids(3)
    padded = np.concatenate([np.zeros_like(ids[:1]), ids])
    model = compiled(prior="learned")
    # Posteriors of nearly no width, so that all runs draw the same.
    model.latent_chain.head.log_var.bias.assign([-100.0, -100.0])
    expected = model.evaluate(ids, return_dict=True, verbose=0)
    for batch_size in (4, 1):
        logs = model.evaluate(
            padded, batch_size=batch_size, return_dict=True, verbose=0
        )
        for key in ("nll", "kl"):
            assert logs[key] == pytest.approx(expected[key], rel=2e-3)


def test_a_batch_of_padding_is_harmless(compiled, make_ids):
    model = compiled("sgd", free_bits=3.0)
    before = [to_numpy(w) for w in model.trainable_weights]
    history = model.fit(np.zeros_like(make_ids()), verbose=0).history
    assert history["loss"] == [0.0] and history["perplexity"] == [1.0]
    for weight, old in zip(model.trainable_weights, before):
        np.testing.assert_array_equal(to_numpy(weight), old)


@pytest.mark.parametrize("transition", ["rnn", *slow("sum"), "concat", "gated"])
@pytest.mark.parametrize("prior", ["shared", *slow("learned")])
def test_gradients_reach_every_weight(compiled, make_ids, transition, prior):
    # A step of plain gradient descent shows the gradient. In a document of
    # two sentences and more no weight is idle: f_z from the second sentence
    # on, both heads, the backward GRU through t_1, lat2dec through d_i.
    model = compiled("sgd", transition=transition, prior=prior, scale=0.3)
    before = [to_numpy(w) for w in model.trainable_weights]
    model.fit(make_ids(), verbose=0)
    for weight, old in zip(model.trainable_weights, before):
        step = to_numpy(weight) - old
        assert np.isfinite(step).all(), weight.path
        assert step.any(), weight.path
    assert len(before) == len(model.trainable_weights) > 20


@pytest.mark.slow
@pytest.mark.parametrize("transition", ["rnn", "gated"])
def test_training_lowers_the_loss(compiled, make_ids, transition):
    optimizer = keras.optimizers.Adam(0.05)
    model = compiled(optimizer, transition=transition, scale=0.0)
    history = model.fit(make_ids(), epochs=12, verbose=0).history
    assert history["loss"][-1] < 0.75 * history["loss"][0]


def test_kl_weight_weighs_in_the_gradient(compiled, make_ids):
    # With β = 0 nothing pulls at the learned prior; with β = 1 something does.
    moved = {}
    for kl_weight in (0.0, 1.0):
        model = compiled("sgd", prior="learned", kl_weight=kl_weight)
        prior = model.latent_chain.prior_head.mean.kernel
        before = to_numpy(prior)
        model.fit(make_ids(), verbose=0)
        moved[kl_weight] = (to_numpy(prior) != before).any()
    assert moved == {0.0: False, 1.0: True}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [None, "mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(dtype, make_hvae, make_ids, request):
    # Both ways: a policy for all that is built, or this model's own.
    if dtype is None:
        request.getfixturevalue("mixed_float16")
    model = make_hvae(dtype=dtype, dropout=0.1, word_dropout=0.1, scale=0.2)
    # The first in graph mode, which is pickier about dtypes.
    eagerly = EAGERLY and dtype is not None
    model.compile("adam", jit_compile=not EAGERLY, run_eagerly=eagerly)
    # float16 needs its loss scaled, or small gradients vanish.
    scaled = type(model.optimizer).__name__ == "LossScaleOptimizer"
    assert scaled == (dtype != "mixed_bfloat16")
    history = model.fit(make_ids(), epochs=3, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    out = model(make_ids())
    for key, x in out.items():
        assert keras.backend.standardize_dtype(x.dtype) == "float32", key
        assert np.isfinite(to_numpy(x)).all()
    for loss in model.losses:
        assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    scores = model.score(make_ids(), seed=0)
    assert np.isfinite(scores["elbo"]).all()
    model.generate(num_sentences=2, max_words=3, seed=0)


@pytest.mark.parametrize("method", ["fit", "evaluate", "validation"])
@pytest.mark.parametrize(
    "ids, message",
    [
        ([[[5, 20]]], r"Ids must be in \[0, 20\). Received: 5 to 20"),
        ([[[5, -1]]], r"Ids must be in \[0, 20\). Received: -1 to 5"),
        ([[[0, 5]]], "Padding .* must come last"),
        ([[5, 3]], "`token_ids` must be .* rank 3"),
        ([[[5.0, 3.0]]], "`token_ids` must be an integer"),
    ],
)
def test_bad_ids_are_named(method, ids, message, compiled, make_ids):
    model, ids = compiled(), np.array(ids)
    with pytest.raises(ValueError, match=message):
        if method == "validation":
            model.fit(make_ids(), validation_data=(ids,), verbose=0)
        else:
            getattr(model, method)(ids, verbose=0)


@pytest.mark.slow
def test_gradients_are_accumulated_by_keras_own_option(compiled, make_ids):
    batches = [make_ids(seed=k) for k in range(2)]
    # The same latents are drawn both times.
    one_by_one, together = (
        compiled(keras.optimizers.SGD(0.1, **options), seed=3)
        for options in ({}, {"gradient_accumulation_steps": 2})
    )
    start = [to_numpy(w) for w in one_by_one.trainable_weights]
    mean = [0.0] * len(start)
    for ids in batches:
        for weight, value in zip(one_by_one.trainable_weights, start):
            weight.assign(value)
        one_by_one.train_on_batch(ids)
        mean = [
            x + to_numpy(w) / 2
            for x, w in zip(mean, one_by_one.trainable_weights)
        ]
    together.train_on_batch(batches[0])
    for weight, value in zip(together.trainable_weights, start):
        np.testing.assert_array_equal(to_numpy(weight), value)
    together.train_on_batch(batches[1])
    for weight, expected in zip(together.trainable_weights, mean):
        np.testing.assert_allclose(
            to_numpy(weight), expected, rtol=1e-4, atol=1e-5
        )


def test_dropout_and_word_dropout_are_for_training_only(make_hvae, make_ids):
    model = make_hvae(dropout=0.5, word_dropout=0.5)
    ids = make_ids()
    model.latent_chain.head.log_var.bias.assign([-100.0, -100.0])
    first, again = (to_numpy(model(ids)["nll"]) for _ in range(2))
    np.testing.assert_allclose(first, again, rtol=1e-2)
    trained = to_numpy(model(ids, training=True)["nll"])
    assert np.abs(trained - first).max() > 0.1


@pytest.mark.slow
def test_seed_repeats_a_training(compiled, make_ids):
    weights = []
    for seed in (1, 1, 2):
        model = compiled("sgd", word_dropout=0.3)
        config = {**model.get_config(), "seed": seed}
        again = type(model).from_config(config)
        again.set_weights(model.get_weights())
        again.compile("sgd", run_eagerly=EAGERLY)
        again.fit(make_ids(), verbose=0)
        weights.append(np.concatenate([w.ravel() for w in again.get_weights()]))
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any()


@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() == "torch", reason="PyTorch does not trace"
)
def test_is_traced_at_most_once_a_shape():
    traces = []

    class Counted(HVAE):
        def call(self, inputs, **kwargs):
            traces.append(1)
            return super().call(inputs, **kwargs)

    rng = np.random.default_rng(0)
    documents = [
        [" ".join("abcdefgh"[: rng.integers(1, 9)]) for _ in range(n)]
        for n in rng.integers(1, 9, 200)
    ]
    corpus = data.load({"train": documents}, batch_size=4)
    shapes = {tuple(batch.shape) for batch in corpus.train}
    assert 4 < len(shapes) <= 16
    model = Counted(corpus.vocabulary, 2, 4, 6)
    built = len(traces)
    model.compile("adam")
    model.fit(corpus.train, epochs=2, shuffle=False, verbose=0)
    # TensorFlow traces once for any shape; JAX each once, and once more to
    # learn the shapes of the outputs.
    most = 1 if keras.config.backend() == "tensorflow" else len(shapes) + 2
    assert 0 < len(traces) - built <= most
