"""The group "latents" of `evaluate`."""

from typing import Any

import numpy as np

from keras_hvae.evaluation.estimators import latents
from keras_hvae.evaluation.estimators.kl_parts import kl_parts
from keras_hvae.evaluation.estimators.length_probe import length_r2
from keras_hvae.evaluation.estimators.mutual_information import (
    BATCH,
    mi_batch32,
    mi_full,
)
from keras_hvae.inference import compiled
from keras_hvae.models.document_model import DocumentModel

PARTS = (
    "information",
    "mismatch",
    "total_correlation",
    "dimension_mismatch",
    "matched_kl",
)


class LatentFigures:
    """Gathers what the figures need, a batch at a time.

    Args:
        model: a model with latents.
        seed: int, of draws and orders.
    """

    def __init__(self, model: DocumentModel, seed: int) -> None:
        self.model = model
        self.seed = seed
        self._batches = []  # number of documents and nll of each batch
        self._rows = []  # arrays with a row a sentence
        self._rises = []

    def add(
        self,
        x: Any,
        seeds: list,
        noise: np.ndarray,
        draw: dict[str, np.ndarray],
    ) -> None:
        """Takes in a batch.

        Args:
            x: a batch of documents.
            seeds: of its documents, see `content_seeds`.
            noise: ε of the posterior draw, `(B, n, noise_dim)`.
            draw: what `compiled.score` returned for it.
        """
        emission, runner = self.model.emission, self.model.runner
        real = runner.mask(x)
        path, drawn = (
            runner.run(compiled.encode, x=x, noise=epsilon)
            for epsilon in (np.zeros_like(noise), noise)
        )
        document, place = np.nonzero(real)
        first = sum(len(nll) for _, nll in self._batches)
        sentences = [one for each in emission.unbatch(x) for one in each]
        rows = {
            "path_mean": path["mean"][real],
            "path_log_var": path["log_var"][real],
            **{key: value[real] for key, value in drawn.items()},
            "place": place,
            "document": first + document,
            "content": np.array([crc for _, crc in seeds])[document],
            "tokens": runner.units(x)[real],
            "text": np.array([emission.crc32(one) for one in sentences]),
        }
        self._rows.append(rows)
        self._batches.append((x, draw["nll"]))
        self._rises.append(self._rise_of_any(x, real, noise, draw))

    def figures(self) -> dict:
        """The figures of all batches: see `evaluate`."""
        keys = self._rows[0]
        rows = {
            key: np.concatenate([x[key] for x in self._rows]) for key in keys
        }
        rise = np.concatenate(self._rises)
        # Sorted by content: the order of the dataset must not change the
        # figures.
        order = np.lexsort((rows["place"], rows["document"], rows["content"]))
        partners = latents.length_partners(
            *(rows[key][order] for key in ("tokens", "place")),
            *(rows[key][order] for key in ("document", "text")),
        )
        placed = np.full(len(order), -1)
        placed[order] = np.where(partners < 0, -1, order[partners])
        figures = self._of_rows({key: x[order] for key, x in rows.items()})
        return {
            **figures,
            "z_ablation": _mean(rise),
            **self._length_matched(rows, placed),
        }

    def _of_rows(self, rows):
        means = rows["path_mean"].astype("float64")
        if not np.isfinite(means).all():
            raise ValueError(
                "The model's latents must be finite numbers: has its training "
                "diverged? Received: NaN or infinity"
            )
        # Seeds apart from the noise of the paths, which is equal in equal
        # documents.
        rng = np.random.default_rng(self.seed)
        noise = rng.standard_normal(means.shape)
        draws = means + np.exp(0.5 * rows["path_log_var"]) * noise
        z = rows["mean"] + np.exp(0.5 * rows["log_var"]) * noise
        path = means, rows["path_log_var"], draws
        drawn = [rows["mean"], rows["log_var"], z]
        drawn += [rows["prior_mean"], rows["prior_log_var"]]
        at = [rows["place"] == i for i in np.unique(rows["place"])]
        counts = np.array([x.sum() for x in at])
        # With one sentence there is nothing to compare it with.
        known = counts > 1
        parts = [
            kl_parts(*(x[rows_at] for x in drawn)) if several else None
            for rows_at, several in zip(at, known)
        ]
        informations = [
            mi_full(*(x[rows_at] for x in path)) if several else None
            for rows_at, several in zip(at, known)
        ]
        parts = [
            part and (part if i == 0 else of_the_document(part, mi))
            for i, (part, mi) in enumerate(zip(parts, informations))
        ]
        # Centred by position: a drift over positions tells nothing about a
        # document.
        still = np.concatenate([means[x] - means[x].mean(axis=0) for x in at])
        document = np.cumsum(np.diff(rows["document"], prepend=-1) != 0)
        figures = {
            "latent_dim": means.shape[-1],
            "rate": self.model.kl.rate,
            "mi_batch32": mi_batch32(*path, self.seed)
            if len(means) >= BATCH
            else None,
            "mi_full": mi_full(*path) if len(means) > 1 else None,
            "mi_cap": float(np.log(len(means))),
            "mi_full_by_position": informations,
            "mi_cap_by_position": np.log(counts).tolist(),
            "effective_rank": latents.effective_rank(still),
            "effective_rank_by_position": [
                latents.effective_rank(means[x]) for x in at
            ],
            "mean_spectrum": latents.spectrum(still).tolist(),
            "active_units": latents.active_units(means),
            "active_units_by_position": [
                latents.active_units(means[x]) for x in at
            ],
            "mean_variances": latents.mean_variances(means).tolist(),
            "length_r2": length_r2(means, rows["tokens"], document),
        }
        for key in PARTS:
            values = [x and x[key] for x in parts]
            figures[f"{key}_by_position"] = values
            figures[key] = None
            if known.any():
                values = [x for x in values if x is not None]
                figures[key] = float(np.average(values, weights=counts[known]))
        return figures

    def _rise_of_any(self, x, real, noise, draw):
        """How much each nll rises with the latent of another document."""
        if self.model.writes_from_latents:
            z, replaced = latents.shuffle_documents(draw["z"], real)
            nll = self._nll(x, z)
        else:
            replaced = real
            nll = self.model.runner.run(
                compiled.nll_from_prior, x=x, noise=noise
            )["nll"]
        return (nll - draw["nll"])[replaced]

    def _length_matched(self, rows, partners):
        """The same, with that of a sentence of the same length."""
        found = partners >= 0
        # Frames have no length.
        one_length = self.model.emission.unit != "token"
        if one_length or not self.model.writes_from_latents or not found.any():
            return {"z_ablation_length_matched": None, "length_matched": None}
        given = np.where(found, partners, np.arange(len(partners)))
        latent, start, rises = rows["z"][given], 0, []
        for x, nll in self._batches:
            real = self.model.runner.mask(x)
            stop = start + real.sum()
            z = np.zeros((*real.shape, latent.shape[-1]), "float32")
            z[real] = latent[start:stop]
            rises.append((self._nll(x, z) - nll)[real])
            start = stop
        tokens = rows["tokens"]
        return {
            "z_ablation_length_matched": _mean(np.concatenate(rises)[found]),
            "length_matched": float((tokens[given] == tokens)[found].mean()),
        }

    def _nll(self, x, z):
        return self.model.runner.run(compiled.nll_given_z, x=x, z=z)["nll"]


def _mean(values):
    return values.mean(dtype="float64").item() if len(values) else None


def of_the_document(part: dict, information: float) -> dict:
    """What a later latent knows of its document, of what it knows at all.

    At a later sentence `kl_parts` counts what z_i tells of the noise of
    z_{i−1}, too. Along the path of the means there is none: the mutual
    information there is the most that can be of the document.

    Args:
        part: a dict of `kl_parts`.
        information: `mi_full` at that position, nats.

    Returns:
        The dict with `"information"` at most that, the rest as `"mismatch"`.

    Example:

    >>> of_the_document({"information": 5.0, "mismatch": 4.0}, 0.5)
    {'information': 0.5, 'mismatch': 8.5}
    """
    least = min(part["information"], max(information, 0.0))
    rest = part["information"] - least
    return {
        **part,
        "information": least,
        "mismatch": part["mismatch"] + rest,
    }
