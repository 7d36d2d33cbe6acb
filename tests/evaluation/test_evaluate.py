import json
import zlib

import numpy as np
import pytest

from keras_hvae.evaluation import evaluate, plot_report, summary


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


def test_plot(make_hvae, make_ids, tmp_path):
    figures = evaluate(make_hvae(), [make_ids()], verbose=0)
    history = {"nll": [9.0, 8.0], "kl": [1.0, 2.0]}
    for extra in ({}, {f"val_{key}": x for key, x in history.items()}):
        path = tmp_path / "report.png"
        plot_report(path, history | extra, figures)
        assert path.read_bytes().startswith(b"\x89PNG")
