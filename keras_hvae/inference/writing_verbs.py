"""The verbs that write: generate, reconstruct, decode, interpolate."""

import numpy as np

from keras_hvae.arguments import check_positive_int
from keras_hvae.inference import randomness
from keras_hvae.inference.reading_verbs import CHAIN, ReadingVerbs
from keras_hvae.inference.runner import pad_rows


class WritingVerbs(ReadingVerbs):
    """generate, reconstruct, decode, interpolate: a base class of all models.

    What holds for all verbs stands in `ReadingVerbs`.
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
        and the latents after it come from the prior. A model that writes
        from the text before reads what it has written.

        Args:
            documents: optional beginnings of documents.
            num_documents: how many to write, without `documents`.
            num_sentences: number of sentences to write.
            max_words: largest number of words of a sentence.
            sampler: a name, `"greedy"`, `"categorical"`, `"top_k"`,
                `"top_p"` or `"beam"`, or a sampler.
            seed: int, optional; repeats the result exactly.
            batch_size: how many documents to write at a time.
            **sampler_options: of the named sampler, such as `temperature` and
                `top_p`: see `keras_hvae.samplers.get`; and `softmax`, a layer
                to take the logits from, such as `layers.SVDSoftmax`.

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
            num_documents=num_documents,
            num_sentences=num_sentences,
            batch_size=batch_size,
        )
        if documents is not None:
            documents = self._documents(documents)
            num_documents = len(documents)
        ids = self.runner.generate(
            documents,
            num_sentences,
            seeds=randomness.row_seeds(seed, num_documents),
            max_words=max_words,
            sampler=sampler,
            batch_size=batch_size,
            **sampler_options,
        )
        single = documents is not None and documents.single
        return self.runner.as_text(ids, np.ones(ids.shape[:2], "bool"), single)

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

        A model that writes from the text before too is given the true one.

        Args:
            documents, max_words, sampler, seed, batch_size,
                **sampler_options: as in `generate`.

        Returns:
            As `generate`; as many sentences as given.
        """
        self._need(self.latent_dim, "reconstruct", "latents")
        documents = self._documents(documents)
        contexts, mask = pad_rows(self.runner.contexts(documents, batch_size))
        return self.runner.decode(
            {"contexts": contexts},
            mask,
            documents.single,
            max_words=max_words,
            sampler=sampler,
            seeds=randomness.row_seeds(seed, len(mask)),
            batch_size=batch_size,
            **sampler_options,
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
        self._need(self.writes_from_latents, "decode", CHAIN)
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
        return self.runner.decode(
            {"z": z},
            mask,
            single,
            max_words=max_words,
            sampler=sampler,
            seeds=randomness.row_seeds(seed, len(mask)),
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
        first step is `reconstruct(a)`, the last `reconstruct(b)` (if the
        sampler is not random).

        Args:
            a, b: one document each.
            steps: number of documents to write, at least 2.
            max_words, sampler, seed, batch_size, **sampler_options: as in
                `generate`.

        Returns:
            As `generate`: `steps` documents.
        """
        self._need(self.writes_from_latents, "interpolate", CHAIN)
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
            ends.append(self.runner.mean_paths(document, batch_size)[0][0])
        lengths = [len(path) for path in ends]
        for i, path in enumerate(ends):
            missing = max(lengths) - len(path)
            if missing:
                zeros = np.zeros((1, missing, self.latent_dim), "float32")
                on = self.runner.roll_out(zeros, path[None, -1], batch_size)[0]
                ends[i] = np.concatenate([path, on])
        weight = np.linspace(0, 1, steps, dtype="float32")[:, None, None]
        z = (1 - weight) * ends[0] + weight * ends[1]
        sizes = np.rint(np.linspace(*lengths, steps)).astype(int)
        return self.runner.decode(
            {"z": z},
            np.arange(z.shape[1]) < sizes[:, None],
            False,
            max_words=max_words,
            sampler=sampler,
            seeds=randomness.row_seeds(seed, steps),
            batch_size=batch_size,
            **sampler_options,
        )
