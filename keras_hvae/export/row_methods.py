"""The methods of an exported model for one row, tensors with batch size 1.

A server puts rows of several clients in a batch. In a batch of another size a
product may round otherwise, and a word at the edge of its probability may
become another one. So what is written is written row by row, each trimmed to
its own size: its answer is the same to the last bit in any company.
"""

import functools

import tensorflow as tf

from keras_hvae.distributions import DiagGaussian
from keras_hvae.export.row_sampler import RowSampler
from keras_hvae.ids import PAD_ID
from keras_hvae.inference import compiled
from keras_hvae.inference.randomness import LATENT, STREAMS, WORDS
from keras_hvae.models.document_model import DocumentModel
from keras_hvae.samplers import Greedy


class RowMethods:
    """reply, generate, reconstruct, interpolate and score of one row.

    Args:
        model: a model with a chain of latents and a preprocessor.
        write_words: largest number of words of a sentence that is written.
        max_sentences: largest number of sentences of a document.
    """

    def __init__(
        self, model: DocumentModel, write_words: int, max_sentences: int
    ) -> None:
        self.model = model
        self.write_words = write_words
        self.max_sentences = max_sentences
        # Traced once, not once for each method: a graph is half as large.
        self._encode, self._follow, self._decode, self._nll = map(
            tf.function,
            (
                functools.partial(compiled.encode, model),
                functools.partial(compiled.follow, model),
                self._written_from,
                self._nll_by_sentence,
            ),
        )

    def reply(
        self,
        ids: "tf.Tensor",
        z: "tf.Tensor",
        context: "tf.Tensor",
        count: "tf.Tensor",
        seed: "tf.Tensor",
        temperature: "tf.Tensor",
        top_p: "tf.Tensor",
    ) -> "dict[str, tf.Tensor]":
        """Reads on from z, context and count; writes the next sentence.

        Args:
            ids: `(1, n, m)`.
            z, context: `(1, d)`, `(1, H)`, behind the sentences read before.
            count: how many these are, int32 `(1,)`.
            seed, temperature, top_p: `(1,)`.
        """
        state = self._follow(trimmed(ids), z, context, count)
        noise = _normals(seed, [1, self.model.latent_dim])
        # A document without sentences is replied to from p_1.
        new = self.model.latent_chain.roll_out(
            noise, state["z"], state["count"][:, None] > 0
        )
        written = self._write(new, seed, temperature, top_p)
        return {
            "reply": written["text"][:, 0],
            "tokens": written["tokens"][:, 0],
            "log_prob": written["log_prob"][:, 0],
            **state,
        }

    def generate(
        self,
        seed: "tf.Tensor",
        temperature: "tf.Tensor",
        top_p: "tf.Tensor",
        num_sentences: int,
    ) -> "dict[str, tf.Tensor]":
        """`num_sentences` sentences from the prior."""
        noise = _normals(seed, [num_sentences, self.model.latent_dim])
        z = self.model.roll_out(noise)
        return self._write(z, seed, temperature, top_p)

    def reconstruct(
        self, ids: "tf.Tensor", room: "tf.Tensor"
    ) -> "dict[str, tf.Tensor]":
        """Writes the sentences again, greedily, from the posterior means.

        Args:
            ids: `(1, n, m)`.
            room: number of sentences of the answer, the last ones empty.
        """
        path, length = self._path(ids)
        return self._write_again(path, length, room)

    def interpolate(
        self,
        a: "tf.Tensor",
        b: "tf.Tensor",
        weight: "tf.Tensor",
        room: "tf.Tensor",
    ) -> "dict[str, tf.Tensor]":
        """Writes the document between two, at `weight` `(1,)` of b."""
        paths, lengths = zip(*(self._path(ids) for ids in (a, b)))
        # A document without sentences has a place for one, too.
        most = tf.maximum(*(tf.shape(path)[1] for path in paths))
        a, b = (_pad(path, most) for path in paths)
        line = compiled.interpolate(
            self.model, a, b, lengths[0][None], lengths[1][None], weight
        )
        return self._write_again(line["z"], line["size"][0], room)

    def score(
        self, ids: "tf.Tensor", seed: "tf.Tensor", room: "tf.Tensor"
    ) -> "dict[str, tf.Tensor]":
        """nll and KL of the sentences at one posterior draw, nats."""
        ids, length = trimmed(ids), _length(ids)
        noise = _normals(seed, [self.max_sentences, self.model.latent_dim])
        reading = compiled.encode(self.model, ids, noise[:, : tf.shape(ids)[1]])
        posterior = DiagGaussian(reading["mean"], reading["log_var"])
        kl = posterior.kl(
            DiagGaussian(reading["prior_mean"], reading["prior_log_var"])
        )
        nll = self._nll(ids, reading["z"])
        real = tf.range(tf.shape(ids)[1]) < length
        nll, kl = (tf.where(real, x, 0.0) for x in (nll, kl))
        return {
            "nll": tf.reduce_sum(nll, axis=1),
            "kl": tf.reduce_sum(kl, axis=1),
            "sentence_nll": _pad(nll, room),
            "sentence_kl": _pad(kl, room),
        }

    def _path(self, ids):
        """Posterior means `(1, n, d)` and the number of sentences."""
        length, ids = _length(ids), trimmed(ids)
        shape = [1, tf.shape(ids)[1], self.model.noise_dim]
        return self._encode(ids, tf.zeros(shape))["z"], length

    def _write(self, z, seed, temperature, top_p):
        """A sentence from each latent `(1, k, d)`, k static."""
        count, words = z.shape[1], self.write_words + 1
        settings = (tf.repeat(x, count)[:, None] for x in (temperature, top_p))
        return self._decode(z, _uniforms(seed, count, words), *settings)

    def _write_again(self, z, length, room):
        z = z[:, :length]
        uniforms = tf.zeros([1, length, self.write_words + 1])
        written = self._decode(z, uniforms)
        written = {key: _pad(x, room) for key, x in written.items()}
        return {**written, "mask": tf.range(room)[None] < length}

    def _written_from(self, z, uniforms, temperature=None, top_p=None):
        """Sentences of latents `(1, k, d)`; greedy without a temperature."""
        sampler = Greedy()
        if temperature is not None:
            sampler = RowSampler(temperature, top_p)
        real = tf.ones(tf.shape(z)[:2], tf.bool)
        ids = compiled.decode(self.model, real, uniforms, z=z, sampler=sampler)[
            "x"
        ]
        return {
            "text": self.model.preprocessor.detokenize_tensor(ids),
            "tokens": tf.math.count_nonzero(ids, axis=-1, dtype=tf.int32),
            "log_prob": -self._nll(ids, z),
        }

    def _nll_by_sentence(self, ids, z):
        """nll per sentence, `(1, n)`: the logits of one sentence at a time."""
        model = self.model
        hidden = model.emission.states(ids, model.decoder_context(z))

        def sentence(given):
            hidden, ids = given
            nll = model.emission.token_nll.nll(
                hidden[None, None], ids[None, None]
            )
            return tf.reduce_sum(nll)

        nll = tf.map_fn(
            sentence,
            (hidden[0], ids[0]),
            parallel_iterations=1,
            fn_output_signature=tf.TensorSpec([], tf.float32),
        )
        return nll[None]


def trimmed(ids: "tf.Tensor") -> "tf.Tensor":
    """Without padding that a longer row beside it has brought in.

    One sentence and one word at least are left.
    """
    words = tf.reduce_any(ids[0] != PAD_ID, axis=0)
    count = tf.math.count_nonzero(words, dtype=tf.int32)
    return ids[:, : tf.maximum(_length(ids), 1), : tf.maximum(count, 1)]


def _length(ids):
    """Number of sentences of the row."""
    real = tf.reduce_any(ids[0] != PAD_ID, axis=-1)
    return tf.math.count_nonzero(real, dtype=tf.int32)


def _pad(x, room):
    """`(1, n, ...)` to `(1, room, ...)`, with zeros or empty strings."""
    behind = [[0, 0]] * (x.shape.rank - 2)
    return tf.pad(
        x,
        [[0, 0], [0, room - tf.shape(x)[1]], *behind],
        constant_values=tf.zeros([], x.dtype),
    )


def _normals(seed, shape):
    """Standard normal numbers `(1, *shape)`.

    The shape must be static: what a row draws depends on it.
    """
    seeds = _stream(seed, LATENT, 0)
    return tf.random.stateless_normal([1, *shape], seeds, alg="philox")


def _uniforms(seed, sentences, words):
    """Numbers in [0, 1), `(1, sentences, words)`: a stream a sentence."""
    draws = [
        tf.random.stateless_uniform(
            [words], _stream(seed, WORDS, i), alg="philox"
        )
        for i in range(sentences)
    ]
    return tf.stack(draws)[None]


def _stream(seed, kind, index):
    """What `randomness.stream` has for row 0 of the seed."""
    return tf.stack([seed[0], STREAMS * index + kind])
