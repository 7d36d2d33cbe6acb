"""The figures of a model on a corpus."""

import zlib

import keras
import numpy as np

from keras_hvae.evaluation import latents
from keras_hvae.models import compiled, randomness


def evaluate(model, dataset, seed=0, verbose=1):
    """Measures likelihood and latents of a model on a dataset.

    β = 1, no dropout, no free bits; one posterior draw; the KL is analytic
    at the drawn latents. Sums run over the whole dataset in float64 and are
    divided at the end. All figures are in nats.

    Args:
        model: an `HVAE`.
        dataset: batches of ids `(B, n, m)`, such as `corpus.test`.
        seed: of the posterior draws.
        verbose: whether to show a progress bar.

    Returns:
        A dict that JSON can hold:

        - `"documents"`, `"sentences"`, `"tokens"`: counts, `[EOS]` is a token;
        - `"nll"`, `"kl"`, `"neg_elbo"`: a dict each, `"per_document"`,
          `"per_sentence"`, `"per_token"`;
        - `"perplexity_bound"`: exp(−ELBO / tokens);
        - `"kl_by_position"`: KL a sentence at position 1 … n;
        - `"active_units"`, `"latent_dim"`, `"mean_variances"` (by dimension):
          see `latents.active_units`;
        - `"z_ablation"`: how much the nll of a sentence rises if it gets the
          latent of another document of its batch; 0 for a collapsed model,
          `None` where no batch has two documents;
        - `"active_units_by_position"`.

    Raises:
        ValueError: if the dataset has no document, or something other than
            batches of ids.
    """
    totals = dict.fromkeys(("documents", "sentences", "tokens"), 0)
    totals |= dict.fromkeys(("nll", "kl", "ablated", "rise"), 0.0)
    by_position, by_place, means = [], [], []
    bar = keras.utils.Progbar(
        _length(dataset), verbose=verbose, unit_name="batch"
    )
    for ids in dataset:
        ids = keras.ops.convert_to_numpy(ids)
        if ids.ndim != 3 or not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(
                "`dataset` must give batches of int ids (documents, "
                f"sentences, words). Received: {ids.dtype} of shape {ids.shape}"
            )
        real = (ids != 0).any(axis=-1)  # (B, n)
        # By content: the draws do not depend on batches or on their order.
        seeds = [(seed, zlib.crc32(row[row != 0].tobytes())) for row in ids]
        draw, mean, rise = _measure(model, ids, real, seeds)
        totals["documents"] += int(real.any(axis=1).sum())
        totals["sentences"] += int(real.sum())
        totals["tokens"] += int((ids != 0).sum())
        for key in ("nll", "kl"):
            totals[key] += draw[key].sum(dtype="float64")
        totals["ablated"] += len(rise)
        totals["rise"] += rise.sum(dtype="float64")
        by_position.append((draw["kl"].sum(axis=0), real.sum(axis=0)))
        means.append(mean[real])
        for place in range(ids.shape[1]):
            if place == len(by_place):
                by_place.append([])
            if real[:, place].any():
                by_place[place].append(mean[real[:, place], place])
        bar.add(1)
    if not totals["documents"]:
        raise ValueError("`dataset` must have a document. Received: none")
    means = np.concatenate(means)
    neg_elbo = totals["nll"] + totals["kl"]
    return {
        **{key: totals[key] for key in ("documents", "sentences", "tokens")},
        "nll": _averages(totals["nll"], totals),
        "kl": _averages(totals["kl"], totals),
        "neg_elbo": _averages(neg_elbo, totals),
        "perplexity_bound": float(np.exp(neg_elbo / totals["tokens"])),
        "kl_by_position": _position_averages(by_position),
        "active_units": latents.active_units(means),
        "latent_dim": model.latent_dim,
        "mean_variances": latents.mean_variances(means).tolist(),
        "active_units_by_position": [
            latents.active_units(np.concatenate(x)) for x in by_place if x
        ],
        "z_ablation": totals["rise"] / totals["ablated"]
        if totals["ablated"]
        else None,
    }


def summary(figures):
    """The figures of `evaluate` as a short text.

    Args:
        figures: what `evaluate` returned.

    Returns:
        A string of several lines.
    """
    lines = [
        "{documents:,} windows, {sentences:,} sentences, {tokens:,} tokens; "
        "nats a sentence:".format(**figures)
    ]
    lines += [
        f"  {name:<22}{figures[key]['per_sentence']:8.2f}"
        for name, key in (("nll", "nll"), ("KL", "kl"), ("-ELBO", "neg_elbo"))
    ]
    positions = " ".join(f"{kl:.1f}" for kl in figures["kl_by_position"])
    ablation = figures["z_ablation"]
    ablation = "     n/a" if ablation is None else f"{ablation:8.2f}"
    return "\n".join(
        [
            *lines,
            f"  {'KL by position':<22}   {positions}",
            f"  {'z-ablation':<22}{ablation}",
            f"perplexity (bound)      {figures['perplexity_bound']:8.1f}",
            "active units            {active_units:5d} of {latent_dim}".format(
                **figures
            ),
        ]
    )


def _measure(model, ids, real, seeds):
    """A draw's nll and kl, posterior means, and each nll's rise."""
    noise = randomness.normals(seeds, ids.shape[1], model.latent_dim)
    score, encode, given_z = (
        model.runner.verb(function)
        for function in (compiled.score, compiled.encode, compiled.nll_given_z)
    )
    draw = compiled.run_padded(score, {"token_ids": ids, "noise": noise})
    mean = compiled.run_padded(
        encode, {"token_ids": ids, "noise": np.zeros_like(noise)}
    )["mean"]
    z, replaced = latents.shuffle_documents(draw["z"], real)
    ablated = compiled.run_padded(given_z, {"token_ids": ids, "z": z})
    return draw, mean, (ablated["nll"] - draw["nll"])[replaced]


def _averages(total, totals):
    return {
        f"per_{unit}": float(total / totals[f"{unit}s"])
        for unit in ("document", "sentence", "token")
    }


def _position_averages(by_position):
    """Averages over the documents that have a sentence at the position."""
    length = max(len(kl) for kl, _ in by_position)
    sums = np.zeros((2, length))
    for parts in by_position:
        for row, part in zip(sums, parts):
            row[: len(part)] += part
    kl, count = sums[:, sums[1] > 0]
    return (kl / count).tolist()


def _length(dataset):
    try:
        return len(dataset)
    except TypeError:
        return None
