"""Figures of what models write, against the models' own methods."""

import json

import numpy as np
import pytest
from keras import ops

from keras_hvae import GRULM, HRED, HVAE, VHRED
from keras_hvae.evaluation import (
    copied,
    corpus_bleu,
    distinct,
    embedding_metrics,
    forward_reverse_perplexity,
    nltk7,
    reconstruction,
    responses,
    samples,
    self_bleu,
    writing,
)
from keras_hvae.evaluation.batches import content_seeds
from keras_hvae.ids import EOS_ID, PAD_ID, UNK_ID

pytestmark = pytest.mark.eager

WORDS = list("abcdefghijklmnop")
M = 9


@pytest.fixture(scope="module")
def models(make_model):
    classes = {"gru_lm": GRULM, "hred": HRED, "vhred": VHRED, "hvae": HVAE}
    return {name: make_model(cls, WORDS) for name, cls in classes.items()}


@pytest.fixture(scope="module")
def ids(make_ids):
    return make_ids(6, words=M)


def split(sentences):
    """Ids (R, m) as lists of words, without `[EOS]`."""
    return [
        [str(w) for w in words if w not in (PAD_ID, EOS_ID)]
        for words in sentences
    ]


def write_ids(model, method, documents, **options):
    """Ids that a method of a model of words writes: (B, n, m)."""
    preprocessor, model.preprocessor = model.preprocessor, None
    try:
        return getattr(model, method)(documents, **options)
    finally:
        model.preprocessor = preprocessor


@pytest.mark.parametrize("name", ["hvae", "vhred"])
def test_reconstruction_is_that_of_the_method(models, ids, name):
    model, real = models[name], ids != 0
    figures = reconstruction(model, [ids[:2], ids[2:]])
    json.dumps(figures)
    written = write_ids(model, "reconstruct", ids, max_words=M)
    expected = (written[..., :M] == ids)[real].mean()
    assert figures["accuracy_free_running"] == pytest.approx(expected)
    bleu = corpus_bleu(split(written[real.any(-1)]), split(ids[real.any(-1)]))
    assert bleu.items() <= figures.items()
    assert figures["documents"] == len(ids)
    words = split(written[real.any(-1)]), split(ids[real.any(-1)])
    for prefix, sentences in zip(("", "real_"), words):
        count = len({" ".join(x) for x in sentences})
        assert figures[f"{prefix}distinct_sentences"] == count
    assert figures["sentences"] == real.any(-1).sum()
    # A vocabulary of 16 words: all of them are frequent.
    assert figures["content_words"] == 0
    # Teacher-forced: the true words before, the path of the means.
    noise = np.zeros((*ids.shape[:2], model.noise_dim), "float32")
    tensors = ops.convert_to_tensor(ids), ops.convert_to_tensor(noise)
    hidden = model.emission.states(tensors[0], model.infer(*tensors)["context"])
    logits = ops.convert_to_numpy(model.emission.token_nll.logits(hidden))
    logits = logits[..., EOS_ID:]  # what is never written stands before
    expected = (logits.argmax(-1) + EOS_ID == ids)[real].mean()
    assert figures["accuracy_teacher_forced"] == pytest.approx(expected)


def test_reconstruction_of_what_the_model_writes(make_model):
    # Whatever the latent, a word and that word again.
    model = make_model(HVAE, WORDS)
    kernel, bias = (
        model.emission.token_nll.kernel,
        model.emission.token_nll.bias,
    )
    kernel.assign(np.zeros(kernel.shape))
    bias.assign(np.where(np.arange(20) == 7, 0.0, -50.0))
    ids = np.full((2, 2, 5), 7, "int32")
    figures = reconstruction(model, [ids])
    ids[0, 0, 1] = ids[1, 1, 4] = 8
    other = reconstruction(model, [ids])
    for kind in ("teacher_forced", "free_running"):
        assert figures[f"accuracy_{kind}"] == 1
        assert other[f"accuracy_{kind}"] == pytest.approx(18 / 20)


def test_content_words_are_behind_the_first_100(make_model):
    # Whatever the latent, words 103 and 104; a special token is none.
    model = make_model(HVAE, 120)
    softmax = model.emission.token_nll
    kernel, bias = softmax.kernel, softmax.bias
    kernel.assign(np.zeros(kernel.shape))
    for written, recall in ((103, 0.0), (104, 0.5)):
        bias.assign(np.where(np.arange(120) == written, 0.0, -50.0))
        ids = np.zeros((2, 2, 3), "int32")
        ids[0] = [[104, 103, 3], [105, 104, 3]]
        ids[1, 0] = 106, 103, 3
        figures = reconstruction(model, [ids])
        assert figures["content_words"] == 4
        assert figures["content_recall"] == recall
        assert figures["content_recall_random"] == recall
        assert figures["distinct_sentences"] == 1
        assert figures["real_distinct_sentences"] == 3


@pytest.mark.slow
def test_sentences_that_run_on_are_cut_alike(make_model, ids, monkeypatch):
    # Of a document alone and beside a longer one.
    model = make_model(HVAE, WORDS)
    model.emission.token_nll.bias.assign(
        np.where(np.arange(20) == EOS_ID, -50.0, 0.0)
    )
    wide = np.pad(ids, [(0, 0), (0, 0), (0, 8)])
    wide[0, 0, :16], wide[0, 0, 16] = 5, EOS_ID
    figures = reconstruction(model, [wide])
    monkeypatch.setattr(writing, "BATCH", 1)
    assert reconstruction(model, [wide]) == pytest.approx(figures)


@pytest.mark.slow
def test_documents_are_drawn_by_content(models, ids):
    model = models["hvae"]
    some = reconstruction(model, [ids], max_documents=3)
    assert some["documents"] == 3
    assert reconstruction(model, [ids[4:], ids[:4]], max_documents=3) == some
    others = [reconstruction(model, [ids], 3, seed) for seed in range(1, 5)]
    assert any(x != some for x in others)


@pytest.mark.parametrize("name", ["gru_lm", "hred"])
def test_reconstruction_needs_latents(models, ids, name):
    match = (
        f"needs a model with latents. Received: {type(models[name]).__name__}"
    )
    with pytest.raises(ValueError, match=match):
        reconstruction(models[name], [ids])


@pytest.mark.parametrize("name", ["hvae", "gru_lm"])
def test_samples_are_ancestral(models, ids, name):
    model, real = models[name], (ids != 0).any(-1)
    train = ids[:3]
    figures = samples(model, [ids[:2], ids[2:]], [train], 10, seed=4)
    json.dumps(figures)
    length = round(real.sum() / len(ids))
    written = write_ids(
        model,
        "generate",
        None,
        num_documents=-(-10 // length),
        num_sentences=length,
        max_words=M - 1,
        sampler="categorical",
        seed=4,
    )
    written = split(written.reshape(-1, M))[:10]
    text, known = split(ids[real]), split(train[real[:3]])
    for figure in (
        distinct(written),
        self_bleu(written, 10, 4),
        copied(written, known),
        forward_reverse_perplexity(written, known, text),
    ):
        assert figure == pytest.approx({key: figures[key] for key in figure})
    assert 0 < figures["real_distinct1"] <= 1
    assert figures["real_samples"] == min(10, len(text))
    without = samples(model, [ids], num_sentences=10, seed=4)
    assert without == {key: figures[key] for key in without}
    assert "copied" not in without


def test_unknown_words_of_real_text_are_counted(models, ids):
    words = (ids != PAD_ID) & (ids != EOS_ID)
    some = words & (ids % 2 == 0)
    unknown = np.where(some, UNK_ID, ids)
    figures = samples(models["hvae"], [unknown], [unknown], 10)
    rate = some.sum() / (unknown != PAD_ID).sum()
    assert rate > 0.2
    assert figures["reverse_unk_rate"] == pytest.approx(rate)


def test_all_real_sentences_are_the_real_figures(models, ids):
    real = split(ids[(ids != 0).any(-1)])
    figures = samples(models["hvae"], [ids], num_sentences=100)
    assert figures["responses"] == 100
    for key, x in distinct(real).items():
        assert figures[f"real_{key}"] == x
    expected = self_bleu(real, len(real))["self_bleu4_nltk1"]
    assert figures["real_self_bleu4_nltk1"] == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gru_lm", "vhred", "hvae"])
def test_responses_go_on_from_all_but_the_last_sentence(models, ids, name):
    model = models[name]
    vectors = {word: np.eye(16)[i] + 0.1 for i, word in enumerate(WORDS)}
    figures = responses(model, [ids[:2], ids[2:]], vectors=vectors, seed=4)
    json.dumps(figures)
    lengths = (ids != 0).any(-1).sum(-1)
    rows = np.flatnonzero(lengths > 1)
    assert figures["contexts"] == len(rows) < len(ids)
    contexts = ids[rows].copy()
    last = contexts[np.arange(len(rows)), lengths[rows] - 1].copy()
    contexts[np.arange(len(rows)), lengths[rows] - 1] = 0

    def respond(sampler, seed):
        written = write_ids(
            model,
            "generate",
            contexts,
            num_sentences=1,
            max_words=M - 1,
            sampler=sampler,
            seed=content_seeds(contexts, model.emission, seed),
        )
        return split(written[:, 0])

    greedy = respond("greedy", 4)
    sampled = [respond("categorical", 4 + i) for i in range(10)]
    references = split(last)
    as_words = [
        [[WORDS[int(w) - 4] for w in words] for words in sentences]
        for sentences in (greedy, references)
    ]
    for figure in (
        corpus_bleu(greedy, references),
        distinct(greedy),
        nltk7([list(x) for x in zip(*sampled)], references),
        embedding_metrics(*as_words, vectors),
    ):
        assert figure == {key: figures[key] for key in figure}


def test_responses_need_two_sentences(models, ids):
    with pytest.raises(ValueError, match="at least two sentences.*: none"):
        responses(models["hred"], [ids[:, :1]])


@pytest.mark.slow
def test_vectors_need_words(make_model, ids):
    with pytest.raises(ValueError, match="`vectors` need .* of 20 ids"):
        responses(make_model(HRED), [ids], vectors={"a": [1.0]})


def test_an_unknown_word_is_no_content_word(models, ids):
    unknown = ids.copy()
    unknown[0, 0, 0] = UNK_ID
    figures = reconstruction(models["hvae"], [unknown])
    assert figures["content_words"] == 0
