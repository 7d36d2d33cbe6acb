"""Runs the compiled verbs over batches."""

import itertools

import numpy as np

from keras_hvae import samplers
from keras_hvae.arguments import check_positive_int
from keras_hvae.ids import EOS_ID
from keras_hvae.inference import compiled, randomness

# Each temperature is a verb of its own: the oldest makes room.
MOST_COMPILED = 16


class Runner:
    """Runs the compiled verbs of a model, batch by batch.

    A plain object, which Keras does not track: a compiled verb has the model
    as a layer, and a layer of its own layer would be a loop.

    Args:
        model: an `HVAE`.
    """

    def __init__(self, model):
        self.model = model
        self._made = {}
        self._variables = []

    def verb(self, function, sampler=None, **layers):
        """The compiled verb, made once for each of its arguments."""
        variables = self.model.variables
        if [*map(id, variables)] != [*map(id, self._variables)]:
            # `quantize` and `enable_lora` have changed the model: what was
            # compiled for it has the old variables.
            self._made.clear()
            self._variables = variables
        key = (function, _sampler_key(sampler), *layers.values())
        if key not in self._made:
            if len(self._made) >= MOST_COMPILED:
                self._made.pop(next(iter(self._made)))
            options = dict(layers)
            if sampler is not None:
                options["sampler"] = sampler
            self._made[key] = compiled.CompiledVerb(
                self.model, function, **options
            )
        return self._made[key]

    def mean_paths(self, documents, batch_size):
        """μ and log σ² of each document, lists of arrays `(n, d)`."""
        verb = self.verb(compiled.encode)
        means, log_vars = [], []
        for _, ids in documents.batches(batch_size):
            noise = np.zeros((*ids.shape[:2], self.model.noise_dim), "float32")
            out = compiled.run_padded(verb, {"token_ids": ids, "noise": noise})
            lengths = (ids != 0).any(axis=-1).sum(axis=-1)
            for key, rows in (("mean", means), ("log_var", log_vars)):
                rows += [x[:n] for x, n in zip(out[key], lengths)]
        return means, log_vars

    def roll_out(self, noise, last, batch_size):
        """Latents from the prior after `last` `(B, d)`, or from its start."""
        verb = self.verb(compiled.roll_out)
        parts = []
        for start in range(0, len(noise), batch_size):
            rows = slice(start, start + batch_size)
            inputs = {"noise": noise[rows]}
            if last is not None:
                inputs["previous"] = last[rows]
            parts.append(compiled.run_padded(verb, inputs)["z"])
        return np.concatenate(parts)

    def contexts(self, documents, batch_size):
        """What each sentence is written from, arrays `(n, H)`: see `read`."""
        verb = self.verb(compiled.posterior_context)
        rows = []
        for _, ids in documents.batches(batch_size):
            noise = np.zeros((*ids.shape[:2], self.model.noise_dim), "float32")
            out = compiled.run_padded(verb, {"token_ids": ids, "noise": noise})
            lengths = (ids != 0).any(axis=-1).sum(axis=-1)
            rows += [x[:n] for x, n in zip(out["context"], lengths)]
        return rows

    def generate(self, documents, num_sentences, seeds, batch_size, **options):
        """Ids `(B, num_sentences, m)` of new sentences, after given ones.

        Args:
            documents: `Documents`, or `None` to start new ones.
        """
        if self.model.writes_from_latents:
            last = None
            if documents is not None:
                paths, _ = self.mean_paths(documents, batch_size)
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
        rows, room, words = given.shape
        # Few shapes: all sentences have room from the start.
        ids = np.zeros(
            (rows, room + num_sentences, max(words, max_words + 1)), "int32"
        )
        ids[:, :room, :words] = given
        places = np.arange(ids.shape[1])
        given = places < lengths[:, None]
        noise = randomness.normals(seeds, ids.shape[1], self.model.noise_dim)
        verb = self.verb(compiled.predict_context)
        for sentence in range(num_sentences):
            at = lengths + sentence
            # Only what has a word is read: the one to write has a stand-in.
            ids[np.arange(rows), at, 0] = EOS_ID
            context = compiled.run_padded(
                verb,
                {
                    "token_ids": ids,
                    "noise": noise,
                    "given": given,
                    "position": at.astype("int32"),
                },
            )["context"]
            ids[np.arange(rows), at, : max_words + 1] = self.decode_ids(
                {"contexts": context},
                np.ones((rows, 1), "bool"),
                max_words,
                seeds=[(*seed, sentence) for seed in seeds],
                batch_size=rows,
                **options,
            )[:, 0]
        at = lengths[:, None] + np.arange(num_sentences)
        ids = np.take_along_axis(ids, at[..., None], axis=1)
        return ids[..., : max_words + 1]

    def decode(self, source, mask, single, **options):
        """Words of latents or contexts, as text if there is a vocabulary."""
        ids = self.decode_ids(source, mask, **options)
        return self.as_text(ids, mask, single)

    def decode_ids(
        self,
        source,
        mask,
        max_words,
        sampler,
        seeds,
        batch_size,
        softmax=None,
        **sampler_options,
    ):
        check_positive_int(max_words=max_words, batch_size=batch_size)
        if softmax is not None:
            _check_softmax(softmax, self.model.vocabulary_size)
        verb = self.verb(
            compiled.decode,
            sampler=samplers.get(sampler, **sampler_options),
            softmax=softmax,
        )
        parts = []
        for start in range(0, len(mask), batch_size):
            rows = slice(start, start + batch_size)
            inputs = {
                **{key: x[rows] for key, x in source.items()},
                "real": mask[rows],
                "uniforms": randomness.uniforms(
                    seeds[rows], mask.shape[1], max_words + 1
                ),
            }
            parts.append(compiled.run_padded(verb, inputs)["token_ids"])
        return np.concatenate(parts)

    def as_text(self, ids, mask, single):
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


def _check_softmax(softmax, vocabulary_size):
    size = getattr(softmax, "vocabulary_size", None)
    if size != vocabulary_size or not softmax.built:
        raise ValueError(
            "`softmax` must be a built layer with logits of the model's "
            f"{vocabulary_size} ids, such as an SVDSoftmax. "
            f"Received: {softmax!r}"
        )


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


def _sampler_key(sampler):
    """Samplers of ours are the same if their arguments are."""
    if type(sampler) in (samplers.Beam, samplers.Categorical, samplers.Greedy):
        return type(sampler), str(sampler.get_config())
    return sampler
