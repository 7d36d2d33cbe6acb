"""Runs the compiled steps over batches."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hvae import samplers
from keras_hvae.arguments import check_positive_int
from keras_hvae.emissions import WordEmission
from keras_hvae.ids import EOS_ID
from keras_hvae.inference import compiled, randomness

# Each temperature is compiled as a step of its own; the oldest is dropped.
MOST_COMPILED = 16


class Runner:
    """Runs the compiled steps of a model, batch by batch.

    A plain object, which Keras does not track: a compiled step has the model
    as a layer, and a layer of its own layer would be a loop.

    Args:
        model: a model of the package.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self._made = {}
        self._variables = []

    def compiled(self, function: Callable, **options) -> compiled.CompiledStep:
        """The compiled step, made once for each of its options."""
        variables = self.model.variables
        if [*map(id, variables)] != [*map(id, self._variables)]:
            # `quantize` and `enable_lora` have changed the model: what was
            # compiled for it has the old variables.
            self._made.clear()
            self._variables = variables
        key = (function, *map(_option_key, options.values()))
        if key not in self._made:
            if len(self._made) >= MOST_COMPILED:
                self._made.pop(next(iter(self._made)))
            self._made[key] = compiled.CompiledStep(
                self.model, function, **options
            )
        return self._made[key]

    def run(self, function: Callable, **inputs) -> dict[str, np.ndarray]:
        """Runs a step on one batch: arrays in, a dict of arrays out."""
        return compiled.run_padded(self.compiled(function), inputs)

    def mask(self, x: Any) -> np.ndarray:
        """Which steps of a batch are real: bool `(B, n)`."""
        return ops.convert_to_numpy(self.model.emission.mask(x))

    def units(self, x: Any) -> np.ndarray:
        """Tokens, or frames, of each step of a batch: int `(B, n)`."""
        units = ops.convert_to_numpy(self.model.emission.units(x))
        return units.astype("int64")

    def no_noise(self, x: Any) -> np.ndarray:
        """ε of the path of the posterior means: zeros `(B, n, d)`."""
        shape = *self.mask(x).shape, self.model.noise_dim
        return np.zeros(shape, "float32")

    def rows(
        self, function: Callable, documents: Any, batch_size: int
    ) -> dict[str, list[np.ndarray]]:
        """Runs a step that reads, along the path of the means.

        Returns:
            A dict of lists: an array `(n_i, ...)` for each document.
        """
        lists = {}
        for _, x in documents.batches(batch_size):
            out = self.run(function, x=x, noise=self.no_noise(x))
            lengths = self.mask(x).sum(axis=1)
            for key, rows in out.items():
                lists.setdefault(key, []).extend(
                    row[:n] for row, n in zip(rows, lengths)
                )
        return lists

    def roll_out(
        self, noise: np.ndarray, last: np.ndarray | None, batch_size: int
    ) -> np.ndarray:
        """Latents from the prior after `last` `(B, d)`, or from its start."""
        parts = []
        for start in range(0, len(noise), batch_size):
            rows = slice(start, start + batch_size)
            inputs = {"noise": noise[rows]}
            if last is not None:
                inputs["previous"] = last[rows]
            parts.append(self.run(compiled.roll_out, **inputs)["z"])
        return np.concatenate(parts)

    def follow(
        self, documents: Any, state: dict[str, np.ndarray], batch_size: int
    ) -> dict[str, np.ndarray]:
        """Reads documents from a state: see `compiled.follow`."""
        parts = []
        for rows, x in documents.batches(batch_size):
            given = {key: value[rows] for key, value in state.items()}
            parts.append(self.run(compiled.follow, x=x, **given))
        return {
            key: np.concatenate([part[key] for part in parts])
            for key in parts[0]
        }

    def next_contexts(
        self, state: dict[str, np.ndarray], noise: np.ndarray, batch_size: int
    ) -> np.ndarray:
        """What the sentence after a state is written from: `(B, 1, H)`."""
        parts = []
        for start in range(0, len(noise), batch_size):
            rows = slice(start, start + batch_size)
            given = {key: value[rows] for key, value in state.items()}
            step = compiled.next_sentence
            parts.append(self.run(step, noise=noise[rows, 0], **given))
        return np.concatenate([part["context"] for part in parts])

    def generate(
        self,
        documents: Any,
        num_sentences: int,
        seeds: Sequence,
        batch_size: int,
        **options,
    ) -> np.ndarray:
        """Ids `(B, num_sentences, m)` of new sentences, after given ones.

        Args:
            documents: `Documents`, or `None` to start new ones.
        """
        if self.model.writes_from_latents:
            last = None
            if documents is not None:
                paths = self.rows(compiled.encode, documents, batch_size)[
                    "mean"
                ]
                last = np.stack([path[-1] for path in paths])
            noise = randomness.normals(
                seeds, num_sentences, self.model.noise_dim
            )
            z = self.roll_out(noise, last, batch_size)
            return self.decode_ids(
                {"z": z},
                np.ones(z.shape[:2], "bool"),
                seeds=seeds,
                batch_size=batch_size,
                **options,
            )
        if documents is None:
            documents = _NoDocuments(len(seeds))
        return np.concatenate(
            [
                self._write_on(given, num_sentences, seeds[rows], **options)
                for rows, given in documents.batches(batch_size)
            ]
        )

    def _write_on(self, given, num_sentences, seeds, max_words, **options):
        """Sentence after sentence, each read before the next is written."""
        lengths = (given != 0).any(axis=-1).sum(axis=-1)  # (B,)
        written = self.model.emission.num_uniforms(max_words)
        rows, room, words = given.shape
        # Room for all new sentences from the start: fewer shapes are compiled.
        ids = np.zeros(
            (rows, room + num_sentences, max(words, written)), "int32"
        )
        ids[:, :room, :words] = given
        places = np.arange(ids.shape[1])
        given = places < lengths[:, None]
        chain = self.model.has_chain
        count = num_sentences if chain else ids.shape[1]
        noise = randomness.normals(seeds, count, self.model.noise_dim)
        if chain:
            # That of the first new sentence is that of `reply`.
            new = noise
            noise = np.zeros((*ids.shape[:2], new.shape[-1]), "float32")
            at = lengths[:, None] + np.arange(num_sentences)
            np.put_along_axis(noise, at[..., None], new, axis=1)
        for sentence in range(num_sentences):
            at = lengths + sentence
            own = [(*seed, sentence) for seed in seeds]
            if chain and not sentence:
                own = seeds
            # A sentence without a word counts as padding: [EOS] stands in for
            # the one to be written.
            ids[np.arange(rows), at, 0] = EOS_ID
            context = self.run(
                compiled.predict_context,
                x=ids,
                noise=noise,
                given=given,
                position=at.astype("int32"),
            )["context"]
            ids[np.arange(rows), at, :written] = self.decode_ids(
                {"contexts": context},
                np.ones((rows, 1), "bool"),
                seeds=own,
                batch_size=rows,
                max_words=max_words,
                **options,
            )[:, 0]
        at = lengths[:, None] + np.arange(num_sentences)
        ids = np.take_along_axis(ids, at[..., None], axis=1)
        return ids[..., :written]

    def decode(
        self,
        source: dict[str, np.ndarray],
        mask: np.ndarray,
        single: bool,
        **options,
    ) -> list | np.ndarray:
        """Words of latents or contexts, as text if there is a vocabulary.

        Frames as an array `(n_i, D)` a sequence: no padding tells their end.
        """
        written = self.decode_ids(source, mask, **options)
        if isinstance(self.model.emission, WordEmission):
            return self.as_text(written, mask, single)
        rows = [row[real] for row, real in zip(written, mask)]
        return rows[0] if single else rows

    def decode_ids(
        self,
        source: dict[str, np.ndarray],
        mask: np.ndarray,
        seeds: Sequence,
        batch_size: int,
        max_words: int | None = None,
        **options,
    ) -> np.ndarray:
        """A sentence, or frame, for each latent or context: `(B, n, ...)`.

        Args:
            source: a dict with `"z"` `(B, n, d)` or `"contexts"` `(B, n, H)`.
            mask: bool `(B, n)`, where to write.
            seeds: of the rows.
            batch_size, max_words, **options: see `generate`.
        """
        check_positive_int(batch_size=batch_size)
        emission = self.model.emission
        step = self.compiled(
            compiled.decode, **emission.sample_options(**options)
        )
        count = emission.num_uniforms(max_words)
        parts = []
        for start in range(0, len(mask), batch_size):
            rows = slice(start, start + batch_size)
            inputs = {
                **{key: x[rows] for key, x in source.items()},
                "real": mask[rows],
                "uniforms": randomness.uniforms(
                    seeds[rows], mask.shape[1], count
                ),
            }
            parts.append(compiled.run_padded(step, inputs)["x"])
        return np.concatenate(parts)

    def as_text(
        self, ids: np.ndarray, mask: np.ndarray, single: bool
    ) -> list | np.ndarray:
        """Strings of the sentences in the mask, or the ids without words."""
        preprocessor = self.model.preprocessor
        if preprocessor is None:
            return ids[0] if single else ids
        sentences = iter(preprocessor.detokenize(ids[mask]))
        texts = [
            list(itertools.islice(sentences, int(n))) for n in mask.sum(axis=1)
        ]
        return texts[0] if single else texts


class _NoDocuments:
    """Documents that are still empty."""

    def __init__(self, count):
        self.count = count

    def batches(self, batch_size):
        for start in range(0, self.count, batch_size):
            rows = slice(start, min(start + batch_size, self.count))
            yield rows, np.zeros((rows.stop - start, 0, 1), "int32")


def pad_rows(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
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


def _option_key(option):
    """Samplers of ours are the same if their arguments are."""
    ours = (samplers.Beam, samplers.Categorical, samplers.Greedy)
    if type(option) in ours:
        return type(option), str(option.get_config())
    return option
