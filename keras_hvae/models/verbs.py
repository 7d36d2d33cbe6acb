"""What one does with a trained model: the verbs."""

import itertools
import types

import keras
import numpy as np

from keras_hvae import samplers
from keras_hvae.layers.arguments import check_positive_int
from keras_hvae.models import compiled, randomness
from keras_hvae.models.documents import Documents


class Verbs(keras.Model):
    """generate, reconstruct, encode, decode, interpolate, score.

    Base class of `HVAE`, apart only to be readable. In all verbs:

    - documents are strings if the model has a preprocessor (a list of
      sentences is *one* document, a list of such lists many), or int ids of
      shape `(n, m)` or `(B, n, m)`. One document in, one result out, without
      the batch axis;
    - text verbs answer with strings if the model has a preprocessor, else
      with ids;
    - `seed` is an int, or an int a document, or `None` for fresh entropy. A
      seed repeats its result exactly; document i of a call with an int
      depends on (seed, i) and on itself, never on the other documents or on
      `batch_size`;
    - `sampler` is a name or a sampler, and further keywords are the named
      sampler's options: see `keras_hvae.samplers.get`.
    """

    def generate(
        self,
        documents=None,
        num_documents=1,
        num_sentences=6,
        max_words=30,
        sampler="top_p",
        seed=None,
        batch_size=32,
        **sampler_options,
    ):
        """Writes new documents, or goes on with given ones.

        Without `documents` all latents come from the prior. With them,
        z_1 … z_k is the path of the posterior means of the k given sentences
        and the latents after it come from the prior.

        Args:
            documents: optional beginnings of documents.
            num_documents: how many to write, without `documents`.
            num_sentences: number of sentences to write.
            max_words: largest number of words of a sentence.
            sampler, seed, batch_size, **sampler_options: see the class.

        Returns:
            The new sentences: a list of documents (lists of strings), the
            list of sentences for one given document, or ids
            `(B, num_sentences, max_words + 1)`.

        Example:

        >>> model = HVAE(["yes", "no", "."], 2, 4, 8)
        >>> len(model.generate(num_documents=3, num_sentences=2, seed=1))
        3
        """
        check_positive_int(
            num_documents=num_documents, num_sentences=num_sentences
        )
        last = None
        if documents is not None:
            documents = self._documents(documents)
            num_documents = len(documents)
            paths, _ = self._mean_paths(documents, batch_size)
            last = np.stack([path[-1] for path in paths])
        seeds = randomness.row_seeds(seed, num_documents)
        noise = randomness.normals(seeds, num_sentences, self.latent_dim)
        return self._decode(
            self._roll_out(noise, last, batch_size),
            np.ones(noise.shape[:2], "bool"),
            documents is not None and documents.single,
            max_words=max_words,
            sampler=sampler,
            seeds=seeds,
            batch_size=batch_size,
            **sampler_options,
        )

    def reconstruct(
        self,
        documents,
        max_words=30,
        sampler="greedy",
        seed=None,
        batch_size=32,
        **sampler_options,
    ):
        """Encodes documents (posterior means) and writes them again.

        Args:
            documents, max_words, sampler, seed, batch_size,
                **sampler_options: as in `generate`.

        Returns:
            As `generate`; as many sentences as given.
        """
        documents = self._documents(documents)
        paths, _ = self._mean_paths(documents, batch_size)
        z, mask = pad_rows(paths)
        return self._decode(
            z,
            mask,
            documents.single,
            max_words=max_words,
            sampler=sampler,
            seeds=randomness.row_seeds(seed, len(z)),
            batch_size=batch_size,
            **sampler_options,
        )

    def encode(self, documents, batch_size=32):
        """The posterior of each sentence, along the path of its means.

        Args:
            documents, batch_size: see the class.

        Returns:
            A dict of arrays: `"mean"` and `"log_var"` of shape `(B, n, d)`,
            0 behind a document's end, `"mask"` `(B, n)`, True where a
            sentence is, and `"document"` `(B, d)`, the average of a
            document's means.
        """
        documents = self._documents(documents)
        means, log_vars = self._mean_paths(documents, batch_size)
        mean, mask = pad_rows(means)
        return self._squeeze(
            documents,
            {
                "mean": mean,
                "log_var": pad_rows(log_vars)[0],
                "mask": mask,
                "document": np.stack([x.mean(axis=0) for x in means]),
            },
        )

    def decode(
        self,
        z,
        mask=None,
        max_words=30,
        sampler="greedy",
        seed=None,
        batch_size=32,
        **sampler_options,
    ):
        """Writes a sentence from each latent.

        Args:
            z: array of shape `(B, n, d)`, or `(n, d)` for one document.
            mask: optional bool array of shape `(B, n)` or `(n,)`; a sentence
                is written where it is True.
            max_words, sampler, seed, batch_size, **sampler_options: as in
                `generate`.

        Returns:
            As `generate`.

        Raises:
            ValueError: if `z` does not have that shape.
        """
        z = np.asarray(z, "float32")
        if z.ndim not in (2, 3) or z.shape[-1] != self.latent_dim or not z.size:
            raise ValueError(
                "`z` must have shape (documents, sentences, "
                f"{self.latent_dim}) or (sentences, {self.latent_dim}). "
                f"Received: shape {z.shape}"
            )
        if mask is None:
            mask = np.ones(z.shape[:-1], "bool")
        mask = np.asarray(mask, "bool")
        if mask.shape != z.shape[:-1]:
            raise ValueError(
                f"`mask` must have shape {z.shape[:-1]}. "
                f"Received: shape {mask.shape}"
            )
        single = z.ndim == 2
        if single:
            z, mask = z[None], mask[None]
        return self._decode(
            z,
            mask,
            single,
            max_words=max_words,
            sampler=sampler,
            seeds=randomness.row_seeds(seed, len(z)),
            batch_size=batch_size,
            **sampler_options,
        )

    def interpolate(
        self,
        a,
        b,
        steps=7,
        max_words=30,
        sampler="greedy",
        seed=None,
        batch_size=32,
        **sampler_options,
    ):
        """Writes documents on the straight line between two documents.

        The line runs between the paths of the posterior means. If one
        document is longer, the other's path goes on along the prior's means,
        and the number of sentences changes from one's to the other's: the
        first step is `reconstruct(a)`, the last `reconstruct(b)`.

        Args:
            a, b: one document each.
            steps: number of documents to write, at least 2.
            max_words, sampler, seed, batch_size, **sampler_options: as in
                `generate`.

        Returns:
            As `generate`: `steps` documents.
        """
        if steps < 2:
            raise ValueError(f"`steps` must be >= 2. Received: {steps}")
        ends = []
        for name, document in (("a", a), ("b", b)):
            document = self._documents(document)
            if len(document) != 1:
                raise ValueError(
                    f"`{name}` must be one document. "
                    f"Received: {len(document)} documents"
                )
            ends.append(self._mean_paths(document, batch_size)[0][0])
        lengths = [len(path) for path in ends]
        for i, path in enumerate(ends):
            missing = max(lengths) - len(path)
            if missing:
                zeros = np.zeros((1, missing, self.latent_dim), "float32")
                on = self._roll_out(zeros, path[None, -1], batch_size)[0]
                ends[i] = np.concatenate([path, on])
        weight = np.linspace(0, 1, steps, dtype="float32")[:, None, None]
        z = (1 - weight) * ends[0] + weight * ends[1]
        sizes = np.rint(np.linspace(*lengths, steps)).astype(int)
        return self._decode(
            z,
            np.arange(z.shape[1]) < sizes[:, None],
            False,
            max_words=max_words,
            sampler=sampler,
            seeds=randomness.row_seeds(seed, steps),
            batch_size=batch_size,
            **sampler_options,
        )

    def score(self, documents, num_samples=1, seed=None, batch_size=32):
        """How probable documents are: nll, KL and ELBO, in nats.

        The KL is analytic at the drawn latents, at β = 1, without free bits.

        Args:
            documents, seed, batch_size: see the class.
            num_samples: posterior draws to average over.

        Returns:
            A dict of arrays: per document, of shape `(B,)`, `"nll"`, `"kl"`,
            `"elbo"` = −(nll + kl), a lower bound of log p(x), and `"tokens"`
            (`[EOS]` counted); per sentence, of shape `(B, n)` and 0 behind a
            document's end, `"sentence_nll"`, `"sentence_kl"`,
            `"sentence_elbo"` and `"mask"`.

        Example:

        >>> scores = HVAE(["yes", "no"], 2, 4, 8).score(["yes", "no no"])
        >>> float(scores["tokens"]), scores["sentence_nll"].shape
        (5.0, (2,))
        """
        check_positive_int(num_samples=num_samples)
        documents = self._documents(documents)
        seeds = randomness.row_seeds(seed, len(documents))
        rows = {"nll": [], "kl": [], "tokens": []}
        verb = self._verb(compiled.score)
        for part, ids in documents.batches(batch_size):
            sums = {"nll": 0.0, "kl": 0.0}
            for sample in range(num_samples):
                noise = randomness.normals(
                    seeds[part], ids.shape[1], self.latent_dim, sample
                )
                outputs = compiled.run_padded(
                    verb, {"token_ids": ids, "noise": noise}
                )
                for key in sums:
                    sums[key] += outputs[key].astype("float64")
            real = (ids != 0).any(axis=-1).sum(axis=-1)
            for key, total in sums.items():
                mean = total / num_samples
                rows[key] += [x[:n] for x, n in zip(mean, real)]
            rows["tokens"] += list((ids != 0).sum(axis=(1, 2)))
        nll, mask = pad_rows(rows["nll"])
        kl, _ = pad_rows(rows["kl"])
        return self._squeeze(
            documents,
            {
                "nll": nll.sum(axis=1),
                "kl": kl.sum(axis=1),
                "elbo": -(nll + kl).sum(axis=1),
                "tokens": np.array(rows["tokens"]),
                "sentence_nll": nll,
                "sentence_kl": kl,
                "sentence_elbo": -(nll + kl),
                "mask": mask,
            },
        )

    def fit_initial_prior(self, dataset, moments=False):
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
        chain = self.latent_chain
        if chain.initial_prior != "empirical":
            raise ValueError(
                '`fit_initial_prior` needs `initial_prior="empirical"`. '
                f"Received: {chain.initial_prior!r}"
            )
        verb = self._verb(compiled.encode)
        means, variances = [], []
        for ids in dataset:
            ids = keras.ops.convert_to_numpy(ids)
            ids = ids[(ids != 0).any(axis=(1, 2))]
            if not len(ids):
                continue
            noise = np.zeros((*ids.shape[:2], self.latent_dim), "float32")
            out = compiled.run_padded(verb, {"token_ids": ids, "noise": noise})
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

    def _documents(self, documents):
        return Documents(documents, self.preprocessor, self.vocabulary_size)

    def _verb(self, function, **options):
        """The compiled verb, made once for each function and options."""
        if "_verbs" not in self.__dict__:
            # A namespace, which Keras does not track: a verb has the model as
            # a layer, and a layer of its own layer would be a loop.
            self._verbs = types.SimpleNamespace(made={})
        key = (function, *(str(_config(x)) for x in options.values()))
        if key not in self._verbs.made:
            self._verbs.made[key] = compiled.CompiledVerb(
                self, function, **options
            )
        return self._verbs.made[key]

    def _mean_paths(self, documents, batch_size):
        """μ and log σ² of each document, lists of arrays `(n, d)`."""
        verb = self._verb(compiled.encode)
        means, log_vars = [], []
        for _, ids in documents.batches(batch_size):
            noise = np.zeros((*ids.shape[:2], self.latent_dim), "float32")
            out = compiled.run_padded(verb, {"token_ids": ids, "noise": noise})
            lengths = (ids != 0).any(axis=-1).sum(axis=-1)
            for key, rows in (("mean", means), ("log_var", log_vars)):
                rows += [x[:n] for x, n in zip(out[key], lengths)]
        return means, log_vars

    def _roll_out(self, noise, last, batch_size):
        verb = self._verb(compiled.roll_out)
        parts = []
        for start in range(0, len(noise), batch_size):
            rows = slice(start, start + batch_size)
            inputs = {"noise": noise[rows]}
            if last is not None:
                inputs["previous"] = last[rows]
            parts.append(compiled.run_padded(verb, inputs)["z"])
        return np.concatenate(parts)

    def _decode(
        self,
        z,
        mask,
        single,
        max_words,
        sampler,
        seeds,
        batch_size,
        **sampler_options,
    ):
        check_positive_int(max_words=max_words, batch_size=batch_size)
        verb = self._verb(
            compiled.decode, sampler=samplers.get(sampler, **sampler_options)
        )
        parts = []
        for start in range(0, len(z), batch_size):
            rows = slice(start, start + batch_size)
            inputs = {
                "z": z[rows],
                "real": mask[rows],
                "uniforms": randomness.uniforms(
                    seeds[rows], z.shape[1], max_words + 1
                ),
            }
            parts.append(compiled.run_padded(verb, inputs)["token_ids"])
        ids = np.concatenate(parts)
        if self.preprocessor is None:
            return ids[0] if single else ids
        sentences = iter(self.preprocessor.detokenize(ids[mask]))
        texts = [
            list(itertools.islice(sentences, int(n))) for n in mask.sum(axis=1)
        ]
        return texts[0] if single else texts

    def _squeeze(self, documents, arrays):
        if documents.single:
            return {key: x[0] for key, x in arrays.items()}
        return arrays


def pad_rows(rows):
    """Arrays of different lengths as one, and where it is real.

    Args:
        rows: list of arrays of shape `(n_i, ...)`.

    Returns:
        Array of shape `(B, max n_i, ...)` and bool array `(B, max n_i)`.
    """
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    padded = np.zeros((*mask.shape, *rows[0].shape[1:]), rows[0].dtype)
    padded[mask] = np.concatenate(rows)
    return padded, mask


def _config(sampler):
    if hasattr(sampler, "get_config"):
        return type(sampler).__name__, sampler.get_config()
    return id(sampler)
