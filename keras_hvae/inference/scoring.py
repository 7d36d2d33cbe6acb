"""Methods that read: encode, score, fit_initial_prior."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from keras_hvae.arguments import check_positive_int
from keras_hvae.inference import compiled, randomness
from keras_hvae.inference.runner import Runner, pad_rows

CHAIN = "latents that alone decide what is written, such as HVAE"


class ScoringMethods(keras.Model):
    """encode, score, fit_initial_prior: a base class of all models.

    In all methods:

    - documents are strings if the model has a preprocessor (a list of
      sentences is *one* document, a list of such lists many), or int ids of
      shape `(n, m)` or `(B, n, m)`. One document in, one result out, without
      the batch axis. Blank sentences are left out, and a preprocessor with
      `max_words` cuts sentences to it;
    - a warning says so if more than a fifth of the words of a text are unknown;
    - methods that write answer with strings if the model has a preprocessor,
      else with ids;
    - `seed` is an int, or an int or an (int, row) pair for each document, or
      `None` for fresh entropy. A
      seed repeats its result exactly; document i of a call with an int
      depends on (seed, i) and on itself, never on the other documents or on
      `batch_size`;
    - `sampler` is a name or a sampler, and further keywords are the named
      sampler's options: see `keras_hvae.samplers.get`; the keyword `softmax`
      stands for a layer to take the logits from instead of the model's, such
      as `layers.SVDSoftmax`;
    - a method that the model has no means for raises `NotImplementedError`: a
      model without latents cannot `encode` or `reconstruct`, one that also
      writes from the text before cannot `decode` or `interpolate`.
    """

    def encode(
        self, documents: Sequence | np.ndarray, batch_size: int = 32
    ) -> dict[str, np.ndarray]:
        """The posterior of each sentence, along the path of its means.

        Args:
            documents, batch_size: see the class.

        Returns:
            A dict of arrays: `"mean"` and `"log_var"` of shape `(B, n, d)`,
            0 behind a document's end, `"mask"` `(B, n)`, True where a
            sentence is, `"document"` `(B, d)`, the average of a document's
            means, and, of a model of words, `"unknown"` `(B,)`, how many of
            its words are unknown.
        """
        self._need(self.latent_dim, "encode", "latents")
        documents = self._documents(documents)
        paths = self.runner.rows(compiled.encode, documents, batch_size)
        mean, mask = pad_rows(paths["mean"])
        return self._squeeze(
            documents,
            {
                "mean": mean,
                "log_var": pad_rows(paths["log_var"])[0],
                "mask": mask,
                "document": np.stack([x.mean(axis=0) for x in paths["mean"]]),
                **_unknown(documents),
            },
        )

    def score(
        self,
        documents: Sequence | np.ndarray,
        num_samples: int = 1,
        seed: int | Sequence | None = None,
        batch_size: int = 32,
    ) -> dict[str, np.ndarray]:
        """How probable documents are: nll, KL and ELBO, in nats.

        The KL is analytic at the drawn latents, at β = 1, without free bits.

        Args:
            documents, seed, batch_size: see the class.
            num_samples: posterior draws to average over.

        Returns:
            A dict of arrays: per document, of shape `(B,)`, `"nll"`, `"kl"`,
            `"elbo"` = −(nll + kl), a lower bound of log p(x), `"tokens"`
            (`[EOS]` counted; `"frames"` of a model of frames) and, of a model
            of words, `"unknown"`, how many words are; per sentence, of shape
            `(B, n)` and 0 behind a document's end, `"sentence_nll"`,
            `"sentence_kl"`, `"sentence_elbo"` and `"mask"`.

        Example:

        >>> scores = HVAE(["yes", "no"], 2, 4, 8).score(["yes", "no no"])
        >>> float(scores["tokens"]), scores["sentence_nll"].shape
        (5.0, (2,))
        """
        check_positive_int(num_samples=num_samples)
        documents = self._documents(documents)
        seeds = randomness.row_seeds(seed, len(documents))
        rows = {"nll": [], "kl": []}
        units = []
        for part, x in documents.batches(batch_size):
            mask = self.runner.mask(x)
            sums: dict[str, Any] = {"nll": 0.0, "kl": 0.0}
            for sample in range(num_samples):
                noise = randomness.normals(
                    seeds[part], mask.shape[1], self.noise_dim, sample
                )
                outputs = self.runner.run(compiled.score, x=x, noise=noise)
                for key in sums:
                    sums[key] += outputs[key].astype("float64")
            for key, total in sums.items():
                mean = total / num_samples
                rows[key] += [a[:n] for a, n in zip(mean, mask.sum(axis=1))]
            units += list(self.runner.units(x).sum(axis=1))
        nll, mask = pad_rows(rows["nll"])
        kl, _ = pad_rows(rows["kl"])
        return self._squeeze(
            documents,
            {
                "nll": nll.sum(axis=1),
                "kl": kl.sum(axis=1),
                "elbo": -(nll + kl).sum(axis=1),
                f"{self.emission.unit}s": np.array(units),
                **_unknown(documents),
                "sentence_nll": nll,
                "sentence_kl": kl,
                "sentence_elbo": -(nll + kl),
                "mask": mask,
            },
        )

    def fit_initial_prior(
        self, dataset: Iterable, moments: bool = False
    ) -> None:
        """Sets the empirical prior of the first latent, by one pass.

        The prior's mean and variance become the averages of μ_1 and σ_1²
        over the documents.

        Args:
            dataset: batches of ids `(B, n, m)`, such as `corpus.train`.
            moments: whether to add Var(μ_1) to the variance, which makes it
                the second moment of the aggregate posterior.

        Raises:
            ValueError: if the model has `initial_prior="standard"`, or the
                dataset no document.
        """
        has = self.writes_from_latents or self.has_chain
        self._need(has, "fit_initial_prior", CHAIN)
        chain = self.latent_chain
        if chain.initial_prior != "empirical":
            raise ValueError(
                '`fit_initial_prior` needs `initial_prior="empirical"`. '
                f"Received: {chain.initial_prior!r}"
            )
        means, variances = [], []
        for x in dataset:
            x = keras.tree.map_structure(keras.ops.convert_to_numpy, x)
            x = self.emission.unbatch(x)
            x = [document for document in x if len(document)]
            if not x:
                continue
            x = self.emission.batch(x)
            out = self.runner.run(
                compiled.encode, x=x, noise=self.runner.no_noise(x)
            )
            means.append(out["mean"][:, 0].astype("float64"))
            variances.append(np.exp(out["log_var"][:, 0].astype("float64")))
        if not means:
            raise ValueError("`dataset` must have a document. Received: none")
        means = np.concatenate(means)
        variance = np.concatenate(variances).mean(axis=0)
        if moments:
            variance += means.var(axis=0)
        chain.initial_mean.assign(means.mean(axis=0))
        chain.initial_log_var.assign(np.log(variance))

    def _need(self, has, method, what):
        if not has:
            raise NotImplementedError(
                f"`{method}` needs a model with {what}. "
                f"Received: {type(self).__name__}"
            )

    @property
    def runner(self) -> Runner:
        """Runs the compiled steps; not part of the model's state."""
        if "_runner" not in self.__dict__:
            self._runner = Runner(self)
        return self._runner

    def _documents(self, documents):
        return self.emission.read(documents, self.preprocessor)

    def _squeeze(self, documents, arrays):
        if documents.single:
            return {key: x[0] for key, x in arrays.items()}
        return arrays


def _unknown(documents):
    """How many words of each document are unknown; of frames, nothing."""
    if not hasattr(documents, "unknown"):
        return {}
    return {"unknown": documents.unknown}
