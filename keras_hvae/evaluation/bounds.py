"""Importance-weighted and particle bounds of a model's likelihood."""

from collections.abc import Iterable, Sequence

import keras
import numpy as np
from keras import tree

from keras_hvae.arguments import check_positive_int
from keras_hvae.evaluation.batches import content_seeds, draw_documents
from keras_hvae.evaluation.estimators import importance
from keras_hvae.evaluation.estimators.particles import particle_bound
from keras_hvae.inference import compiled, randomness
from keras_hvae.models.document_model import DocumentModel

# Largest number of rows, and of words, of a compiled call.
ROWS, WORDS = 256, 2**15


def importance_bounds(
    model: DocumentModel,
    dataset: Iterable,
    num_samples: int = 500,
    max_documents: int | None = None,
    seed: int = 0,
    verbose: int = 1,
) -> dict:
    """−log p̂ by importance weighting, document by document.

    Joint: of all sentences. Conditional: of sentences 2 … n given the first.
    Where these have latents of their own (`model.conditional_terms`), their
    terms alone are weighted, which is a bound. Otherwise (`HVAE`, `VHCR`)
    log p̂(x) − log p̂(x_1) is an *estimate*, a difference of two bounds:
    the second, of the first sentence as a document, is taken with as many
    draws and much tighter. A model without latents needs no draws: its
    figures are exact.

    Args:
        model: any model of the package.
        dataset: batches of documents.
        num_samples: K.
        max_documents: how many documents to draw (by their content), or
            `None` for all.
        seed: int.
        verbose: whether to show a progress bar.

    Returns:
        A dict of figures in nats that JSON can hold. `"nll"`: −log p̂ a
        document, sentence and token; `"standard_error"` a document,
        `"perplexity"`; `"conditional"`: the same; `"ess"`: median effective
        sample size; `"sweep"`: nll a token for K = 1, 10, 100, … and
        `num_samples`; `"gap"`: by how much the bound is below −ELBO, a
        token, and its `"gap_standard_error"`; `"by_document"`: lists with a
        number for each document, longest first: `"crc32"` of its ids,
        `"nll"`, `"tokens"`, `"conditional_nll"`, `"conditional_tokens"`; the
        numbers.

    Raises:
        ValueError: if `num_samples` is not an integer >= 1.
    """
    check_positive_int(num_samples=num_samples)
    emission = model.emission
    documents = draw_documents(dataset, emission, max_documents, seed)
    if not model.latent_dim:
        num_samples = 1
    bar = keras.utils.Progbar(
        len(documents), verbose=verbose, unit_name="document"
    )
    rows = {"joint": [], "conditional": [], "ess": [], "sweep": []}
    sizes = [x for x in importance.SWEEP_SIZES if x < num_samples]
    sizes.append(num_samples)
    order = _in_order(documents, emission)
    for group in _groups(order):
        weights = document_weights(model, group, num_samples, seed)
        joint = importance.iwae(weights.sum(axis=-1))
        rows["joint"].append(-joint["log_likelihood"])
        rows["ess"].append(joint["ess"])
        rows["sweep"].append(importance.iwae_sweep(weights.sum(axis=-1), sizes))
        if model.conditional_terms:
            rest = importance.iwae(weights[..., 1:].sum(axis=-1))
            rows["conditional"].append(-rest["log_likelihood"])
        else:
            first = document_weights(
                model, [x[:1] for x in group], num_samples, seed
            )
            first = importance.iwae(first.sum(axis=-1))["log_likelihood"]
            rows["conditional"].append(first - joint["log_likelihood"])
        bar.add(len(group))
    counts = np.array(
        [
            [1, len(x), units.sum(), len(x) - 1, units[1:].sum()]
            for x, units in zip(order, _units(model, order))
        ]
    )
    joint, rest = (
        np.concatenate(rows[key]) for key in ("joint", "conditional")
    )
    tokens = counts[:, 2].sum()
    sweep = {
        str(size): float(-sum(x[size].sum() for x in rows["sweep"]) / tokens)
        for size in rows["sweep"][0]
    }
    gap = sweep["1"] - float(joint.sum() / tokens)
    one = -np.concatenate([x[1] for x in rows["sweep"]])
    # Each document's part of the error of a ratio of two sums.
    excess = one - joint - gap * counts[:, 2]
    longer = counts[:, 3] > 0
    return {
        **_figures(joint, counts[:, :3], emission.unit),
        "by_document": {
            "crc32": [emission.crc32(x) for x in order],
            "nll": joint.tolist(),
            f"{emission.unit}s": counts[:, 2].tolist(),
            "conditional_nll": rest.tolist(),
            f"conditional_{emission.unit}s": counts[:, 4].tolist(),
        },
        "num_samples": num_samples,
        "exact": not model.latent_dim,
        "documents": len(order),
        "ess": float(np.median(np.concatenate(rows["ess"]))),
        "sweep": sweep,
        "gap": gap,
        "gap_standard_error": float(
            np.sqrt(len(order) * np.var(excess, ddof=1)) / tokens
        )
        if len(order) > 1
        else None,
        "conditional": {
            **_figures(
                rest[longer], counts[longer][:, [0, 3, 4]], emission.unit
            ),
            "estimate": "bound"
            if model.conditional_terms
            else "difference of two bounds",
        }
        if longer.any()
        else None,
    }


def document_weights(
    model: DocumentModel,
    documents: Sequence[np.ndarray],
    num_samples: int,
    seed: int,
) -> np.ndarray:
    """log-weights of each sentence: `(K, B, n)`, float64.

    Args:
        model: any model of the package.
        documents: B arrays `(n_i, ...)`.
        num_samples: K.
        seed: int; document and draw have a stream of their own.
    """
    x = model.emission.batch(documents)
    seeds = content_seeds(documents, model.emission, seed)
    batch, sentences = model.runner.mask(x).shape
    size = max(1, min(ROWS // batch, WORDS // _size(x)))
    parts = []
    for start in range(0, num_samples, size):
        samples = range(start, min(start + size, num_samples))
        noise = np.stack(
            [
                randomness.normals(seeds, sentences, model.noise_dim, sample)
                for sample in samples
            ]
        )  # (K, B, n, d)
        out = model.runner.run(
            compiled.score,
            x=tree.map_structure(_tiled(len(samples)), x),
            noise=noise.reshape(len(samples) * batch, *noise.shape[2:]),
        )
        weights = out["log_ratio"].astype("float64") - out["nll"]
        parts.append(weights.reshape(len(samples), batch, sentences))
    return np.concatenate(parts)


def _tiled(count):
    return lambda a: np.tile(a, (count, *[1] * (a.ndim - 1)))


def particle_bounds(
    model: DocumentModel,
    dataset: Iterable,
    num_particles: int = 100,
    max_documents: int | None = None,
    seed: int = 0,
    verbose: int = 1,
) -> dict:
    """The resampled particle bound of an `HVAE`: see `particle_bound`.

    Args:
        model: an `HVAE`.
        dataset, max_documents, seed, verbose: see `importance_bounds`.
        num_particles: K.

    Returns:
        A dict: `"nll"`, `"standard_error"`, `"perplexity"`, `"by_document"`
        as of `importance_bounds` but of whole documents only,
        `"resamplings"`, their average number in a document, and the numbers.

    Raises:
        ValueError: for a model without a chain of latents.
    """
    check_positive_int(num_particles=num_particles)
    if not model.has_chain:
        raise ValueError(
            "The particle bound needs a model with a chain of latents, such "
            f"as HVAE. Received: {type(model).__name__}"
        )
    emission = model.emission
    documents = draw_documents(dataset, emission, max_documents, seed)
    bar = keras.utils.Progbar(
        len(documents), verbose=verbose, unit_name="document"
    )
    order = _in_order(documents, emission)
    nats, resamplings = [], []
    for group in _groups(order, ROWS // num_particles):
        seeds = content_seeds(group, emission, seed)
        out = particle_bound(
            _particle_step(model, group, num_particles, seeds),
            [len(x) for x in group],
            num_particles,
            seeds,
        )
        nats.append(-out["log_likelihood"])
        resamplings.append(out["resamplings"])
        bar.add(len(group))
    sizes = np.array(
        [
            [1, len(x), units.sum()]
            for x, units in zip(order, _units(model, order))
        ]
    )
    nats = np.concatenate(nats)
    return {
        **_figures(nats, sizes, emission.unit),
        "by_document": {
            "crc32": [emission.crc32(x) for x in order],
            "nll": nats.tolist(),
            f"{emission.unit}s": sizes[:, 2].tolist(),
        },
        "num_particles": num_particles,
        "documents": len(order),
        "resamplings": float(np.concatenate(resamplings).mean()),
    }


def _particle_step(model, documents, num_particles, seeds):
    """`step` of `particle_bound` for the documents."""
    runner = model.runner
    x = model.emission.batch(documents)
    batch, sentences = runner.mask(x).shape
    given = runner.run(compiled.contexts, x=x)
    noise = np.stack(
        [
            randomness.normals(seeds, sentences, model.noise_dim, particle)
            for particle in range(num_particles)
        ],
        axis=1,
    )  # (B, K, n, d)

    def rows(a):
        return np.repeat(a, num_particles, axis=0)

    # With `past="text"`.
    before = model.latent_chain.before(given["contexts"])
    if before is not None:
        before = keras.ops.convert_to_numpy(before)

    def step(i, z):
        epsilon = noise[:, :, i].reshape(-1, noise.shape[-1])
        previous = np.zeros_like(epsilon)
        if z is not None:
            previous = z.reshape(epsilon.shape).astype("float32")
        out = runner.run(
            compiled.particle_step,
            x=tree.map_structure(lambda a: rows(a[:, i : i + 1]), x),
            context=rows(given["contexts"][:, i]),
            **({} if before is None else {"before": rows(before[:, i])}),
            backward=rows(given["backward"]),
            noise=epsilon,
            previous=previous,
            started=np.full((len(epsilon), 1), z is not None),
        )
        z = out["z"].reshape(batch, num_particles, -1)
        return z, out["log_weight"].reshape(batch, num_particles)

    return step


def _units(model, documents):
    """Tokens, or frames, of each step of the documents: a list of arrays."""
    return [
        model.runner.units(model.emission.batch([x]))[0, : len(x)]
        for x in documents
    ]


def _size(x):
    return sum(a.size for a in tree.flatten(x))


def _groups(documents, most=32):
    """Lists of documents for one call: at most so many, and so many words."""
    group = []
    for document in documents:
        biggest = group[0].size if group else 0
        full = len(group) >= max(most, 1)
        if group and (full or biggest * (len(group) + 1) > WORDS):
            yield group
            group = []
        group.append(document)
    if group:
        yield group


def _in_order(documents, emission):
    """Longest first, so that documents of about one size share a call."""
    return sorted(
        documents, key=lambda x: (x.shape, emission.crc32(x)), reverse=True
    )


def _figures(nats, sizes, unit):
    """Averages of nats a document; `sizes`: documents, sentences, units."""
    count = len(nats)
    totals = sizes.sum(axis=0)
    return {
        "nll": {
            f"per_{name}": float(nats.sum() / total)
            for name, total in zip(("document", "sentence", unit), totals)
        },
        "standard_error": float(nats.std(ddof=1) / count**0.5)
        if count > 1
        else None,
        "perplexity": float(np.exp(nats.sum() / totals[2]))
        if unit == "token"
        else None,
        f"{unit}s": int(totals[2]),
    }
