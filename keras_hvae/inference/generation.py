"""Methods that write: generate, reply, reconstruct, decode, interpolate."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_hvae.arguments import check_positive_int
from keras_hvae.inference import compiled, randomness
from keras_hvae.inference.runner import pad_rows
from keras_hvae.inference.scoring import CHAIN, ScoringMethods
from keras_hvae.samplers.sampler import Sampler


class GenerationMethods(ScoringMethods):
    """generate, reply, reconstruct, decode, interpolate: a base class.

    What holds for all methods stands in `ScoringMethods`.
    """

    def generate(
        self,
        documents: Sequence | np.ndarray | None = None,
        num_documents: int = 1,
        num_sentences: int = 6,
        max_words: int | None = None,
        sampler: str | Sampler | None = None,
        seed: int | Sequence | None = None,
        batch_size: int = 32,
        **sampler_options,
    ) -> list | np.ndarray:
        """Writes new documents, or goes on with given ones.

        Without `documents` all latents come from the prior. With them,
        z_1 … z_k is the path of the posterior means of the k given sentences
        and the latents after it come from the prior. A model that writes
        from the text before reads what it has written.

        Args:
            documents: optional beginnings of documents.
            num_documents: how many to write, without `documents`.
            num_sentences: number of sentences to write.
            max_words: largest number of words of a sentence; 30 if not given.
            sampler: a name, `"greedy"`, `"categorical"`, `"top_k"`,
                `"top_p"` (the default here; elsewhere it is `"greedy"`) or
                `"beam"`, or a sampler. Of words only, as is `max_words`.
            seed: int, optional; repeats the result exactly.
            batch_size: how many documents to write at a time.
            **sampler_options: of the named sampler, such as `temperature` and
                `top_p`: see `keras_hvae.samplers.get`; and `softmax`, a layer
                to take the logits from, such as `layers.SVDSoftmax`.

        Returns:
            The new sentences: a list of documents (lists of strings), the
            list of sentences for one given document, or ids
            `(B, num_sentences, max_words + 1)`, or frames
            `(B, num_sentences, D)`.

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
        # What has been written is read again, as ids.
        has = self.writes_from_latents or self.emission.unit == "token"
        self._need(has, "generate", f"words, or {CHAIN}")
        if documents is not None:
            documents = self._documents(documents)
            num_documents = len(documents)
        ids = self.runner.generate(
            documents,
            num_sentences,
            seeds=randomness.row_seeds(seed, num_documents),
            max_words=max_words,
            sampler=self.emission.sampler if sampler is None else sampler,
            batch_size=batch_size,
            **sampler_options,
        )
        single = documents is not None and documents.single
        return self.runner.as_text(ids, np.ones(ids.shape[:2], "bool"), single)

    def reply(
        self,
        documents: Sequence | np.ndarray,
        state: dict | None = None,
        return_state: bool = False,
        max_words: int | None = None,
        sampler: str | Sampler | None = None,
        seed: int | Sequence | None = None,
        batch_size: int = 32,
        **sampler_options,
    ) -> Any:
        """Writes the sentence after each document, as an export serves it.

        The document is read as it comes, sentence by sentence: z_1 knows x_1
        only. So a chat can go on from the state of the answer before, and
        need not be read again. A model with `inference="filtering"` reads so
        in all methods; with `"smoothing"`, `generate` reads the whole
        document for z_1 and goes on from other latents than `reply`.

        Args:
            documents: the sentences so far, or since `state`.
            state: what `return_state` gave, of as many documents.
            return_state: whether to return the state behind `documents`, too.
            max_words, sampler, seed, batch_size, **sampler_options: as in
                `generate`.

        Returns:
            A sentence for each document, or one for one document; with
            `return_state` a pair of that and a dict of arrays: `"z"` `(B,
            d)`, `"context"` `(B, H)` and `"count"` `(B,)`, the number of
            sentences read.

        Example:

        >>> model = HVAE(["yes", "no", "."], 2, 4, 8)
        >>> answer, state = model.reply(["yes"], return_state=True, seed=0)
        >>> type(answer), int(state["count"][0])
        (<class 'str'>, 1)
        """
        self._need(self.has_chain, "reply", "a chain of latents, such as HVAE")
        documents = self._documents(documents)
        rows = len(documents)
        if state is None:
            units = self.context_encoder.units
            state = {
                "z": np.zeros((rows, self.latent_dim), "float32"),
                "context": np.zeros((rows, units), "float32"),
                "count": np.zeros(rows, "int32"),
            }
        elif len(state["count"]) != rows:
            raise ValueError(
                f"`state` must be that of {rows} documents. "
                f"Received: one of {len(state['count'])}"
            )
        state = self.runner.follow(documents, state, batch_size)
        seeds = randomness.row_seeds(seed, rows)
        noise = randomness.normals(seeds, 1, self.noise_dim)
        contexts = self.runner.next_contexts(state, noise, batch_size)
        mask = np.ones((rows, 1), "bool")
        written = self.runner.decode_ids(
            {"contexts": contexts},
            mask,
            max_words=max_words,
            sampler=self.emission.sampler if sampler is None else sampler,
            seeds=seeds,
            batch_size=batch_size,
            **sampler_options,
        )
        written = self.runner.as_text(written, mask, False)
        if isinstance(written, list):
            replies = [document[0] for document in written]
        else:
            replies = written[:, 0]
        answer = replies[0] if documents.single else replies
        return (answer, state) if return_state else answer

    def reconstruct(
        self,
        documents: Sequence | np.ndarray,
        max_words: int | None = None,
        sampler: str | Sampler | None = None,
        seed: int | Sequence | None = None,
        batch_size: int = 32,
        **sampler_options,
    ) -> list | np.ndarray:
        """Encodes documents (posterior means) and writes them again.

        A model that writes from the text before too is given the true one.

        Args:
            documents, max_words, sampler, seed, batch_size,
                **sampler_options: as in `generate`.

        Returns:
            As `generate`; as many sentences as given. Of frames, a list of
            arrays `(n_i, D)`, or one for one sequence.
        """
        self._need(self.latent_dim, "reconstruct", "latents")
        documents = self._documents(documents)
        rows = self.runner.rows(
            compiled.posterior_context, documents, batch_size
        )
        contexts, mask = pad_rows(rows["context"])
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
        z: np.ndarray,
        mask: np.ndarray | None = None,
        max_words: int | None = None,
        sampler: str | Sampler | None = None,
        seed: int | Sequence | None = None,
        batch_size: int = 32,
        **sampler_options,
    ) -> list | np.ndarray:
        """Writes a sentence from each latent.

        Args:
            z: array of shape `(B, n, d)`, or `(n, d)` for one document.
            mask: optional bool array of shape `(B, n)` or `(n,)`; a sentence
                is written where it is True.
            max_words, sampler, seed, batch_size, **sampler_options: as in
                `generate`.

        Returns:
            As `generate`; of frames, as `reconstruct`.

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
        a: Sequence | np.ndarray,
        b: Sequence | np.ndarray,
        steps: int = 7,
        max_words: int | None = None,
        sampler: str | Sampler | None = None,
        seed: int | Sequence | None = None,
        batch_size: int = 32,
        **sampler_options,
    ) -> list | np.ndarray:
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
            As `generate`: `steps` documents. Of frames, a list of arrays.
        """
        self._need(self.writes_from_latents, "interpolate", CHAIN)
        if steps < 2:
            raise ValueError(f"`steps` must be >= 2. Received: {steps}")
        paths = []
        for name, document in (("a", a), ("b", b)):
            document = self._documents(document)
            if len(document) != 1:
                raise ValueError(
                    f"`{name}` must be one document. "
                    f"Received: {len(document)} documents"
                )
            rows = self.runner.rows(compiled.encode, document, batch_size)
            paths.append(rows["mean"][0])
        lengths = [len(path) for path in paths]
        padded, _ = pad_rows(paths)
        line = self.runner.run(
            compiled.interpolate,
            a=np.repeat(padded[:1], steps, axis=0),
            b=np.repeat(padded[1:], steps, axis=0),
            length_a=np.full(steps, lengths[0], "int32"),
            length_b=np.full(steps, lengths[1], "int32"),
            weight=np.linspace(0, 1, steps, dtype="float32"),
        )
        z, sizes = line["z"], line["size"]
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
