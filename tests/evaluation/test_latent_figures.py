"""Whether the figures of latents tell the truth, where it is known."""

import json
import re

import numpy as np
import pytest
from keras import ops
from scipy.special import logsumexp
from scipy.stats import norm

from keras_hvae import HVAE, VHCR, VHRED, FlatVAE
from keras_hvae.evaluation import (
    advise,
    evaluate,
    kl_parts,
    mi_full,
    plot_report,
    summary,
)
from keras_hvae.evaluation.batches import content_seeds
from keras_hvae.evaluation.latent_figures import of_the_document
from keras_hvae.ids import EOS_ID
from keras_hvae.inference import compiled, randomness

pytestmark = pytest.mark.eager

PARTS = (
    "information",
    "mismatch",
    "total_correlation",
    "dimension_mismatch",
    "matched_kl",
)
UNBOUNDED = {"transition": "rnn", "bounded": False}
CLASSES = {"hvae": HVAE, "flat_vae": FlatVAE, "vhred": VHRED, "vhcr": VHCR}


def kinds_of_documents(kinds, copies=64, sentences=2, seed=1):
    """Documents that are each one of so many: ln `kinds` nats in all."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(EOS_ID + 1, 20, (kinds, sentences, 6), "int32")
    ids[..., -1] = EOS_ID
    return ids[rng.permutation(kinds * copies) % kinds]


def narrow(model, log_var=-8.0):
    """Gives all posteriors one variance; learned priors get the variance 1."""
    chain = model.latent_chain
    for head, value in ((chain.prior_head, 0.0), (chain.head, log_var)):
        kernel, bias = head.log_var.weights
        kernel.assign(np.zeros(kernel.shape))
        bias.assign(np.full(bias.shape, value))


@pytest.mark.parametrize("kinds", [1, 2, 8])
def test_no_kl_makes_information_that_is_not_there(make_hvae, kinds):
    # Random weights: posteriors far from the prior, and far apart.
    options = {"latent_dim": 8, "prior": "learned", **UNBOUNDED}
    model = make_hvae(scale=1.0, seed=2, **options)
    narrow(model, -12.0)
    figures = evaluate(model, [kinds_of_documents(kinds)], verbose=0)
    assert min(figures["kl_by_position"]) > 5
    there = np.log(kinds)
    for key in ("information_by_position", "mi_full_by_position"):
        assert figures[key] == pytest.approx([there] * 2, abs=0.01)
    assert figures["information"] == pytest.approx(there, abs=0.01)
    assert figures["mismatch"] == pytest.approx(
        figures["kl"]["per_sentence"] - there, abs=0.01
    )
    assert max(figures["effective_rank_by_position"]) <= kinds - 1 + 1e-6
    said = advise(figures)
    cost = figures["kl"]["per_sentence"]
    expected = f"carry {there:.1f} nats a sentence of the {cost:.1f}"
    assert (expected if kinds > 1 else "carry nothing (0.00") in said
    assert said in summary(figures)


def test_noise_of_the_latent_before_is_no_information(make_hvae):
    # One document again and again: z_2 tells what z_1 was, and nothing else.
    model = make_hvae(scale=1.0, seed=2, latent_dim=4, prior="learned")
    narrow(model, 0.0)
    ids = kinds_of_documents(1, copies=256)
    figures = evaluate(model, [ids], verbose=0)
    assert max(figures["information_by_position"]) < 0.02
    assert "carry nothing" in advise(figures)
    # The estimate of `kl_parts` alone counts it.
    rng = np.random.default_rng(0)
    z = rng.standard_normal((256, 4))
    alone = kl_parts(z, np.full(z.shape, -4.0), z)["information"]
    assert alone > 1
    part = of_the_document({"information": alone, "mismatch": 0.0}, 0.0)
    assert part == {"information": 0.0, "mismatch": alone}


def test_no_latents_that_are_read_by_nobody(make_hvae):
    model = make_hvae(scale=1.0)
    narrow(model)
    kernel = model.latent_chain.lat2dec.kernel
    kernel.assign(np.zeros(kernel.shape))
    figures = evaluate(model, [kinds_of_documents(8)], verbose=0)
    assert figures["z_ablation_length_matched"] == pytest.approx(0, abs=1e-5)
    assert "the decoder does not read them" in advise(figures)


def reading(model, ids, seed, dtype="float64"):
    noise = randomness.normals(
        content_seeds(ids, model.emission, seed), ids.shape[1], model.noise_dim
    )
    out = model.infer(ops.convert_to_tensor(ids), ops.convert_to_tensor(noise))
    return {k: ops.convert_to_numpy(x).astype(dtype) for k, x in out.items()}


@pytest.mark.parametrize("name", list(CLASSES))
def test_parts_are_those_of_the_models_gaussians(make_model, make_ids, name):
    # The same posteriors and priors as in the KL, and draws of many seeds.
    model, ids = make_model(CLASSES[name]), make_ids(40, sentences=2)
    figures = evaluate(model, [ids], seed=3, verbose=0)
    json.dumps(figures)
    real = (ids != 0).any(axis=-1)
    rng, out = np.random.default_rng(0), reading(model, ids, 3)
    for place, at in enumerate(real.T):
        given = {
            key: figures[f"{key}_by_position"][place]
            for key in (*PARTS, "kl", "mi_cap")
        }
        q, p = (
            [out[f"{k}{x}"][at, place] for x in ("mean", "log_var")]
            for k in ("", "prior_")
        )
        draws = []
        for _ in range(50):
            noise = rng.standard_normal(q[0].shape)
            draws.append(kl_parts(*q, q[0] + np.exp(q[1] / 2) * noise, *p))
        informations = [x["information"] for x in draws]
        gap = given["information"] - np.mean(informations)
        assert abs(gap) < 4 * np.std(informations)
        expected = {
            **{k: draws[0][k] for k in PARTS[2:]},
            "information": given["information"],
            "mismatch": given["kl"] - given["information"],
            "kl": draws[0]["kl"],
            "mi_cap": np.log(at.sum()),
        }
        assert given == pytest.approx(expected, abs=1e-4)
    for key in PARTS:
        expected = np.average(
            figures[f"{key}_by_position"], weights=real.sum(axis=0)
        )
        assert figures[key] == pytest.approx(expected)
    assert figures["mi_cap"] == pytest.approx(np.log(real.sum()))


@pytest.mark.slow
def test_mutual_information_is_of_draws_not_of_means(make_hvae, make_ids):
    # Posteriors that overlap: at their means they would seem further apart.
    model = make_hvae(scale=1.0, latent_dim=8)
    ids = make_ids(300, sentences=1)
    narrow(model, -2.5)
    real = (ids != 0).any(axis=-1)
    noise = np.zeros((*ids.shape[:2], model.noise_dim), "float32")
    out = compiled.encode(
        model, ops.convert_to_tensor(ids), ops.convert_to_tensor(noise)
    )
    mean, log_var = (
        ops.convert_to_numpy(out[k]).astype("float64")[real]
        for k in ("mean", "log_var")
    )
    rng = np.random.default_rng(0)
    draws = [
        mi_full(
            mean,
            log_var,
            mean + np.exp(log_var / 2) * rng.standard_normal(mean.shape),
        )
        for _ in range(50)
    ]
    got = [
        evaluate(model, [ids], seed=seed, verbose=0)["mi_full"]
        for seed in range(3)
    ]
    spread = np.std(draws)
    at_means = mi_full(mean, log_var, mean)
    assert at_means > np.mean(draws) + 8 * spread
    assert np.abs(np.array(got) - np.mean(draws)).max() < 4 * spread
    assert len(set(got)) == 3


@pytest.mark.slow
def test_equal_documents_have_draws_of_their_own(make_hvae):
    # Of two kinds with posteriors that overlap: by the integral, not by the
    # two draws that equal documents share in the likelihood.
    model = make_hvae(scale=1.0, latent_dim=1)
    ids = kinds_of_documents(2, copies=600, sentences=1)
    means = np.unique(reading(model, ids[:20], 0)["mean"])
    narrow(model, 2 * np.log(np.ptp(means) / 2))
    grid = np.linspace(-9, 9, 20_001)
    logs = norm.logpdf(grid, [[-1.0], [1.0]])
    excess = logs - logsumexp(logs, axis=0) + np.log(2)
    expected = (np.exp(logs) * excess).mean(axis=0).sum() * (grid[1] - grid[0])
    assert 0.05 < expected < 0.6
    for seed in range(3):
        figures = evaluate(model, [ids], seed=seed, verbose=0)
        assert figures["information"] == pytest.approx(expected, abs=0.05)


def test_at_its_cap(make_hvae):
    model = make_hvae(scale=1.0)
    ids = kinds_of_documents(12, copies=1, sentences=1)
    narrow(model, -15.0)
    figures = evaluate(model, [ids], verbose=0)
    said = summary(figures)
    assert "(at its cap)" in said and "(at its cap at a position)" in said
    assert "at least" in advise(figures)
    narrow(model, 3.0)
    assert "at its cap" not in summary(evaluate(model, [ids], verbose=0))


# --- Length ---


def sentences_of_lengths(count=200, seed=0):
    """Single sentences of 1 to 8 random words."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((count, 1, 9), "int32")
    for row in ids[:, 0]:
        length = rng.integers(1, 9)
        row[:length] = rng.integers(EOS_ID + 1, 20, length)
        row[length] = EOS_ID
    return ids


def test_a_model_that_carries_the_length_alone(make_hvae):
    model, ids = (
        make_hvae(scale=1.0, seed=4, latent_dim=4, **UNBOUNDED),
        sentences_of_lengths(),
    )
    narrow(model, -15.0)
    # All words look the same to it.
    table = model.emission.token_embedding.embeddings
    value = np.array(ops.convert_to_numpy(table))
    value[EOS_ID + 1 :] = value[EOS_ID + 1]
    table.assign(value)
    figures = evaluate(model, [ids[:90], ids[90:]], verbose=0)
    assert figures["length_matched"] == 1.0
    assert abs(figures["z_ablation_length_matched"]) < 0.01
    assert figures["z_ablation"] > 0.2
    assert figures["length_r2"] > 0.8
    assert figures["information"] == pytest.approx(np.log(8), abs=0.1)
    assert "mostly the length" in advise(figures)


def test_length_matched_latents_are_of_the_partners(make_hvae):
    # nll with the latent that each gets, one by one.
    model, ids = make_hvae(scale=1.0), sentences_of_lengths(9)
    ids = ids[np.argsort((ids != 0).sum(axis=(1, 2)))]
    tokens = (ids != 0).sum(axis=(1, 2))
    figures = evaluate(model, [ids[:2], ids[2:]], seed=3, verbose=0)
    z = reading(model, ids, 3, "float32")["z"]

    def nll(ids, z):
        tensors = map(ops.convert_to_tensor, (ids, z))
        out = compiled.nll_given_z(model, *tensors)["nll"]
        return ops.convert_to_numpy(out)[:, 0]

    own, rises, same = nll(ids, z), [], []
    for row in range(9):
        others = [x for x in range(9) if x != row]
        distance = abs(tokens[others] - tokens[row])
        nearest = [x for x, d in zip(others, distance) if d == distance.min()]
        rises.append({(nll(ids, z[[x] * 9]) - own)[row] for x in nearest})
        same.append(distance.min() == 0)
    assert 0 < sum(same) < 9
    assert figures["length_matched"] == pytest.approx(np.mean(same))
    got = 9 * figures["z_ablation_length_matched"]
    sums = {0.0}
    for some in rises:  # any choice among equally near ones
        sums = {a + b for a in sums for b in some}
    assert min(abs(got - x) for x in sums) < 1e-4


@pytest.mark.slow
def test_batches_do_not_matter(make_hvae, make_ids):
    model, ids = make_hvae(), make_ids(documents=20)
    one = evaluate(model, [ids], verbose=0)
    order = np.random.default_rng(0).permutation(20)
    parts = [ids[order[:7]], ids[order[7:8]], ids[order[8:]]]
    other = evaluate(model, parts, verbose=0)
    for key in one:
        if key.startswith(("information", "mismatch", "length", "mi_", "eff")):
            assert other[key] == pytest.approx(one[key], rel=1e-3, abs=1e-4)
    assert other["z_ablation_length_matched"] == pytest.approx(
        one["z_ablation_length_matched"], rel=1e-3
    )


@pytest.mark.parametrize("name", ["vhred", "vhcr"])
def test_a_decoder_of_the_text_before_has_no_matched_ablation(
    make_model, make_ids, name
):
    figures = evaluate(make_model(CLASSES[name]), [make_ids(6)], verbose=0)
    assert figures["z_ablation_length_matched"] is None
    assert figures["length_matched"] is None
    assert re.search("z-ablation, same length +n/a\n", summary(figures))


# --- What is not known ---


def test_a_single_document(make_hvae, make_ids, tmp_path):
    ids = make_ids(3)[:1]
    figures = evaluate(make_hvae(), [ids], verbose=0)
    for key in ("information", "mismatch", "length_r2"):
        assert figures[key] is None
    assert figures["information_by_position"] == [None] * 4
    assert figures["z_ablation_length_matched"] is None
    assert "not known" in advise(figures) and "n/a n/a" in summary(figures)
    history = {"nll": [9.0], "kl": [1.0]}
    plot_report(tmp_path / "report.png", history, figures)
    json.dumps(figures)


def test_a_position_with_one_document_counts_nothing(make_hvae, make_ids):
    model, ids = make_hvae(), make_ids(5)[:, :2]
    ids[1:, 1] = 0
    figures = evaluate(model, [ids], verbose=0)
    first, last = figures["information_by_position"]
    assert last is None and figures["information"] == pytest.approx(first)
    assert figures["mismatch"] == pytest.approx(
        figures["kl_by_position"][0] - first, abs=1e-5
    )


def test_documents_that_begin_with_blank_sentences(make_hvae, make_ids):
    ids = make_ids(5)
    ids[:, 0] = 0
    ids[-1, 1, 0] = EOS_ID
    figures = evaluate(make_hvae(), [ids], verbose=0)
    length = len(figures["kl_by_position"])
    for key in ("information", "mi_full", "mi_cap", "active_units"):
        assert len(figures[f"{key}_by_position"]) == length


# --- The rank ---


def test_the_drift_from_one_position_to_the_next_is_no_rank(make_hvae):
    model = make_hvae(scale=1.0, latent_dim=8, prior="learned")
    narrow(model)
    figures = evaluate(model, [kinds_of_documents(1)], verbose=0)
    assert figures["effective_rank"] == 0.0
    assert not np.any(figures["mean_spectrum"])
    figures = evaluate(model, [kinds_of_documents(2)], verbose=0)
    assert 1 <= figures["effective_rank"] <= 2
    values = np.array(figures["mean_spectrum"])
    rank = values.sum() ** 2 / (values**2).sum()
    assert figures["effective_rank"] == pytest.approx(rank)
