"""What an exported model answers: the signatures of its SavedModel."""

import contextlib
from typing import Any

import tensorflow as tf

from keras_hvae.export.checks import (
    behind,
    checked_draw,
    checked_seed,
    checked_state,
    for_each_row,
    require,
    same_length,
)
from keras_hvae.export.row_methods import RowMethods
from keras_hvae.ids import PAD_ID
from keras_hvae.inference import compiled
from keras_hvae.layers.recurrent.packed_gru import PackedGRU
from keras_hvae.models.document_model import DocumentModel

# What a request may leave out, as in Python: one entry, for all rows. They
# are the defaults of a SignatureDef since they are tensors.
SEED = tf.constant([0])
TEMPERATURE, TOP_P = tf.constant([1.0]), tf.constant([0.9])
# Rows that are worked on at a time: they share the processors, and memory.
PARALLEL_ROWS = 4


class Signatures:
    """The signatures of a model with a chain of latents.

    Functions of tensors with the batch first. Everything random comes from a
    seed a row: see `RowMethods`.

    Args:
        model: a model with a chain of latents and a preprocessor.
        reader: a `GraphReader`.
        num_sentences: how many `generate` writes.
        write_words: largest number of words of a sentence that is written.
        fingerprint: int32 that tells this model's states from another's.
    """

    def __init__(
        self,
        model: DocumentModel,
        reader: Any,
        num_sentences: int,
        write_words: int,
        fingerprint: Any,
    ) -> None:
        self.model = model
        self.rows = RowMethods(model, write_words, reader.max_sentences)
        self.reader = reader
        self.num_sentences = num_sentences
        self.fingerprint = fingerprint

    def endpoints(self) -> dict:
        """Functions and the specs of their arguments, by name."""

        def rows(name, dtype, *shape):
            return tf.TensorSpec([None, *shape], dtype, name=name)

        document = rows("document", tf.string)
        draw = (
            rows("seed", tf.int32),
            rows("temperature", tf.float32),
            rows("top_p", tf.float32),
        )
        state = (
            rows("z", tf.float32, self.model.latent_dim),
            rows("context", tf.float32, self.model.context_encoder.units),
            rows("state", tf.int32, 2),
        )
        pair = rows("a", tf.string), rows("b", tf.string)
        # The first is `serving_default`, too.
        return {
            "reply": (self.reply, (document, *draw)),
            "reply_state": (self.reply_state, (document, *state, *draw)),
            "generate": (self.generate, draw),
            "reconstruct": (self.reconstruct, (document,)),
            "interpolate": (
                self.interpolate,
                (*pair, rows("weight", tf.float32)),
            ),
            "encode": (self.encode, (document,)),
            "encode_sentences": (
                self.encode_sentences,
                (rows("sentences", tf.string, None),),
            ),
            "score": (self.score, (document, rows("seed", tf.int32))),
        }

    def reply(
        self,
        document: "tf.Tensor",
        seed: "tf.Tensor" = SEED,
        temperature: "tf.Tensor" = TEMPERATURE,
        top_p: "tf.Tensor" = TOP_P,
    ) -> "dict[str, tf.Tensor]":
        """The sentence after a document; after an empty one, a first one.

        The document is read as it came, sentence by sentence: z_1 knows x_1
        only. So `reply_state` can go on where this stopped reading.
        """
        batch = tf.shape(document)[0]
        return self.reply_state(
            document,
            tf.zeros([batch, self.model.latent_dim]),
            tf.zeros([batch, self.model.context_encoder.units]),
            tf.zeros([batch, 2], tf.int32),
            seed,
            temperature,
            top_p,
        )

    def reply_state(
        self,
        document: "tf.Tensor",
        z: "tf.Tensor",
        context: "tf.Tensor",
        state: "tf.Tensor",
        seed: "tf.Tensor" = SEED,
        temperature: "tf.Tensor" = TEMPERATURE,
        top_p: "tf.Tensor" = TOP_P,
    ) -> "dict[str, tf.Tensor]":
        """`reply` that goes on reading.

        `document` has the sentences since (the last reply among them). z,
        context and state are those of the answer before; zeros at the start.
        """
        draw = checked_draw(document, seed, temperature, top_p)
        z, context, state = checked_state(
            document, z, context, state, self.fingerprint
        )
        ids, truncated = self.reader(document, keep="last")
        out = _by_row(
            self.rows.reply,
            (ids, z, context, state[:, 0], *draw),
            {
                "reply": tf.TensorSpec([], tf.string),
                "tokens": tf.TensorSpec([], tf.int32),
                "log_prob": tf.TensorSpec([], tf.float32),
                "z": tf.TensorSpec(z.shape[1:], tf.float32),
                "context": tf.TensorSpec(context.shape[1:], tf.float32),
                "count": tf.TensorSpec([], tf.int32),
            },
        )
        known = tf.fill(tf.shape(out["count"]), self.fingerprint)
        return {
            **{key: out[key] for key in ("reply", "tokens", "log_prob")},
            "truncated": truncated,
            "z": out["z"],
            "context": out["context"],
            "state": tf.stack([out["count"], known], axis=1),
        }

    def generate(
        self,
        seed: "tf.Tensor" = SEED,
        temperature: "tf.Tensor" = TEMPERATURE,
        top_p: "tf.Tensor" = TOP_P,
    ) -> "dict[str, tf.Tensor]":
        """Documents of `num_sentences` from the prior."""
        seed = self.reader.check_rows(seed)
        draw = checked_draw(seed, seed, temperature, top_p)
        written = _by_row(
            lambda *row: self.rows.generate(*row, self.num_sentences),
            draw,
            _written(self.num_sentences),
        )
        return {
            "document": _join(written["text"]),
            "sentences": written["text"],
            "tokens": written["tokens"],
            "log_prob": written["log_prob"],
        }

    def reconstruct(self, document: "tf.Tensor") -> "dict[str, tf.Tensor]":
        """Documents written again, greedily, from their posterior means."""
        ids, truncated = self.reader(document)
        room = self.reader.max_sentences
        written = _by_row(
            lambda row: self.rows.reconstruct(row, room),
            (ids,),
            _written(room, mask=True),
        )
        written = _rewritten(written, tf.shape(ids)[1])
        return {**written, "truncated": truncated}

    def interpolate(
        self, a: "tf.Tensor", b: "tf.Tensor", weight: "tf.Tensor"
    ) -> "dict[str, tf.Tensor]":
        """Documents between two: a at weight 0, b at 1.

        The line runs between the paths of the posterior means; the shorter
        path goes on along the prior's means.
        """
        check = require(
            (weight >= 0) & (weight <= 1),
            "`weight` must be >= 0 and <= 1.",
            weight,
        )
        checks = [check, *same_length(a, b=b, weight=weight)]
        a, b, weight = behind(checks, a, b, weight)
        (ids_a, over_a), (ids_b, over_b) = (self.reader(x) for x in (a, b))
        room = self.reader.max_sentences
        written = _by_row(
            lambda *row: self.rows.interpolate(*row, room),
            (ids_a, ids_b, weight),
            _written(room, mask=True),
        )
        most = tf.maximum(tf.shape(ids_a)[1], tf.shape(ids_b)[1])
        return {**_rewritten(written, most), "truncated": over_a | over_b}

    def encode(self, document: "tf.Tensor") -> "dict[str, tf.Tensor]":
        """The posterior of each sentence along the path of its means."""
        ids, truncated = self.reader(document)
        out = compiled.encode(self.model, ids, self._zeros(ids))
        mask = tf.reduce_any(ids != PAD_ID, axis=-1)
        return _encoding(out["mean"], out["log_var"], mask, truncated)

    def encode_sentences(
        self, sentences: "tf.Tensor"
    ) -> "dict[str, tf.Tensor]":
        """`encode` of documents given as rows of sentences.

        Its graph has only what other runtimes know, too.
        """
        ids, truncated = self.reader.sentences(sentences)
        mask = tf.reduce_any(ids != PAD_ID, axis=-1)
        with _unpacked(self.model):
            contexts, backward = self.model.context_encoder(
                self.model.emission.embed(ids), mask=mask
            )
        posterior = self._posterior(contexts, backward, mask)
        return _encoding(*posterior, mask, truncated)

    def score(
        self, document: "tf.Tensor", seed: "tf.Tensor" = SEED
    ) -> "dict[str, tf.Tensor]":
        """nll, KL and ELBO in nats, of one posterior draw."""
        (seed,) = for_each_row(document, seed=checked_seed(seed))
        ids, truncated = self.reader(document)
        room = self.reader.max_sentences
        number, numbers = (tf.TensorSpec(x, tf.float32) for x in ([], [room]))
        out = _by_row(
            lambda *row: self.rows.score(*row, room),
            (ids, seed),
            {
                "nll": number,
                "kl": number,
                "sentence_nll": numbers,
                "sentence_kl": numbers,
            },
        )
        for key in ("sentence_nll", "sentence_kl"):
            out[key] = out[key][:, : tf.shape(ids)[1]]
        return {
            **out,
            "elbo": -(out["nll"] + out["kl"]),
            "sentence_elbo": -(out["sentence_nll"] + out["sentence_kl"]),
            "tokens": tf.math.count_nonzero(ids, axis=[1, 2], dtype=tf.int32),
            "mask": tf.reduce_any(ids != PAD_ID, axis=-1),
            "truncated": truncated,
        }

    def _posterior(self, contexts, backward, mask):
        """Along the path of the means, by a plain loop: `(B, n, d)` each."""
        batch, count = tf.shape(contexts)[0], tf.shape(contexts)[1]
        zeros = tf.zeros([batch, self.model.latent_dim])
        size = [None, self.model.latent_dim]
        results = [
            tf.TensorArray(tf.float32, count, element_shape=size)
            for _ in range(2)
        ]

        def step(i, z, *results):
            mean, posterior, _ = self.model.latent_chain.filter_step(
                contexts[:, i], backward, zeros, z, tf.fill([batch, 1], i > 0)
            )
            z = tf.where(mask[:, i, None], mean, z)
            written = [x.write(i, y) for x, y in zip(results, posterior)]
            return i + 1, z, *written

        _, _, *results = tf.while_loop(
            lambda i, *_: i < count,
            step,
            (0, zeros, *results),
        )
        return [tf.transpose(x.stack(), [1, 0, 2]) for x in results]

    def _zeros(self, ids):
        shape = tf.shape(ids)
        return tf.zeros([shape[0], shape[1], self.model.noise_dim])


def _by_row(function, given, outputs):
    """Calls `function` with each row of `given`, as a batch of one."""

    def row(given):
        out = function(*(x[None] for x in given))
        return {key: out[key][0] for key in outputs}

    # Static shapes: those of an empty batch have no other source.
    return tf.map_fn(
        row,
        given,
        parallel_iterations=PARALLEL_ROWS,
        fn_output_signature=outputs,
    )


def _written(sentences, mask=False):
    dtypes = {"text": tf.string, "tokens": tf.int32, "log_prob": tf.float32}
    if mask:
        dtypes["mask"] = tf.bool
    return {k: tf.TensorSpec([sentences], x) for k, x in dtypes.items()}


def _rewritten(written, room):
    written = {key: x[:, :room] for key, x in written.items()}
    sentences = written.pop("text")
    # A join of ragged rows would forget the blank sentences in front.
    lines = tf.where(written["mask"], tf.strings.join(["\n", sentences]), "")
    text = tf.strings.regex_replace(_join(lines, ""), r"\A\n", "")
    return {"document": text, "sentences": sentences, **written}


def _encoding(mean, log_var, mask, truncated):
    real = tf.cast(mask, tf.float32)[..., None]
    mean, log_var = mean * real, log_var * real
    count = tf.maximum(tf.reduce_sum(real, axis=1), 1.0)
    return {
        "mean": mean,
        "log_var": log_var,
        "mask": mask,
        "document": tf.reduce_sum(mean, axis=1) / count,
        "truncated": truncated,
    }


@contextlib.contextmanager
def _unpacked(model):
    """The GRUs as Keras has them, pads and all."""
    packed = [x for x in model._flatten_layers() if isinstance(x, PackedGRU)]
    try:
        for layer in packed:
            layer.packs = False
        yield
    finally:
        for layer in packed:
            layer.packs = True


def _join(sentences, separator="\n"):
    return tf.strings.reduce_join(sentences, axis=1, separator=separator)
