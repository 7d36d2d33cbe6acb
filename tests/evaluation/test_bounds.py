"""Bounds of the package's models: importance weighting and particles."""

import json

import numpy as np
import pytest
import scipy.special
from keras import ops
from scipy.stats import norm

from keras_hvae import GRULM, HRED, HVAE, VHCR, VHRED, FlatVAE
from keras_hvae.evaluation import evaluate, importance_bounds, particle_bounds
from keras_hvae.evaluation.batches import content_seeds
from keras_hvae.evaluation.bounds import _particle_step, document_weights
from keras_hvae.inference import compiled, randomness

pytestmark = pytest.mark.eager

MODELS = {
    "gru_lm": GRULM,
    "hred": HRED,
    "hvae": HVAE,
    "vhred": VHRED,
    "vhcr": VHCR,
    "flat_vae": FlatVAE,
}


def slow(name):
    return pytest.param(name, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def models(make_model):
    return {name: make_model(cls) for name, cls in MODELS.items()}


def bounds(model, ids, num_samples=20, **options):
    return importance_bounds(
        model, np.array_split(ids, 2), num_samples, verbose=0, **options
    )


def log_mean_exp(weights):
    return scipy.special.logsumexp(weights, axis=0) - np.log(len(weights))


def per_unit(nats, ids):
    """nll a document, sentence and token of nats a document."""
    counts = len(ids), (ids != 0).any(-1).sum(), (ids != 0).sum()
    units = ("document", "sentence", "token")
    return {f"per_{u}": nats.sum() / n for u, n in zip(units, counts)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hvae", "vhred", "vhcr", "flat_vae"])
def test_weights_are_the_densities(models, make_ids, name):
    # −nll + log p(z) − log q(z), from the models' own Gaussians.
    model, ids = models[name], make_ids()
    weights = document_weights(model, ids, num_samples=3, seed=4)
    assert weights.shape == (3, *ids.shape[:2])
    real = (ids != 0).any(-1)
    for sample, row in enumerate(weights):
        noise = randomness.normals(
            content_seeds(ids, model.emission, 4),
            ids.shape[1],
            model.noise_dim,
            sample,
        )
        tensors = ops.convert_to_tensor(ids), ops.convert_to_tensor(noise)
        reading = {
            key: ops.convert_to_numpy(x).astype("float64")
            for key, x in model.infer(*tensors).items()
        }
        log_p, log_q = (
            norm.logpdf(
                reading["z"],
                reading[f"{prior}mean"],
                np.exp(reading[f"{prior}log_var"] / 2),
            ).sum(axis=-1)
            for prior in ("prior_", "")
        )
        nll = compiled.run_padded(
            model.runner.compiled(compiled.score),
            {"x": ids, "noise": noise},
        )["nll"]
        expected = (log_p - log_q) * real - nll
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-4)
    assert not weights[:, ~real].any()


def test_figures_are_those_of_the_weights(models, make_ids):
    # The weights of a document depend on its content only.
    model, ids = models["hvae"], make_ids(5)
    figures = bounds(model, ids, seed=4)
    weights = document_weights(model, ids, 20, seed=4).sum(axis=-1)
    joint = -log_mean_exp(weights)
    assert figures["nll"] == pytest.approx(per_unit(joint, ids), rel=1e-5)
    tokens = (ids != 0).sum()
    assert figures["tokens"] == tokens and figures["documents"] == 5
    assert figures["perplexity"] == pytest.approx(
        np.exp(joint.sum() / tokens), rel=1e-5
    )
    assert figures["standard_error"] == pytest.approx(
        joint.std(ddof=1) / np.sqrt(5), rel=1e-4
    )
    # Weights of one document lie close: no cancelled digits in the ESS.
    w = np.exp(weights - weights.max(axis=0))
    ess = np.median(w.sum(axis=0) ** 2 / (w**2).sum(axis=0))
    assert figures["ess"] == pytest.approx(ess, rel=1e-3)
    assert not figures["exact"] and figures["num_samples"] == 20
    sweep = figures["sweep"]
    assert list(sweep) == ["1", "10", "20"]
    assert sweep["1"] == pytest.approx(-weights.mean(0).sum() / tokens)
    assert sweep["20"] == pytest.approx(figures["nll"]["per_token"])
    assert figures["gap"] == pytest.approx(sweep["1"] - sweep["20"])
    json.dumps(figures)


@pytest.mark.slow
def test_calls_of_few_rows_give_the_same_weights(models, make_ids, monkeypatch):
    model, ids = models["hvae"], make_ids()
    whole = document_weights(model, ids, 5, seed=4)
    monkeypatch.setattr("keras_hvae.evaluation.bounds.ROWS", 6)
    parts = document_weights(model, ids, 5, seed=4)  # 2, 2 and 1 draws
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-5)
    assert len({float(x) for x in whole[:, 0, 0]}) == 5


@pytest.mark.parametrize("name", ["hvae", slow("vhred")])
def test_figures_of_each_document_are_its_own(models, make_ids, name):
    model, ids = models[name], make_ids(5)
    figures = bounds(model, ids, seed=4)
    of, excess = figures["by_document"], []
    documents = model.emission.unbatch(ids)
    assert [len(x) for x in documents] != sorted(map(len, documents))[::-1]
    whole = document_weights(model, ids, 20, seed=4).swapaxes(0, 1)
    firsts = document_weights(model, ids[:, :1], 20, seed=4)[..., 0].T
    for document, weights, first in zip(documents, whole, firsts):
        i = of["crc32"].index(model.emission.crc32(document))
        joint = log_mean_exp(weights.sum(axis=-1))
        assert of["nll"][i] == pytest.approx(-joint, rel=1e-4)
        tokens = (document != 0).sum()
        assert of["tokens"][i] == tokens
        assert of["conditional_tokens"][i] == (document[1:] != 0).sum()
        if name == "vhred":
            rest = log_mean_exp(weights[:, 1:].sum(axis=-1))
        else:
            rest = joint - log_mean_exp(first)
        assert of["conditional_nll"][i] == pytest.approx(
            -rest, rel=1e-4, abs=1e-4
        )
        gap = joint - weights.sum(axis=-1).mean()
        excess.append(gap - figures["gap"] * tokens)
    # Of a ratio of two sums over the documents.
    error = np.sqrt(5 * np.var(excess, ddof=1)) / (ids != 0).sum()
    assert figures["gap_standard_error"] == pytest.approx(error, rel=1e-2)


@pytest.mark.parametrize("name", ["hvae", slow("vhcr")])
def test_conditional_of_shared_latents_is_a_difference(models, make_ids, name):
    model, ids = models[name], make_ids(5)
    figures = bounds(model, ids, seed=4)["conditional"]
    longer = ids[(ids[:, 1] != 0).any(-1)]
    assert 1 < len(longer) < 5
    joint, first = (
        log_mean_exp(document_weights(model, x, 20, seed=4).sum(axis=-1))
        for x in (longer, longer[:, :1])
    )
    expected = per_unit(first - joint, longer[:, 1:])
    assert figures["nll"] == pytest.approx(expected, rel=1e-4)
    assert figures["tokens"] == (longer[:, 1:] != 0).sum()
    assert figures["estimate"] == "difference of two bounds"


@pytest.mark.parametrize("name", ["vhred", "flat_vae"])
def test_conditional_of_latents_of_their_own_is_a_bound(models, make_ids, name):
    model, ids = models[name], make_ids(5)
    figures = bounds(model, ids, seed=4)["conditional"]
    longer = ids[(ids[:, 1] != 0).any(-1)]
    weights = document_weights(model, longer, 20, seed=4)[..., 1:].sum(axis=-1)
    expected = per_unit(-log_mean_exp(weights), longer[:, 1:])
    assert figures["nll"] == pytest.approx(expected, rel=1e-4)
    assert figures["estimate"] == "bound"
    # Tighter than the −ELBO of the same sentences.
    elbo = per_unit(-weights.mean(axis=0), longer[:, 1:])
    assert figures["nll"]["per_token"] < elbo["per_token"]


@pytest.mark.parametrize("name", ["gru_lm", "hred"])
def test_models_without_latents_are_exact(models, make_ids, name):
    model, ids = models[name], make_ids(5)
    figures = bounds(model, ids)
    scores = model.score(ids)
    assert figures["nll"] == pytest.approx(per_unit(scores["nll"], ids))
    assert figures["exact"] and figures["num_samples"] == 1
    assert figures["gap"] == 0 and figures["ess"] == 1
    assert list(figures["sweep"]) == ["1"]
    rest = scores["sentence_nll"][:, 1:].sum(axis=1)
    longer = ids[(ids[:, 1] != 0).any(-1)]
    expected = per_unit(rest, longer[:, 1:])
    assert figures["conditional"]["nll"] == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hvae", "vhred", "vhcr"])
def test_one_draw_is_the_elbo(models, make_ids, name):
    # log p(z) − log q(z) and the analytic KL have the same expectation.
    model, ids = models[name], make_ids()
    draws = 400
    weights = document_weights(model, ids, draws, seed=0).sum(axis=(1, 2))
    figures = bounds(model, ids, draws)
    sweep = figures["sweep"]
    assert sweep["1"] == pytest.approx(-weights.mean() / (ids != 0).sum())
    elbos = model.score(
        np.repeat(ids, 100, axis=0), num_samples=4, seed=1, batch_size=300
    )["elbo"]
    elbos = elbos.reshape(3, 100)
    errors = (
        weights.std(ddof=1) / np.sqrt(draws),
        np.sqrt((elbos.var(axis=1, ddof=1) / 100).sum()),
    )
    gap = abs(weights.mean() - elbos.mean(axis=1).sum())
    assert gap < 3 * np.hypot(*errors)
    # The bound gets tighter with more draws; that of `evaluate` has one.
    nlls = list(sweep.values())
    assert list(sweep) == ["1", "10", "100", "400"]
    assert (np.diff(nlls) < 0).all()
    one = evaluate(model, [ids], metrics=(), verbose=0)["neg_elbo"]
    error = weights.std(ddof=1) / (ids != 0).sum()
    assert abs(one["per_token"] - sweep["1"]) < 4 * error


@pytest.mark.parametrize("name", [slow("gru_lm"), "hvae", slow("vhred")])
def test_batches_and_their_order_change_nothing(models, make_ids, name):
    model, ids = models[name], make_ids(7)
    whole, singly = (
        importance_bounds(model, batches, 12, verbose=0)
        for batches in ([ids], [ids[i : i + 1] for i in (6, 2, 0, 1, 5, 4, 3)])
    )
    for key in ("nll", "sweep"):
        assert singly[key] == pytest.approx(whole[key], rel=1e-5)
    assert singly["ess"] == pytest.approx(whole["ess"], rel=1e-3)
    assert singly["conditional"]["nll"] == pytest.approx(
        whole["conditional"]["nll"], rel=1e-4
    )
    other = importance_bounds(model, [ids], 12, seed=1, verbose=0)
    assert (other["nll"] == whole["nll"]) == (name == "gru_lm")


def test_documents_are_drawn_by_content(models, make_ids):
    model, ids = models["gru_lm"], make_ids(7)
    some, again, all_of_them = (
        importance_bounds(model, batches, max_documents=most, verbose=0)
        for batches, most in (
            ([ids], 3),
            ([ids[4:], ids[:4]], 3),
            ([ids], 9),
        )
    )
    assert some["documents"] == 3 and all_of_them["documents"] == 7
    assert again["nll"] == pytest.approx(some["nll"], rel=1e-6)
    assert some["tokens"] < all_of_them["tokens"]


def test_single_sentences_have_no_conditional(models, make_ids):
    ids = make_ids(3)[:, :1]
    for name in ("hvae", "hred"):
        assert bounds(models[name], ids)["conditional"] is None
    one = bounds(models["hred"], ids[:1])
    assert one["standard_error"] is None
    assert one["gap_standard_error"] is None


# --- Particles ---


def particles(model, ids, num_particles=20, **options):
    return particle_bounds(model, [ids], num_particles, verbose=0, **options)


@pytest.mark.slow
def test_particles_of_single_sentences_are_importance_samples(models, make_ids):
    model, ids = models["hvae"], make_ids(5)[:, :1]
    figures, iwae = particles(model, ids), bounds(model, ids)
    for key in ("nll", "standard_error", "perplexity", "tokens"):
        assert figures[key] == pytest.approx(iwae[key], rel=1e-5)
    assert figures["resamplings"] == 0 and figures["num_particles"] == 20
    json.dumps(figures)


def test_particles_without_resampling_have_the_importance_weights(
    models, make_ids
):
    # Particle k and draw k have the same noise: sentence by sentence equal.
    model, ids = models["hvae"], make_ids()
    weights = document_weights(model, ids, 4, seed=3)
    seeds = content_seeds(ids, model.emission, 3)
    documents = model.emission.unbatch(ids)
    step, z = _particle_step(model, documents, 4, seeds), None
    for i in range(ids.shape[1]):
        z, increments = step(i, z)
        real = (ids[:, i] != 0).any(-1)
        np.testing.assert_allclose(
            increments[real], weights[:, real, i].T, rtol=1e-4, atol=1e-4
        )


@pytest.mark.full  # in short: test_past_text.py, against an integral
def test_particles_reach_the_importance_weighted_bound(make_model, make_ids):
    # Both with so many draws that they are close to log p(x).
    model, ids = make_model(HVAE, scale=0.45), make_ids(1, sentences=3)
    seeds, nlls, resamplings = range(12), {}, 0
    for function in (importance_bounds, particle_bounds):
        figures = [
            function(model, [ids], 1000, seed=seed, verbose=0) for seed in seeds
        ]
        nlls[function] = [x["nll"]["per_document"] for x in figures]
        resamplings += sum(x.get("resamplings", 0) for x in figures)
    assert resamplings > 0
    errors = [np.std(x, ddof=1) / len(x) ** 0.5 for x in nlls.values()]
    gap = np.diff([np.mean(x) for x in nlls.values()]).item()
    assert abs(gap) < 3 * np.hypot(*errors)
    assert max(errors) < 0.1  # of some 27 nats


def test_particles_do_not_depend_on_batches(models, make_ids):
    model, ids = models["hvae"], make_ids(5)
    whole = particles(model, ids)
    singly = particle_bounds(
        model, [ids[i : i + 1] for i in (3, 1, 4, 0, 2)], 20, verbose=0
    )
    assert singly["nll"] == pytest.approx(whole["nll"], rel=1e-5)
    assert singly["resamplings"] == whole["resamplings"]
    steps = (ids != 0).any(-1).sum() - 5  # before which one can resample
    assert 0 < whole["resamplings"] <= steps / 5
    of, documents = whole["by_document"], model.emission.unbatch(ids)
    assert [len(x) for x in documents] != sorted(map(len, documents))[::-1]
    for row, document in list(zip(ids, documents))[1:3]:
        i = of["crc32"].index(model.emission.crc32(document))
        nll = particles(model, row[None])["nll"]["per_document"]
        assert of["nll"][i] == pytest.approx(nll, rel=1e-5)
        assert of["tokens"][i] == (row != 0).sum()


@pytest.mark.parametrize(
    "name", ["gru_lm", "hred", "vhred", "vhcr", "flat_vae"]
)
def test_particles_need_a_chain(models, make_ids, name):
    match = f"a chain of latents.* Received: {type(models[name]).__name__}$"
    with pytest.raises(ValueError, match=match):
        particles(models[name], make_ids())


def test_bad_numbers_are_named(models, make_ids):
    for function, name in (
        (importance_bounds, "num_samples"),
        (particle_bounds, "num_particles"),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must .* Received: 0"):
            function(models["hvae"], [make_ids()], 0, verbose=0)
        with pytest.raises(ValueError, match="`dataset` must have a document"):
            function(models["hvae"], [], 4, verbose=0)
