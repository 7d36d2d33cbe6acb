"""The figures of a model on a corpus."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from keras_hvae.arguments import check_choice
from keras_hvae.emissions.documents import warn_of_unknown
from keras_hvae.evaluation import bounds, writing
from keras_hvae.evaluation.batches import (
    content_seeds,
    count_unknown,
    read_batches,
)
from keras_hvae.evaluation.latent_figures import LatentFigures
from keras_hvae.evaluation.text.word_lists import import_library
from keras_hvae.inference import compiled, randomness
from keras_hvae.models.document_model import DocumentModel
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
    model: DocumentModel,
    dataset: Iterable,
    metrics: Collection[str] = ("likelihood", "latents"),
    train: Iterable | None = None,
    vectors: Mapping[str, np.ndarray] | None = None,
    num_samples: int = 500,
    num_sentences: int = 1000,
    max_documents: int | None = None,
    seed: int = 0,
    verbose: int = 1,
) -> dict:
    """Measures a model on a dataset.

    β = 1, no dropout, no free bits. Sums run over the whole dataset in
    float64 and are divided at the end; batches and their order change
    nothing but the partners of `z_ablation`. All figures are in nats.

    Args:
        model: an `HVAE` or another model of the package.
        dataset: batches of documents, such as `corpus.test`.
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
        - `"perplexity_bound"`: exp(−ELBO / tokens); of frames there are
          `"frames"` and `"per_frame"`, and no perplexity;
        - `"kl_by_position"`: KL a sentence at position 1 … n;
        - `"conditional"`: nll, KL, −ELBO and perplexity bound of sentences
          2 … n given the text before; `None` where their terms alone do not
          bound it (`HVAE`, `VHCR`: see `"iwae"`).

        `"latents"`, of a model that has some (`None` where there are too few
        sentences):

        - `"information"` + `"mismatch"`: what the KL of a sentence pays for,
          see `kl_parts`: information on its document, and what
          posteriors and prior differ by for all documents alike. Of the
          mismatch `"total_correlation"` and `"dimension_mismatch"`;
          `"matched_kl"`, the KL to a prior with the posteriors' moments. All
          five over the positions with two sentences or more, and
          `"…_by_position"`;
        - `"mi_full"`, `"mi_full_by_position"`, `"mi_batch32"`: along the path
          of the means; `"mi_cap"`, `"mi_cap_by_position"`: log N, what
          `"mi_full"` and `"information"` cannot be above;
        - `"z_ablation"`: how much the nll of a sentence rises if it gets the
          latent of another document of its batch (of a model that also
          writes from the text before: a latent from the prior, along a
          chain all of them, so that the rise of `HVAE(past="text")` is not
          to be compared with that of `VHRED`). 0 if the
          decoder does not read the latents; `None` where no batch has two
          documents;
        - `"z_ablation_length_matched"`: the same with the latent of another
          sentence of as many tokens, see `length_partners`; 0 if
          all that the decoder reads is the length. `"length_matched"`: the
          share of them that has exactly as many. `None` for a model that
          also writes from the text before;
        - `"length_r2"`: see `length_r2`;
        - `"effective_rank"` of the means at a position (pooled: less their
          average there), `"effective_rank_by_position"`, `"mean_spectrum"`;
        - `"active_units"`, `"active_units_by_position"`, `"mean_variances"`
          (by dimension): `active_units` assumes a prior N(0, I), and means
          that are apart need not tell anything that a KL pays for;
        - `"latent_dim"`; `"rate"`, what the model was told to carry, or
          `None`.

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
    options: dict[str, Any] = {"max_documents": max_documents, "seed": seed}
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
    words = model.emission.unit == "token"
    for name, has in (
        ("particles", model.has_chain),
        ("reconstruction", words and model.latent_dim > 0),
        ("samples", words),
        ("responses", words),
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
    gathered = None
    if with_latents and model.latent_dim:
        gathered = LatentFigures(model, seed)
    sums = {scope: dict.fromkeys(TOTALS, 0.0) for scope in ("joint", "rest")}
    emission, runner = model.emission, model.runner
    unknown, by_position = 0, []
    for x in read_batches(dataset, emission, verbose):
        real, units = runner.mask(x), runner.units(x)  # (B, n)
        seeds = content_seeds(emission.unbatch(x), emission, seed)
        noise = randomness.normals(seeds, real.shape[1], model.noise_dim)
        draw = runner.run(compiled.score, x=x, noise=noise)
        for scope, first in (("joint", 0), ("rest", 1)):
            _add(sums[scope], draw, real[:, first:], units[:, first:], first)
        if emission.unit == "token":
            unknown += count_unknown(x)
        by_position.append((draw["kl"].sum(axis=0), real.sum(axis=0)))
        if gathered:
            gathered.add(x, seeds, noise, draw)
    total, rest = sums["joint"], sums["rest"]
    figures = {
        "documents": int(total["documents"]),
        "sentences": int(total["sentences"]),
        f"{emission.unit}s": int(total["units"]),
        **_averages(total, emission.unit),
        "kl_by_position": _position_averages(by_position),
        "conditional": _averages(rest, emission.unit)
        if model.conditional_terms and rest["units"]
        else None,
    }
    if emission.unit == "token":
        words = max(total["units"] - total["sentences"], 1)
        figures["unknown_rate"] = warn_of_unknown(unknown, words)
    if gathered:
        figures |= gathered.figures()
    return figures


TOTALS = ("documents", "sentences", "units", "nll", "kl")


def _add(sums, draw, real, units, first):
    sums["documents"] += real.any(axis=1).sum()
    sums["sentences"] += real.sum()
    sums["units"] += units.sum()
    for key in ("nll", "kl"):
        sums[key] += draw[key][:, first:].sum(dtype="float64")


def _averages(total, unit):
    nats = {
        "nll": total["nll"],
        "kl": total["kl"],
        "neg_elbo": total["nll"] + total["kl"],
    }
    averages = {
        key: {
            "per_document": float(x / total["documents"]),
            "per_sentence": float(x / total["sentences"]),
            f"per_{unit}": float(x / total["units"]),
        }
        for key, x in nats.items()
    }
    # Not of densities: it would depend on the unit of the data.
    if unit == "token":
        bound = np.exp(nats["neg_elbo"] / total["units"])
        averages["perplexity_bound"] = float(bound)
    return averages


def _position_averages(by_position):
    """Averages over the documents that have a sentence at the position."""
    length = max(len(kl) for kl, _ in by_position)
    sums = np.zeros((2, length))
    for parts in by_position:
        for row, part in zip(sums, parts):
            row[: len(part)] += part
    kl, count = sums[:, sums[1] > 0]
    return (kl / count).tolist()
