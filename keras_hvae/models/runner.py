"""Runs the compiled verbs over batches."""

import itertools

import numpy as np

from keras_hvae import samplers
from keras_hvae.arguments import check_positive_int
from keras_hvae.models import compiled, randomness

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

    def verb(self, function, sampler=None, **layers):
        """The compiled verb, made once for each of its arguments."""
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
            noise = np.zeros((*ids.shape[:2], self.model.latent_dim), "float32")
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

    def decode(
        self,
        z,
        mask,
        single,
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
        preprocessor = self.model.preprocessor
        if preprocessor is None:
            return ids[0] if single else ids
        sentences = iter(preprocessor.detokenize(ids[mask]))
        texts = [
            list(itertools.islice(sentences, int(n))) for n in mask.sum(axis=1)
        ]
        return texts[0] if single else texts


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
