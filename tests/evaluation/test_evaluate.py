import json
import zlib

import numpy as np
import pytest
from keras import ops

from keras_hvae import GRULM, HRED, HVAE, VHCR, VHRED, FlatVAE
from keras_hvae.evaluation import (
    METRICS,
    evaluate,
    importance_bounds,
    particle_bounds,
    plot_report,
    reconstruction,
    responses,
    samples,
    summary,
)
from keras_hvae.evaluation.batches import content_seeds
from keras_hvae.ids import EOS_ID, UNK_ID
from tests.harness import slow

pytestmark = pytest.mark.eager


def test_sums_over_the_corpus_then_divides(make_hvae, make_ids):
    model, ids = make_hvae(), make_ids(documents=7)
    batches = [ids[:4], ids[4:]]
    figures = evaluate(model, batches, seed=3, verbose=0)
    # A document's draws go by what is in it, wherever it stands.
    seeds = [(3, zlib.crc32(row[row != 0].tobytes())) for row in ids]
    scores = model.score(ids, seed=seeds)
    real = scores["mask"]
    assert figures["documents"] == 7
    assert figures["sentences"] == real.sum()
    assert figures["tokens"] == (ids != 0).sum() == scores["tokens"].sum()
    for key in ("nll", "kl"):
        total = scores[key].sum()
        assert figures[key] == pytest.approx(
            {
                "per_document": total / 7,
                "per_sentence": total / real.sum(),
                "per_token": total / (ids != 0).sum(),
            },
            rel=1e-5,
        )
    neg_elbo = figures["neg_elbo"]["per_token"]
    assert figures["perplexity_bound"] == pytest.approx(np.exp(neg_elbo))
    by_position = scores["sentence_kl"].sum(axis=0) / real.sum(axis=0)
    np.testing.assert_allclose(
        figures["kl_by_position"], by_position, rtol=1e-4
    )
    json.dumps(figures)
    assert f"{figures['z_ablation']:.2f}" in summary(figures)


def test_documents_of_padding_and_free_bits_count_nothing(make_hvae, make_ids):
    ids = make_ids(documents=5)
    padded = np.concatenate([ids, np.zeros_like(ids[:3])])
    plain = evaluate(make_hvae(), [ids], verbose=0)
    model = make_hvae(free_bits=50.0, kl_weight=0.1, word_dropout=0.9)
    other = evaluate(model, [padded], verbose=0)
    assert other["neg_elbo"] == pytest.approx(plain["neg_elbo"], rel=1e-5)
    assert other["documents"] == 5


def test_z_ablation_is_zero_for_a_decoder_that_ignores_z(make_hvae, make_ids):
    model, ids = make_hvae(), make_ids(documents=6)
    assert abs(evaluate(model, [ids], verbose=0)["z_ablation"]) > 1e-3
    kernel = model.latent_chain.lat2dec.kernel
    kernel.assign(np.zeros(kernel.shape))
    assert abs(evaluate(model, [ids], verbose=0)["z_ablation"]) < 1e-5


@pytest.mark.slow
def test_likelihood_does_not_depend_on_batches(make_hvae, make_ids):
    model, ids = make_hvae(), make_ids(documents=7)
    whole = evaluate(model, [ids], verbose=0)
    parts = evaluate(model, [ids[5:], ids[1:5], ids[:1]], verbose=0)
    for key in ("neg_elbo", "kl"):
        assert parts[key] == pytest.approx(whole[key], rel=1e-5)
    np.testing.assert_allclose(
        parts["kl_by_position"], whole["kl_by_position"], rtol=1e-4
    )
    assert (
        parts["active_units_by_position"] == whole["active_units_by_position"]
    )
    assert len(whole["active_units_by_position"]) == ids.shape[1]


@pytest.mark.slow
def test_z_ablation_of_single_documents_is_not_known(make_hvae, make_ids):
    ids = make_ids(documents=3)
    figures = evaluate(make_hvae(), [ids[:1], ids[1:2]], verbose=0)
    assert figures["z_ablation"] is None
    assert "n/a" in summary(figures)


def test_no_document(make_hvae):
    with pytest.raises(ValueError, match="`dataset` must have a document"):
        evaluate(make_hvae(), [], verbose=0)
    with pytest.raises(ValueError, match="batches of int ids.*Received: <U1"):
        evaluate(make_hvae(), [["a", "b"]], verbose=0)


@pytest.mark.slow
def test_plot(make_hvae, make_ids, tmp_path):
    figures = evaluate(make_hvae(), [make_ids()], verbose=0)
    history = {"nll": [9.0, 8.0], "kl": [1.0, 2.0]}
    for extra in ({}, {f"val_{key}": x for key, x in history.items()}):
        path = tmp_path / "report.png"
        plot_report(path, history | extra, figures)
        assert path.read_bytes().startswith(b"\x89PNG")


# --- Every group of figures, of models with and without latents ---

WORDS = list("abcdefghijklmnop")
VECTORS = {w: np.eye(16)[i] + 0.1 for i, w in enumerate(WORDS)}
OPTIONS = {
    "num_samples": 12,
    "num_sentences": 12,
    "max_documents": 5,
    "seed": 2,
    "verbose": 0,
}


@pytest.mark.slow
def test_every_group_of_an_hvae(make_hvae, make_ids):
    model, ids = make_hvae(WORDS), make_ids(8, words=9)
    figures = evaluate(
        model, [ids], METRICS, train=[ids[:4]], vectors=VECTORS, **OPTIONS
    )
    json.dumps(figures)
    some = {"max_documents": 5, "seed": 2}
    direct = {
        "iwae": importance_bounds(model, [ids], 12, verbose=0, **some),
        "particles": particle_bounds(model, [ids], 12, verbose=0, **some),
        "reconstruction": reconstruction(model, [ids], **some),
        "samples": samples(model, [ids], [ids[:4]], 12, seed=2),
        "responses": responses(model, [ids], vectors=VECTORS, **some),
    }
    assert {key: figures[key] for key in direct} == direct
    assert figures["latent_dim"] == 2 and figures["conditional"] is None
    text = summary(figures)
    for name in ("IWAE-12", "particles-12", "accuracy_free_running"):
        assert name in text
    for name in ("samples:", "self_bleu4", "responses:", "embedding_greedy"):
        assert name in text
    assert "(difference of two bounds)" in text


@pytest.mark.slow
def test_every_group_of_a_language_model(make_model, make_ids):
    model, ids = make_model(GRULM, WORDS), make_ids(8, words=9)
    metrics = ["likelihood", "latents", "iwae", "samples", "responses"]
    figures = evaluate(
        model, [ids], metrics, train=[ids], vectors=VECTORS, **OPTIONS
    )
    json.dumps(figures)
    for key in ("active_units", "mi_full", "z_ablation"):
        assert key not in figures
    scores = model.score(ids)
    expected = scores["nll"].sum() / (ids != 0).sum()
    for key in ("nll", "neg_elbo"):
        assert figures[key]["per_token"] == pytest.approx(expected, rel=1e-5)
    assert figures["kl"]["per_document"] == 0
    assert figures["kl_by_position"] == [0] * ids.shape[1]
    assert figures["iwae"]["exact"]
    text = summary(figures)
    for name in ("exact on 5", "(bound)", "samples:", "responses:"):
        assert name in text
    assert "active units" not in text
    for metric in ("particles", "reconstruction"):
        with pytest.raises(ValueError, match=f"without .{metric}.* a GRULM$"):
            evaluate(model, [ids], [metric], verbose=0)


def test_only_what_was_asked_for(make_hvae, make_ids):
    figures = evaluate(make_hvae(), [make_ids()], ["likelihood"], verbose=0)
    assert not {"active_units", *METRICS[2:]} & set(figures)
    with pytest.raises(ValueError, match="`metrics` must be .*'bleu'"):
        evaluate(make_hvae(), [make_ids()], ["bleu"], verbose=0)


@pytest.mark.parametrize("cls", [GRULM, *slow(HRED), VHRED, *slow(FlatVAE)])
def test_conditional_is_of_the_sentences_behind_the_first(
    make_model, make_ids, cls
):
    model, ids = make_model(cls), make_ids(7)
    figures = evaluate(model, [ids[:2], ids[2:]], seed=3, verbose=0)
    scores = model.score(ids, seed=content_seeds(ids, model.emission, 3))
    rest = ids[:, 1:]
    tokens = (rest != 0).sum()
    counts = {
        "per_document": (rest != 0).any((1, 2)).sum(),
        "per_sentence": (rest != 0).any(-1).sum(),
        "per_token": tokens,
    }
    assert 1 < counts["per_document"] < 7
    nll, kl = (scores[f"sentence_{k}"][:, 1:].sum() for k in ("nll", "kl"))
    conditional = figures["conditional"]
    for key, total in (("nll", nll), ("kl", kl), ("neg_elbo", nll + kl)):
        expected = {unit: total / n for unit, n in counts.items()}
        assert conditional[key] == pytest.approx(expected, rel=1e-4)
    assert conditional["perplexity_bound"] == pytest.approx(
        np.exp((nll + kl) / tokens), rel=1e-4
    )
    single = evaluate(model, [ids[:, :1]], verbose=0)
    assert single["conditional"] is None


@pytest.mark.parametrize("cls", [HVAE, *slow(VHCR)])
def test_shared_latents_have_no_conditional(make_model, make_ids, cls):
    figures = evaluate(make_model(cls), [make_ids()], verbose=0)
    assert figures["conditional"] is None


def test_unknown_words_are_counted_and_warned_of(make_hvae, make_ids):
    model, ids = make_hvae(), make_ids(5)
    words = ids[ids > EOS_ID]
    few, many = ids.copy(), ids.copy()
    few[0, 0, 0] = UNK_ID
    many[(ids > EOS_ID) & (ids % 2 == 0)] = UNK_ID
    figures = evaluate(model, [few], ["likelihood"], verbose=0)
    assert figures["unknown_rate"] == pytest.approx(1 / len(words))
    rate = (words % 2 == 0).mean()
    assert rate > 0.2
    match = f"{rate:.0%} of the words are not in the model's vocabulary"
    with pytest.warns(UserWarning, match=match):
        figures = evaluate(model, [many], ["likelihood"], verbose=0)
    assert figures["unknown_rate"] == pytest.approx(rate)
    assert f"{rate:.1%} of the words unknown" in summary(figures)


# Sizes of `make_model`: E words, H states, d latents.
EMBEDDING, HIDDEN, LATENT = 4, 6, 2


def make_deaf(model, first):
    """Cuts the decoder off from its context, from that column on."""
    decoder = model.emission.word_decoder
    for weight, rows in (
        (decoder.state.kernel, first),
        (decoder.gru.cell.kernel, EMBEDDING + first),
    ):
        value = np.array(ops.convert_to_numpy(weight))
        value[rows:] = 0
        weight.assign(value)


def test_z_ablation_of_vhred_is_zero_if_the_decoder_ignores_z(
    make_model, make_ids
):
    model, ids = make_model(VHRED), make_ids(documents=6)
    assert abs(evaluate(model, [ids], verbose=0)["z_ablation"]) > 1e-2
    make_deaf(model, HIDDEN)
    assert abs(evaluate(model, [ids], verbose=0)["z_ablation"]) < 1e-5


def test_z_ablation_of_vhcr_takes_z_conv_too(make_model, make_ids):
    # z_conv alone is heard, and its posterior is nearly a point.
    model, ids = make_model(VHCR), make_ids(documents=6)
    make_deaf(model, HIDDEN + LATENT)
    model.whole_head.log_var.bias.assign(np.full(LATENT, -100.0))
    figures = evaluate(model, [ids], seed=1, verbose=0)
    assert abs(figures["z_ablation"]) > 1e-2
    assert figures["latent_dim"] == 2 * LATENT


def test_a_chain_that_only_drifts_is_dead_by_position(make_hvae, make_ids):
    ids = make_ids(documents=40)
    model = make_hvae(scale=1.0, transition="rnn", bounded=False)
    # The posterior is the prior, whatever is read: it moves with position.
    chain = model.latent_chain
    chain.initial.kernel.assign(np.zeros(chain.initial.kernel.shape))
    kernel = chain.f_z.cell.kernel
    kernel.assign(np.zeros(kernel.shape))
    for weight, value in zip(chain.head.log_var.weights, (0.0, -15.0)):
        weight.assign(np.full(weight.shape, value))
    figures = evaluate(model, [ids], verbose=0)
    assert max(figures["active_units_by_position"]) == 0
    assert max(figures["mi_full_by_position"]) < 0.01
    assert figures["active_units"] > 0  # pooled, the drift counts
    said = summary(figures)
    assert "by position" in said and " 0 0" in said


def test_the_order_of_documents_changes_no_figure(make_hvae, make_ids):
    model, ids = make_hvae(), make_ids(documents=40)
    one = evaluate(model, [ids], verbose=0)
    other = evaluate(model, [ids[::-1].astype("int64")], verbose=0)
    for key in ("mi_batch32", "mi_full", "active_units", "kl_by_position"):
        assert other[key] == pytest.approx(one[key], rel=1e-4, abs=1e-5)


def test_refuses_what_cannot_be_measured_before_it_measures(make_model):
    for name, cls in (("particles", VHRED), ("reconstruction", GRULM)):
        with pytest.raises(ValueError, match=f"without '{name}' .* Received"):
            evaluate(make_model(cls), iter(()), ["likelihood", name])
