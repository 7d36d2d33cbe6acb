"""The figures of a model on a corpus."""

import numpy as np

from keras_hvae.arguments import check_choice
from keras_hvae.evaluation import bounds, writing
from keras_hvae.evaluation.batches import (
    content_seeds,
    count_unknown,
    read_batches,
    warn_of_unknown,
)
from keras_hvae.evaluation.estimators import latents
from keras_hvae.evaluation.estimators.mutual_information import (
    mi_batch32,
    mi_full,
)
from keras_hvae.evaluation.text.word_lists import import_library
from keras_hvae.inference import compiled, randomness
from keras_hvae.vocabularies import check_vocabulary

METRICS = (
    "likelihood",
    "latents",
    "iwae",
    "particles",
    "reconstruction",
    "samples",
    "responses",
)


def evaluate(
    model,
    dataset,
    metrics=("likelihood", "latents"),
    train=None,
    vectors=None,
    num_samples=500,
    num_sentences=1000,
    max_documents=None,
    seed=0,
    verbose=1,
):
    """Measures a model on a dataset.

    β = 1, no dropout, no free bits. Sums run over the whole dataset in
    float64 and are divided at the end; batches and their order change
    nothing but the partners of `z_ablation`. All figures are in nats.

    Args:
        model: an `HVAE` or another model of the package.
        dataset: batches of ids `(B, n, m)`, such as `corpus.test`.
        metrics: names of the groups of figures below.
        train: batches of training ids, for `"samples"`.
        vectors: word vectors, for `"responses"`; see `embedding_metrics`.
        num_samples: K of `"iwae"` and `"particles"`.
        num_sentences: how many sentences `"samples"` writes.
        max_documents: how many documents `"iwae"` and the groups behind it
            draw; `None` for all.
        seed: of all draws.
        verbose: whether to show progress bars.

    Returns:
        A dict that JSON can hold. Always:

        - `"documents"`, `"sentences"`, `"tokens"`: counts, `[EOS]` is a
          token; `"unknown_rate"`, the share of `[UNK]` among the words;
        - `"nll"`, `"kl"`, `"neg_elbo"` of one posterior draw, the KL
          analytic at the drawn latents: a dict each, `"per_document"`,
          `"per_sentence"`, `"per_token"`;
        - `"perplexity_bound"`: exp(−ELBO / tokens);
        - `"kl_by_position"`: KL a sentence at position 1 … n;
        - `"conditional"`: nll, KL, −ELBO and perplexity bound of sentences
          2 … n given the text before; `None` where their terms alone do not
          bound it (`HVAE`, `VHCR`: see `"iwae"`).

        `"latents"`: `"active_units"`, `"latent_dim"`, `"mean_variances"` (by
        dimension), `"active_units_by_position"`, see `latents.active_units`;
        `"mi_batch32"`, `"mi_full"`, and `"mi_full_by_position"`, along the
        path of the means (`None` with too few sentences); `"z_ablation"`:
        how much the nll of a sentence rises if it gets the latent of another
        document of its batch (of a model that also writes from the text
        before: a latent from the prior). A collapsed model has 0; `None`
        where no batch has two documents.

        `"iwae"`, `"particles"`, `"reconstruction"`, `"samples"`,
        `"responses"`: a dict each, see `importance_bounds`,
        `particle_bounds`, `reconstruction`, `samples`, `responses`.

    Raises:
        ValueError: if the dataset has no document, or something other than
            batches of ids, or ids of another vocabulary than the model's, or
            for an unknown metric.
    """
    _check_metrics(model, metrics)
    check_vocabulary(model, dataset, train)
    figures = _likelihood_and_latents(
        model, dataset, "latents" in metrics, seed, verbose
    )
    options = {"max_documents": max_documents, "seed": seed}
    if "iwae" in metrics:
        figures["iwae"] = bounds.importance_bounds(
            model, dataset, num_samples, verbose=verbose, **options
        )
    if "particles" in metrics:
        figures["particles"] = bounds.particle_bounds(
            model, dataset, num_samples, verbose=verbose, **options
        )
    if "reconstruction" in metrics:
        figures["reconstruction"] = writing.reconstruction(
            model, dataset, **options
        )
    if "samples" in metrics:
        figures["samples"] = writing.samples(
            model, dataset, train, num_sentences, seed
        )
    if "responses" in metrics:
        figures["responses"] = writing.responses(
            model, dataset, vectors=vectors, **options
        )
    return figures


def _check_metrics(model, metrics):
    """Before anything is measured: whether all can be."""
    for name in metrics:
        check_choice(METRICS, metrics=name)
    chain = model.writes_from_latents and not model.conditional_terms
    for name, has in (
        ("particles", chain),
        ("reconstruction", model.latent_dim > 0),
    ):
        if name in metrics and not has:
            raise ValueError(
                f"`metrics` must be without {name!r} for such a model. "
                f"Received: a {type(model).__name__}"
            )
    if not {"reconstruction", "samples", "responses"}.isdisjoint(metrics):
        for library in ("nltk", "sacrebleu"):
            import_library(library)


def _likelihood_and_latents(model, dataset, with_latents, seed, verbose):
    with_latents = with_latents and model.latent_dim > 0
    sums = {scope: dict.fromkeys(TOTALS, 0.0) for scope in ("joint", "rest")}
    unknown, by_position, parts = 0, [], []
    for ids in read_batches(dataset, verbose):
        real = (ids != 0).any(axis=-1)  # (B, n)
        seeds = content_seeds(ids, seed)
        noise = randomness.normals(seeds, ids.shape[1], model.noise_dim)
        draw = compiled.run_padded(
            model.runner.compiled(compiled.score),
            {"x": ids, "noise": noise},
        )
        for scope, first in (("joint", 0), ("rest", 1)):
            _add(sums[scope], draw, ids[:, first:], first)
        unknown += count_unknown(ids)
        by_position.append((draw["kl"].sum(axis=0), real.sum(axis=0)))
        if with_latents:
            parts.append(_latents(model, ids, real, noise, draw))
    total, rest = sums["joint"], sums["rest"]
    words = max(total["tokens"] - total["sentences"], 1)
    figures = {
        **{key: int(total[key]) for key in TOTALS[:3]},
        "unknown_rate": warn_of_unknown(unknown, words),
        **_averages(total),
        "kl_by_position": _position_averages(by_position),
        "conditional": _averages(rest)
        if model.conditional_terms and rest["tokens"]
        else None,
    }
    if with_latents:
        figures |= _latent_figures(parts, seed)
    return figures


TOTALS = ("documents", "sentences", "tokens", "nll", "kl")


def _add(sums, draw, ids, first):
    sums["documents"] += (ids != 0).any(axis=(1, 2)).sum()
    sums["sentences"] += (ids != 0).any(axis=-1).sum()
    sums["tokens"] += (ids != 0).sum()
    for key in ("nll", "kl"):
        sums[key] += draw[key][:, first:].sum(dtype="float64")


def _latents(model, ids, real, noise, draw):
    """Posteriors along the means' path, a draw of them, each nll's rise."""
    paths = compiled.run_padded(
        model.runner.compiled(compiled.encode),
        {"x": ids, "noise": np.zeros_like(noise)},
    )
    mean, log_var = paths["mean"], paths["log_var"]
    if model.writes_from_latents:
        z, replaced = latents.shuffle_documents(draw["z"], real)
        ablated = compiled.run_padded(
            model.runner.compiled(compiled.nll_given_z), {"x": ids, "z": z}
        )
    else:
        replaced = real
        ablated = compiled.run_padded(
            model.runner.compiled(compiled.nll_from_prior),
            {"x": ids, "noise": noise},
        )
    rise = (ablated["nll"] - draw["nll"])[replaced]
    place = np.broadcast_to(np.arange(real.shape[1]), real.shape)[real]
    z = mean + np.exp(0.5 * log_var) * noise
    return mean[real], log_var[real], z[real], place, rise


def _latent_figures(parts, seed):
    mean, log_var, z, place, rise = (np.concatenate(x) for x in zip(*parts))
    # In an order of their own: that of the dataset decides nothing.
    order = np.lexsort(z.T)
    mean, log_var, z, place = (x[order] for x in (mean, log_var, z, place))
    positions = [place == i for i in range(place.max() + 1)]
    return {
        "active_units": latents.active_units(mean),
        "latent_dim": mean.shape[-1],
        "mean_variances": latents.mean_variances(mean).tolist(),
        "active_units_by_position": [
            latents.active_units(mean[at]) for at in positions
        ],
        "mi_batch32": mi_batch32(mean, log_var, z, seed)
        if len(mean) >= 32
        else None,
        "mi_full": _mi(mean, log_var, z),
        "mi_full_by_position": [
            _mi(mean[at], log_var[at], z[at]) for at in positions
        ],
        "z_ablation": rise.mean(dtype="float64").item() if len(rise) else None,
    }


def _mi(mean, log_var, z):
    return mi_full(mean, log_var, z) if len(mean) > 1 else None


def _averages(total):
    nats = {
        "nll": total["nll"],
        "kl": total["kl"],
        "neg_elbo": total["nll"] + total["kl"],
    }
    averages = {
        key: {
            f"per_{unit}": float(x / total[f"{unit}s"])
            for unit in ("document", "sentence", "token")
        }
        for key, x in nats.items()
    }
    bound = np.exp(nats["neg_elbo"] / total["tokens"])
    return {**averages, "perplexity_bound": float(bound)}


def _position_averages(by_position):
    """Averages over the documents that have a sentence at the position."""
    length = max(len(kl) for kl, _ in by_position)
    sums = np.zeros((2, length))
    for parts in by_position:
        for row, part in zip(sums, parts):
            row[: len(part)] += part
    kl, count = sums[:, sums[1] > 0]
    return (kl / count).tolist()
