"""GRULM, HRED, VHRED, VHCR and FlatVAE, and what tells them apart.

Strings need TensorFlow for the preprocessor, on any backend.
"""

import keras
import numpy as np
import pytest
import scipy.special
from keras import ops

import keras_hvae
from keras_hvae import GRULM, HRED, VHCR, VHRED, FlatVAE
from keras_hvae.ids import BOS_ID, EOS_ID, PAD_ID, UNK_ID
from keras_hvae.inference import compiled, randomness
from keras_hvae.models import registry

pytestmark = pytest.mark.eager

to_numpy = ops.convert_to_numpy
# TensorFlow and PyTorch are quicker without compiling, for a few steps.
EAGERLY = keras.config.backend() != "jax"
WORDS = ["a", "b", "c", "d", "e"]
D, H = 2, 6  # of `make_model`
MODELS = {
    "gru_lm": (GRULM, {}),
    "gru_lm_sentence": (GRULM, {"scope": "sentence"}),
    "hred": (HRED, {}),
    "vhred": (VHRED, {}),
    "vhcr": (VHCR, {}),
    "flat_vae": (FlatVAE, {"free_bits": 0.0, "word_dropout": 0.0}),
}
LATENT = ["vhred", "vhcr", "flat_vae"]
WITHOUT_LATENTS = ["gru_lm", "gru_lm_sentence", "hred"]
WRITE_FROM_TEXT = ["gru_lm", "gru_lm_sentence", "hred", "vhred", "vhcr"]


@pytest.fixture(scope="module")
def make(make_model):
    def make(name, **kwargs):
        cls, arguments = MODELS[name]
        return make_model(cls, **{**arguments, **kwargs})

    return make


@pytest.fixture(scope="module")
def models(make):
    """Each model once: its methods are compiled once."""
    return {name: make(name, scale=1.2) for name in MODELS}


@pytest.fixture(params=MODELS)
def model(request, models):
    return models[request.param]


def draw(model, ids, seed=0):
    rng = np.random.default_rng(seed)
    shape = *ids.shape[:2], model.noise_dim
    return rng.standard_normal(shape, "float32")


def score(model, ids, noise):
    """What `compiled.score` says with this noise."""
    method = model.runner.compiled(compiled.score)
    return compiled.run_padded(method, {"x": ids, "noise": noise})


def read(model, ids, noise):
    reading = model.infer(*map(ops.convert_to_tensor, (ids, noise)))
    return {key: to_numpy(x) for key, x in reading.items()}


def assert_close(x, y):
    np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-4)


# --- The models once more, in numpy, word by word and in float64 ---


def weights_of(layer):
    return [to_numpy(w).astype("float64") for w in layer.weights]


def dense(x, layer):
    kernel, bias = weights_of(layer)
    return x @ kernel + bias


class Oracle:
    """Reads and writes one document; `noise` is `(n, noise_dim)`."""

    def __init__(self, model, gru_step):
        self.model, self.gru_step = model, gru_step
        (self.table,) = weights_of(model.emission.token_embedding)

    def run(self, cell, inputs, state=None, beside=()):
        """The states behind each of the inputs."""
        state = np.zeros(H) if state is None else state
        states = []
        for x in inputs:
            state = self.gru_step(np.concatenate([x, *beside]), state, cell)
            states.append(state)
        return states

    def past(self, vectors, start=None, beside=()):
        start = np.zeros(H) if start is None else start
        cell = self.model.context_gru.cell
        return [start, *self.run(cell, vectors, start, beside)][:-1]

    def gaussian(self, x, hidden, head):
        t = x if hidden is None else np.tanh(dense(x, hidden))
        return dense(t, head.mean), dense(t, head.log_var)

    def contexts(self, sentences, noise):
        """Context and [(z, posterior, prior), …] of each sentence."""
        model = self.model
        vectors = [
            self.run(model.emission.word_encoder.gru.cell, self.table[words])[
                -1
            ]
            for words in sentences
        ]
        if isinstance(model, VHCR):
            both = np.concatenate(
                [
                    self.run(model.whole_forward.cell, vectors)[-1],
                    self.run(model.whole_backward.cell, vectors[::-1])[-1],
                ]
            )
            whole = self.gaussian(both, None, model.whole_head)
            z_whole = whole[0] + np.exp(whole[1] / 2) * noise[0, :D]
            start = np.tanh(dense(z_whole, model.start))
            past = self.past(vectors, start, [z_whole])
            past = [np.concatenate([c, z_whole]) for c in past]
            noise = noise[:, D:]
        else:
            past = self.past(vectors)
        if not model.latent_dim:
            return past, [[] for _ in past]
        contexts, latents = [], []
        layer = model.sentence_latent
        for c, h, epsilon in zip(past, vectors, noise):
            both = np.concatenate([c, h])
            posterior = self.gaussian(both, layer.hidden, layer.head)
            prior = self.gaussian(c, layer.prior_hidden, layer.prior_head)
            z = posterior[0] + np.exp(posterior[1] / 2) * epsilon
            contexts.append(np.concatenate([c, z]))
            latents.append([(z, posterior, prior)])
        if isinstance(model, VHCR):
            standard = np.zeros(D), np.zeros(D)
            latents[0].append((z_whole, whole, standard))
        return contexts, latents

    def log_probs(self, document, noise):
        """log p of every word at every place, a list of `(words, V)`."""
        model, decoder = self.model, self.model.emission.word_decoder
        sentences = [words[words != PAD_ID] for words in document]
        sentences = [words for words in sentences if len(words)]
        language_model = isinstance(model, GRULM)
        if language_model:
            contexts = [()] * len(sentences)
        else:
            contexts, _ = self.contexts(sentences, noise)
        state = np.zeros(H)
        log_probs = []
        for words, context in zip(sentences, contexts):
            if not language_model:
                state = np.tanh(dense(context, decoder.state))
            elif decoder.scope == "sentence":
                state = np.zeros(H)
            before = self.table[[BOS_ID, *words[:-1]]]
            beside = () if language_model else [context]
            states = self.run(decoder.gru.cell, before, state, beside)
            state = states[-1]
            logits = dense(np.array(states), model.emission.token_nll)
            log_probs.append(scipy.special.log_softmax(logits, axis=-1))
        return log_probs

    def nll(self, document, noise):
        return np.array(
            [
                -sum(row[word] for row, word in zip(log_probs, words))
                for log_probs, words in zip(
                    self.log_probs(document, noise), document
                )
            ]
        )

    def kl(self, document, noise):
        sentences = [words[words != PAD_ID] for words in document]
        sentences = [words for words in sentences if len(words)]
        _, latents = self.contexts(sentences, noise)
        return np.array(
            [sum(closed_form(q, p) for _, q, p in row) for row in latents]
        )


def closed_form(posterior, prior):
    """KL of two diagonal Gaussians, each a mean and a log-variance."""
    (mean, log_var), (prior_mean, prior_log_var) = posterior, prior
    ratio = np.exp(log_var - prior_log_var)
    distance = np.square(mean - prior_mean) / np.exp(prior_log_var)
    return 0.5 * np.sum(ratio + distance - 1 - np.log(ratio), axis=-1)


@pytest.mark.parametrize("name", WRITE_FROM_TEXT)
def test_nll_and_kl_are_the_oracles(models, make_ids, gru_step, name):
    model, ids = models[name], make_ids()
    noise = draw(model, ids)
    out = score(model, ids, noise)
    oracle = Oracle(model, gru_step)
    for row, document in enumerate(ids):
        count = (document != 0).any(-1).sum()
        nll = oracle.nll(document, noise[row])
        assert_close(out["nll"][row, :count], nll)
        assert not out["nll"][row, count:].any()
        if model.latent_dim:
            kl = oracle.kl(document, noise[row])
            assert_close(out["kl"][row, :count], kl)
        else:
            assert not out["kl"].any() and not out["log_ratio"].any()


# --- What depends on what ---


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("gru_lm", [False, False, True, True]),
        ("gru_lm_sentence", [False, False, True, False]),
        ("hred", [False, False, True, True]),
        ("vhred", [False, False, True, True]),
        ("vhcr", [True, True, True, True]),  # all by way of z_conv
        ("flat_vae", [False, False, True, False]),
    ],
)
def test_which_sentences_know_the_third(models, name, changed):
    model = models[name]
    ids = np.array([[[5, 6, 3], [7, 3, 0], [8, 9, 3], [5, 3, 0]]], "int32")
    other = ids.copy()
    other[0, 2, 0] = 10
    noise = draw(model, ids)
    before, after = (score(model, x, noise) for x in (ids, other))
    for key in ("nll", "kl") if model.latent_dim else ("nll",):
        moved = ~np.isclose(before[key], after[key], rtol=1e-6, atol=1e-6)
        assert moved[0].tolist() == changed, key


def test_padding_changes_nothing(model, make_ids):
    ids = make_ids()
    noise = draw(model, ids)
    expected = score(model, ids, noise)
    assert (expected["nll"] > 0).tolist() == (ids != 0).any(-1).tolist()
    # Words, sentences and documents; the noise of nothing must not matter.
    padded = np.pad(ids, [(0, 1), (0, 2), (0, 3)])
    more = np.pad(noise, [(0, 1), (0, 2), (0, 0)], constant_values=9.0)
    out = score(model, padded, more)
    for key in ("nll", "kl", "log_ratio"):
        assert_close(out[key][:3, :4], expected[key])
        assert not out[key][3:].any() and not out[key][:, 4:].any()


@pytest.mark.slow
def test_score_does_not_depend_on_the_batch(model, make_ids):
    ids = make_ids(7)
    whole, singly = (model.score(ids, 2, 0, batch_size=n) for n in (7, 1))
    for key, x in whole.items():
        assert_close(singly[key], x)
    assert whole["tokens"].tolist() == (ids != 0).sum((1, 2)).tolist()


# --- Latents ---


@pytest.mark.parametrize("name", LATENT)
def test_kl_is_that_of_the_models_own_gaussians(models, make_ids, name):
    model, ids = models[name], make_ids()
    noise = draw(model, ids)
    reading = read(model, ids, noise)
    kl = closed_form(
        (reading["mean"], reading["log_var"]),
        (reading["prior_mean"], reading["prior_log_var"]),
    )
    real = (ids != 0).any(-1)
    assert_close(score(model, ids, noise)["kl"], kl * real)
    assert (kl[real] > 1e-3).all()


@pytest.mark.parametrize("name", [*LATENT, "hvae"])
def test_what_is_trained_is_what_is_scored(models, make_hvae, make_ids, name):
    """The functional model's graph is a trace of `read`, made once."""
    ids = make_ids()
    model = make_hvae(scale=1.2) if name == "hvae" else models[name]
    outputs = {key: to_numpy(x) for key, x in model(ids).items()}
    spread = np.exp(0.5 * outputs["log_var"])
    noise = (outputs["z"] - outputs["mean"]) / spread
    expected = score(model, ids, noise)
    for key in ("kl", "nll"):
        np.testing.assert_allclose(
            outputs[key], expected[key], rtol=1e-3, atol=1e-3
        )


def test_the_kl_of_z_conv_counts_once(models, make_ids):
    model, ids = models["vhcr"], make_ids()
    noise = draw(model, ids)
    reading = read(model, ids, noise)
    whole = {key: reading[key][..., :D] for key in MEANS_AND_VARIANCES}
    real = (ids != 0).any(-1)
    for key in ("mean", "log_var"):  # one z_conv a document
        first = np.broadcast_to(whole[key][:, :1], whole[key].shape)
        np.testing.assert_array_equal(whole[key], first)
        # N(0, I) at the first sentence, then what makes the KL 0.
        assert not whole[f"prior_{key}"][:, 0].any()
        np.testing.assert_array_equal(
            whole[f"prior_{key}"][:, 1:], whole[key][:, 1:]
        )
    rest = {key: reading[key][..., D:] for key in MEANS_AND_VARIANCES}
    kl = score(model, ids, noise)["kl"]
    own = real * closed_form(
        (rest["mean"], rest["log_var"]),
        (rest["prior_mean"], rest["prior_log_var"]),
    )
    once = closed_form((whole["mean"], whole["log_var"]), (0.0, 0.0))[:, 0]
    assert (once > 1e-2).all()
    assert_close(kl[:, 0] - own[:, 0], once)
    assert_close(kl[:, 1:], own[:, 1:])


MEANS_AND_VARIANCES = ("mean", "log_var", "prior_mean", "prior_log_var")


def test_contexts_to_write_from_come_from_the_prior(models, make_ids):
    model, ids = models["vhred"], make_ids()
    noise = draw(model, ids)
    reading = read(model, ids, noise)
    contexts = to_numpy(model.predict_context(ids, noise, ids[..., 0] != 0))
    std = np.exp(reading["prior_log_var"] / 2)
    np.testing.assert_array_equal(
        contexts[..., :H], reading["context"][..., :H]
    )
    assert_close(contexts[..., H:], reading["prior_mean"] + std * noise)


def test_z_conv_comes_from_the_given_sentences_or_the_prior(models, make_ids):
    model, ids = models["vhcr"], make_ids(1)
    noise = draw(model, ids)
    mean = model.encode(ids[:, :2])["mean"][0, 0, :D]
    for count, expected in ((0, noise[0, 0, :D]), (2, mean)):
        given = np.arange(ids.shape[1])[None] < count
        contexts = to_numpy(
            model.predict_context(
                *map(ops.convert_to_tensor, (ids, noise, given))
            )
        )
        z_conv = contexts[0, :, H : H + D]
        assert_close(z_conv, np.tile(expected, (4, 1)))


def as_sentences(ids):
    """Each sentence as a document of its own."""
    ids = ids[(ids != 0).any(-1)]
    return ids[:, None]


@pytest.fixture(scope="module")
def flat_and_hvae(make, make_hvae):
    options = {"initial_prior": "empirical", "scale": 0.8}
    flat, hvae = make("flat_vae", **options), make_hvae(**options, seed=1)
    for x, y in zip(flat.weights, hvae.weights, strict=True):
        assert x.path.removeprefix("each_sentence/") == y.path
        y.assign(to_numpy(x))
    return flat, hvae


def test_flat_vae_is_an_hvae_of_single_sentences(flat_and_hvae, make_ids):
    flat, hvae = flat_and_hvae
    ids = make_ids()
    real = (ids != 0).any(-1)
    noise = draw(flat, ids)
    out = score(flat, ids, noise)
    expected = score(hvae, as_sentences(ids), noise[real][:, None])
    for key in ("nll", "kl", "log_ratio"):
        assert_close(out[key][real], expected[key][:, 0])
    for key in ("mean", "log_var"):
        codes, single = (
            model.encode(x)[key]
            for model, x in ((flat, ids), (hvae, as_sentences(ids)))
        )
        assert_close(codes[real], single[:, 0])
    written = flat.reconstruct(ids, max_words=4)
    np.testing.assert_array_equal(
        written[real], hvae.reconstruct(as_sentences(ids), max_words=4)[:, 0]
    )


def test_flat_vae_goes_on_as_it_starts(flat_and_hvae, make_ids):
    # Sentences do not know each other, not even those to be written.
    flat, hvae = flat_and_hvae
    options = {"num_sentences": 3, "max_words": 4, "seed": 2}
    new = flat.generate(num_documents=3, **options)
    np.testing.assert_array_equal(flat.generate(make_ids(), **options), new)
    noise = randomness.normals(randomness.row_seeds(2, 3), 3, D)
    z = flat.roll_out(ops.convert_to_tensor(noise))
    prior = hvae.roll_out(ops.convert_to_tensor(noise.reshape(9, 1, D)))
    assert_close(to_numpy(z).reshape(9, 1, D), to_numpy(prior))


def test_flat_vaes_first_prior_is_that_of_all_sentences(
    flat_and_hvae, make_ids
):
    flat, hvae = flat_and_hvae
    ids = make_ids(7)
    flat.fit_initial_prior([ids[:3], ids[3:]], moments=True)
    hvae.fit_initial_prior([as_sentences(ids)], moments=True)
    for name in ("initial_mean", "initial_log_var"):
        x, y = (to_numpy(getattr(m.latent_chain, name)) for m in flat_and_hvae)
        assert_close(x, y)
        assert x.any()


# --- Training ---


def narrow(model):
    """Makes posteriors of nearly no width: all runs draw the same."""
    if isinstance(model, FlatVAE):
        heads = [model.latent_chain.head]
    else:
        heads = [model.sentence_latent.head]
    if isinstance(model, VHCR):
        heads.append(model.whole_head)
    for head in heads:
        head.log_var.bias.assign(np.full(D, -100.0))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_fit_and_evaluate(make, make_ids, name):
    model, ids = make(name), make_ids()
    latent = model.latent_dim > 0
    keys = ["loss", "nll", "perplexity"] + ["kl", "kl_weight"] * latent
    model.compile(keras.optimizers.Adam(0.1), run_eagerly=EAGERLY)
    logs = model.evaluate(ids, return_dict=True, verbose=0)
    assert sorted(logs) == sorted(keys)
    nats = logs["nll"] + logs.get("kl", 0.0)
    assert logs["loss"] == pytest.approx(nats, rel=1e-5)
    perplexity = np.exp(nats * len(ids) / (ids != 0).sum())
    assert logs["perplexity"] == pytest.approx(perplexity, rel=1e-5)
    history = model.fit(ids, epochs=4, verbose=0).history
    assert sorted(history) == sorted(keys)
    assert history["loss"][-1] < 0.9 * history["loss"][0]


@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_losses(models, make_ids, name):
    model, ids = models[name], make_ids()
    outputs = model(ids)
    latent = model.latent_dim > 0
    assert len(model.losses) == 1 + latent
    names = ["nll"] + ["kl", "z", "mean", "log_var"] * latent
    assert sorted(outputs) == sorted(names)
    for key, x in outputs.items():
        width = (model.noise_dim,) * (key not in ("nll", "kl"))
        assert tuple(x.shape) == (*ids.shape[:2], *width)


@pytest.mark.parametrize("name", ["vhred", "flat_vae"])
def test_bag_of_words_is_in_the_loss_of_fit_only(make, make_ids, name):
    model, ids = make(name, bow_weight=0.5), make_ids()
    narrow(model)
    noise = np.zeros((*ids.shape[:2], model.noise_dim), "float32")
    context = read(model, ids, noise)["context"]
    layer = model.emission.bag_of_words
    logits = dense(np.tanh(dense(context, layer.hidden)), layer.logits)
    log_probs = scipy.special.log_softmax(logits, axis=-1)
    log_probs = np.take_along_axis(log_probs, ids, axis=-1)
    expected = -0.5 * log_probs[ids > EOS_ID].sum() / len(ids)
    model.compile("sgd", run_eagerly=EAGERLY)
    logs = model.evaluate(ids, return_dict=True, verbose=0)
    assert logs["loss"] == pytest.approx(logs["nll"] + logs["kl"], rel=1e-5)
    history = model.fit(ids, verbose=0).history
    logs = {key: value[0] for key, value in history.items()}
    excess = logs["loss"] - logs["nll"] - logs["kl"]
    assert expected > 1 and excess == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_sentence_dropout_is_for_training_only(make, make_ids):
    ids = make_ids(6)
    plain = make("vhcr", sentence_dropout=0.0, scale=1.0)
    model = make("vhcr", sentence_dropout=0.9)
    narrow(plain)
    values = {w.path: to_numpy(w) for w in plain.weights}
    for weight in model.weights:
        # A vector of zeros would be hard to tell from a state.
        weight.assign(values.get(weight.path, np.full(H, 3.0)))
    elbos, losses = [], []
    for each in (plain, model):
        each.compile("sgd", run_eagerly=EAGERLY)
        elbos.append(each.score(ids, seed=0)["elbo"])
        losses.append(each.fit(ids, verbose=0).history["loss"][0])
    np.testing.assert_array_equal(*elbos)
    evaluated = [plain.evaluate(ids, verbose=0)[0] for _ in range(2)]
    assert evaluated[0] == pytest.approx(evaluated[1], rel=1e-3)
    assert losses[0] != pytest.approx(losses[1], rel=5e-3)


# --- Writing ---


def listed(ids):
    """The real sentences of each document, as lists of words."""
    return [
        [[int(w) for w in words if w] for words in document if words[0]]
        for document in ids
    ]


def joined(*parts):
    """Documents (B, n_k, m_k) behind each other, as one array."""
    rows = [sum(x, []) for x in zip(*map(listed, parts))]
    shape = len(rows), max(map(len, rows)), max(len(s) for x in rows for s in x)
    ids = np.zeros(shape, "int32")
    for i, document in enumerate(rows):
        for j, words in enumerate(document):
            ids[i, j, : len(words)] = words
    return ids


@pytest.mark.slow
@pytest.mark.parametrize("name", [*WRITE_FROM_TEXT, "flat_vae"])
@pytest.mark.parametrize("given", [True, False], ids=["on", "new"])
def test_a_row_depends_on_its_seed_and_itself(models, make_ids, name, given):
    model, ids = models[name], make_ids()

    def write(rows, **options):
        source = {"documents": ids[rows]} if given else {}
        return listed(
            model.generate(
                **source,
                num_documents=len(rows),
                num_sentences=2,
                max_words=4,
                sampler="categorical",
                **options,
            )
        )

    together = write([0, 1, 2], seed=[7, 8, 9])
    assert write([0, 1, 2], seed=[7, 8, 9], batch_size=1) == together
    assert write([2, 0], seed=[9, 7]) == [together[2], together[0]]
    assert write([0, 1, 2], seed=5) == write([0, 1, 2], seed=5, batch_size=2)
    assert write([0, 1, 2], seed=[17, 18, 19]) != together
    for document in together:
        assert len(document) == 2
        for words in document:
            assert not {PAD_ID, UNK_ID, BOS_ID} & set(words)
            assert EOS_ID not in words[:-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gru_lm", "hred", "vhred"])
def test_writing_on_reads_what_was_written(models, make_ids, name):
    # The latents' noise goes by the place in the document.
    model, ids = models[name], make_ids()
    options = {"max_words": 4, "sampler": "greedy", "seed": [3, 4, 5]}
    three = model.generate(ids, num_sentences=3, **options)
    first = model.generate(ids, num_sentences=1, **options)
    rest = model.generate(joined(ids, first), num_sentences=2, **options)
    np.testing.assert_array_equal(three, np.concatenate([first, rest], axis=1))
    # Another beginning, another end: what was written had been read.
    first[:, 0] = [[9, 11, 3, 0, 0]]
    other = model.generate(joined(ids, first), num_sentences=2, **options)
    assert listed(other) != listed(rest)


@pytest.mark.parametrize("name", WITHOUT_LATENTS)
@pytest.mark.parametrize("given", [True, False], ids=["on", "new"])
def test_greedy_words_are_the_oracles(models, make_ids, gru_step, name, given):
    model = models[name]
    ids = make_ids() if given else None
    written = model.generate(
        ids, num_documents=2, num_sentences=3, max_words=4, sampler="greedy"
    )
    documents = written if ids is None else joined(ids, written)
    oracle = Oracle(model, gru_step)
    for document, new in zip(documents, listed(written)):
        log_probs = oracle.log_probs(document, None)[-3:]
        for words, rows in zip(new, log_probs):
            rows[:, [PAD_ID, UNK_ID, BOS_ID]] = -np.inf
            # The last id is `[EOS]`, probable or not.
            best = rows.argmax(axis=-1).tolist()
            assert best[:4] == words[:4] and words[4:] in ([], [EOS_ID])


@pytest.mark.slow
@pytest.mark.eager(False)
@pytest.mark.parametrize("name", ["gru_lm", "hred", "vhred", "vhcr"])
def test_in_a_graph_too(make, make_ids, name):
    model, ids = make(name), make_ids()
    model.compile("adam")
    assert np.isfinite(model.fit(ids, verbose=0).history["loss"]).all()
    assert np.isfinite(model.score(ids, seed=0)["sentence_nll"]).all()
    written = model.generate(ids, num_sentences=1, max_words=3, seed=0)
    assert written.shape == (len(ids), 1, 4)


@pytest.mark.parametrize("name", LATENT)
def test_encode_and_reconstruct(models, make_ids, name):
    model, ids = models[name], make_ids()
    real = (ids != 0).any(-1)
    noise = np.zeros((*ids.shape[:2], model.noise_dim), "float32")
    reading = read(model, ids, noise)
    codes = model.encode(ids)
    np.testing.assert_array_equal(codes["mask"], real)
    for key in ("mean", "log_var"):
        assert_close(codes[key], reading[key] * real[..., None])
    written = model.reconstruct(ids, max_words=4)
    np.testing.assert_array_equal((written != 0).any(-1), real)
    # The greedy words are the most probable ones after themselves.
    hidden = to_numpy(
        model.emission.states(
            *map(ops.convert_to_tensor, (written, reading["context"]))
        )
    )
    logits = dense(hidden, model.emission.token_nll)
    logits[..., [PAD_ID, UNK_ID, BOS_ID]] = -np.inf
    best = logits.argmax(axis=-1)
    # The last id is `[EOS]`, probable or not.
    best, written = best[..., :4], written[..., :4]
    assert (best == written)[written != 0].all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gru_lm", "vhcr"])
def test_strings_in_strings_out(make, name):
    model = make(name, vocabulary=WORDS)
    documents = [["a b c d", "e a"], ["c"]]
    options = {"num_sentences": 2, "max_words": 3, "seed": 0}
    written = model.generate(documents, **options)
    assert [len(x) for x in written] == [2, 2]
    assert all(
        set(text.split()) <= set(WORDS) for texts in written for text in texts
    )
    ids = model.preprocessor(documents)
    as_ids = model.generate(ids, **options)
    assert as_ids == written  # a model of words answers in words
    assert model.score(documents, seed=0)["sentence_nll"].shape == (2, 2)
    if model.latent_dim:
        assert [len(x) for x in model.reconstruct(documents, 3)] == [2, 1]


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        *((name, ["encode", "reconstruct"]) for name in WITHOUT_LATENTS),
        *(
            (name, ["decode", "interpolate", "fit_initial_prior"])
            for name in WRITE_FROM_TEXT
        ),
    ],
)
def test_methods_without_means_are_not_implemented(
    models, make_ids, name, methods
):
    model, ids = models[name], make_ids()
    arguments = {
        "decode": [np.zeros((2, D))],
        "interpolate": [ids[0], ids[1]],
        "fit_initial_prior": [[ids]],
    }
    for method in methods:
        with pytest.raises(
            NotImplementedError,
            match=f"`{method}` needs .* Received: {type(model).__name__}$",
        ):
            getattr(model, method)(*arguments.get(method, [ids]))


# --- Arguments and files ---


@pytest.mark.parametrize("name", WITHOUT_LATENTS)
@pytest.mark.parametrize(
    "argument", [{"kl_weight": 0.5}, {"rate": 1.0}, {"bow_weight": 0.1}]
)
def test_arguments_of_latents_are_refused_without(make, name, argument):
    ((key, value),) = argument.items()
    match = f"`{key}`.* for models with latents. Received: .*{key}={value}"
    with pytest.raises(ValueError, match=match):
        make(name, **argument)


@pytest.mark.parametrize(
    ("name", "arguments", "match"),
    [
        ("gru_lm", {"scope": "no"}, "`scope` must .* Received: 'no'"),
        ("gru_lm", {"hidden_dim": 0}, "`hidden_dim` must .* Received: 0"),
        ("hred", {"hidden_dim": -1}, "`hidden_dim` must .* Received: -1"),
        (
            "vhcr",
            {"free_bits": 1.0, "free_bits_mode": "dimension"},
            "`free_bits_mode` must .* Received: 'dimension'",
        ),
        ("hred", {"sentence_dropout": 1.0}, "`rate` must .* Received: 1.0"),
        ("vhred", {"latent_dim": 0}, "`latent_dim` must .* Received: 0"),
        ("vhred", {"bow_weight": -1.0}, "`weight` must .* Received: -1.0"),
        ("vhcr", {"latent_dim": 1.5}, "`latent_dim` must .* Received: 1.5"),
        ("vhcr", {"hidden_dim": 0}, "`hidden_dim` must .* Received: 0"),
        ("flat_vae", {"prior": "no"}, "`prior` must .* Received: 'no'"),
    ],
)
def test_constructor_errors(make, name, arguments, match):
    with pytest.raises(ValueError, match=match):
        make(name, **arguments)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_saved_models_come_back(make, make_ids, tmp_path, name):
    ids = make_ids(vocabulary=9)
    options = {"word_dropout": 0.2, "dropout": 0.1, "softmax": "full"}
    if name in LATENT:
        options |= {"kl_weight": 0.5, "free_bits": 0.5, "bow_weight": 0.1}
    model = make(name, vocabulary=WORDS, **options)
    config = model.get_config()
    assert options.items() <= config.items()
    again = type(model).from_config(config)
    assert again.get_config() == config
    model.compile("adam", run_eagerly=EAGERLY)
    model.fit(ids, verbose=0)
    scores = model.score(ids, seed=1)
    model.save(tmp_path / "model.keras")
    model.save_to_preset(tmp_path / "preset")
    for loaded in (
        keras.models.load_model(tmp_path / "model.keras"),
        type(model).from_preset(tmp_path / "preset"),
    ):
        assert type(loaded) is type(model) and loaded.get_config() == config
        assert list(loaded.preprocessor) == list(model.preprocessor)
        for x, y in zip(model.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(x, y)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for key, x in loaded.score(ids, seed=1).items():
        np.testing.assert_array_equal(x, scores[key])
    other = HRED if name.startswith("gru_lm") else GRULM
    with pytest.raises(ValueError, match="`preset` must be of the class"):
        other.from_preset(tmp_path / "preset")


def test_refuses_unknown_arguments():
    with pytest.raises(TypeError, match="HVAE has no .* sentence_dropout"):
        keras_hvae.HVAE(20, 2, 4, 6, sentence_dropout=0.5)


@pytest.mark.parametrize("cls", registry.MODELS.values())
def test_generate_goes_on_with_defaults(make_model, cls):
    model = make_model(cls, WORDS)
    (sentence,) = model.generate(["a b"], num_sentences=1, seed=0)
    assert isinstance(sentence, str)
