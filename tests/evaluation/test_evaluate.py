import json

import numpy as np
import pytest

from keras_hvae.evaluation import evaluate, plot_report, summary


def test_sums_over_the_corpus_then_divides(make_hvae, make_ids):
    model, ids = make_hvae(), make_ids(documents=7)
    batches = [ids[:4], ids[4:]]
    figures = evaluate(model, batches, seed=3, verbose=0)
    scores = model.score(ids, seed=3)
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


def test_no_document(make_hvae):
    with pytest.raises(ValueError, match="`dataset` must have a document"):
        evaluate(make_hvae(), [], verbose=0)


def test_plot(make_hvae, make_ids, tmp_path):
    figures = evaluate(make_hvae(), [make_ids()], verbose=0)
    history = {"nll": [9.0, 8.0], "kl": [1.0, 2.0]}
    for extra in ({}, {f"val_{key}": x for key, x in history.items()}):
        path = tmp_path / "report.png"
        plot_report(path, history | extra, figures)
        assert path.read_bytes().startswith(b"\x89PNG")
