"""What the page of `keras-hvae explore` shows, without the page."""

import functools
from typing import Any

import numpy as np

from keras_hvae.emissions.documents import Documents
from keras_hvae.models.document_model import DocumentModel

STEPS = 11
# Number of sentences from the prior on the map.
CLOUD_DOCUMENTS, CLOUD_SENTENCES = 40, 4
KL_SAMPLES = 16


class Explorer:
    """Answers the questions of someone who looks at a chain of latents.

    Args:
        model: a model with a chain of latents, such as `HVAE`, and a
            vocabulary of words.
        max_words: largest number of words of a sentence that is written.

    Raises:
        ValueError: for another model, or one of ids only.
    """

    def __init__(self, model: DocumentModel, max_words: int = 30) -> None:
        structure = getattr(model, "latent_structure", None)
        if structure != "chain" or model.preprocessor is None:
            latents = f" with latents: {structure}" if structure else ""
            raise ValueError(
                "`model` must have a chain of latents and write from it alone, "
                "as an HVAE with `past='latents'`, and a vocabulary of words. "
                f"Received: {type(model).__name__}{latents}"
            )
        self.model = model
        self.max_words = max_words
        # A slider often asks again for what it has just asked for.
        self._line = functools.lru_cache(32)(self._interpolate)

    def between(self, a: str, b: str, weight: float) -> list[str]:
        """The document at `weight` of the way from a to b, sentences."""
        a, b = (tuple(self.sentences(x)) for x in (a, b))
        step = round(float(weight) * (STEPS - 1))
        return self._line(a, b)[min(max(step, 0), STEPS - 1)]

    def kl(self, document: str) -> list[tuple[str, float]]:
        """Each sentence with its KL, nats, averaged over draws."""
        sentences = self.sentences(document)
        scores = self.model.score(sentences, KL_SAMPLES, seed=0)
        return list(zip(sentences, scores["sentence_kl"].tolist()))

    def mark_unknown(self, document: str) -> list[tuple[str, bool]]:
        """The words of a text, and whether each is known: a list of pairs."""
        preprocessor: Any = self.model.preprocessor
        mark = preprocessor.mark_unknown
        return [pair for x in self.sentences(document) for pair in mark(x)]

    def edit(
        self,
        document: str,
        position: int,
        dimension: int,
        shift: float,
        seed: int | None = None,
        noise: int = 0,
    ) -> tuple[list[str], list[str]]:
        """What follows if one sentence had another latent.

        The sentences before stay as they are reconstructed. z at `position`
        is moved, and the chain goes on from it by the prior, with the same
        noise as from the z that was: what differs comes from the change.

        Args:
            document: text.
            position: of the sentence, from 0.
            dimension: of z, from 0.
            shift: how far to move it there, in standard deviations of the
                prior.
            seed: int: z is drawn from the prior anew first; `None`: not.
            noise: int, seed of the draws of the sentences behind.

        Returns:
            Two lists of sentences, as it was and as it is then.

        Raises:
            ValueError: if there is no such sentence or dimension.
        """
        model = self.model
        sentences = self.sentences(document)
        for name, value, size in (
            ("position", position, len(sentences)),
            ("dimension", dimension, model.latent_dim),
        ):
            if not 0 <= value < size:
                raise ValueError(
                    f"`{name}` must be in [0, {size}). Received: {value}"
                )
        path = model.encode(sentences)["mean"]
        before = path[None, position - 1] if position else None
        changed = path[position].copy()
        zeros = np.zeros((1, 1, model.latent_dim), "float32")
        prior = model.runner.roll_out(zeros, before, 1)[0, 0]
        unit = zeros.copy()
        unit[..., dimension] = 1.0
        if seed is not None:
            draw = np.random.default_rng(seed).standard_normal(zeros.shape)
            changed = model.runner.roll_out(draw.astype("float32"), before, 1)[
                0, 0
            ]
        scale = model.runner.roll_out(unit, before, 1)[0, 0] - prior
        changed = changed + float(shift) * scale
        rest = len(sentences) - position - 1
        draws = np.random.default_rng(noise).standard_normal(
            (1, max(rest, 1), model.latent_dim)
        )
        written: list[Any] = []
        for z in (path[position], changed):
            after = model.runner.roll_out(draws.astype("float32"), z[None], 1)[
                0, :rest
            ]
            whole = np.concatenate([path[:position], z[None], after])
            written.append(model.decode(whole, max_words=self.max_words))
        return written[0], written[1]

    def go_on(
        self,
        document: str,
        num_sentences: int = 3,
        temperature: float = 0.8,
        seed: int = 0,
    ) -> list[str]:
        """New sentences after a document, or a new document."""
        sentences = [x for x in document.split("\n") if x.strip()]
        written: Any = self.model.generate(
            sentences or None,
            num_sentences=int(num_sentences),
            max_words=self.max_words,
            temperature=float(temperature),
            top_p=0.9,
            seed=int(seed),
        )
        return written if sentences else written[0]

    def map(self, **documents) -> list[tuple[float, float, str, str]]:
        """Sentences as points of a plane, among sentences of the prior.

        The plane is that of the two first principal components of the
        latents shown.

        Args:
            **documents: texts by name.

        Returns:
            List of (x, y, name, sentence); the name of the prior's sentences
            is `"prior"`.
        """
        names, sentences, latents = [], [], []
        z, texts = self._cloud
        names += ["prior"] * len(texts)
        sentences += texts
        latents.append(z)
        for name, document in documents.items():
            lines = self.sentences(document)
            names += [name] * len(lines)
            sentences += lines
            latents.append(self.model.encode(lines)["mean"])
        latents = np.concatenate(latents)
        centred = latents - latents.mean(axis=0)
        _, _, axes = np.linalg.svd(centred, full_matrices=False)
        # A model of one dimension has no second axis.
        plane = np.zeros((len(latents), 2))
        plane[:, : len(axes)] = (centred @ axes[:2].T)[:, :2]
        return list(zip(*plane.T.tolist(), names, sentences))

    def sentences(self, document: str) -> list[str]:
        """The lines of a text that are not blank.

        Raises:
            ValueError: if there is none.
        """
        lines = [x for x in document.split("\n") if x.strip()]
        Documents([lines], self.model.preprocessor, self.model.vocabulary_size)
        return lines

    def _interpolate(self, a, b):
        return self.model.interpolate(
            list(a), list(b), STEPS, max_words=self.max_words
        )

    @functools.cached_property
    def _cloud(self):
        rng = np.random.default_rng(0)
        shape = CLOUD_DOCUMENTS, CLOUD_SENTENCES, self.model.latent_dim
        noise = rng.standard_normal(shape).astype("float32")
        z = self.model.runner.roll_out(noise, None, CLOUD_DOCUMENTS)
        written = self.model.decode(z, max_words=self.max_words)
        texts = [sentence for document in written for sentence in document]
        return z.reshape(-1, shape[-1]), texts
