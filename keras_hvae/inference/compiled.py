"""The model's verbs as pure functions of tensors, compiled.

Everything random comes in as an input (`noise`, `uniforms`), so that the
functions are pure on every backend and a row's result depends on nothing but
the row.
"""

import contextlib
import logging

import keras
import numpy as np
from keras import ops

from keras_hvae.distributions import (
    diag_gaussian_kl,
    diag_gaussian_log_prob,
)
from keras_hvae.ids import BOS_ID, EOS_ID, PAD_ID, UNK_ID
from keras_hvae.samplers import Sampler

NEVER_WRITTEN = (PAD_ID, UNK_ID, BOS_ID)


def encode(model, token_ids, noise):
    """Posterior along the path that `noise` (B, n, d) gives; zeros: means.

    With the prior of each sentence on that path.
    """
    chain = model.read(token_ids, noise)
    keys = ("z", "mean", "log_var", "prior_mean", "prior_log_var")
    return {key: chain[key] for key in keys}


def score(model, token_ids, noise):
    """nll, kl and log p(z) − log q(z) per sentence, (B, n), at drawn latents.

    The last is `"log_ratio"`: with nll it makes an importance weight.
    """
    reading = model.read(token_ids, noise)
    nll = _nll(model, token_ids, reading.get("context"))
    if not model.latent_dim:
        zeros = ops.zeros_like(nll)
        return {"nll": nll, "kl": zeros, "log_ratio": zeros}
    posterior = reading["mean"], reading["log_var"]
    prior = reading["prior_mean"], reading["prior_log_var"]
    z = reading["z"]
    log_ratio = diag_gaussian_log_prob(z, *prior)
    log_ratio = log_ratio - diag_gaussian_log_prob(z, *posterior)
    real = ops.any(token_ids != PAD_ID, axis=-1)
    return {
        "nll": nll,
        "kl": ops.where(real, diag_gaussian_kl(*posterior, *prior), 0.0),
        "log_ratio": ops.where(real, log_ratio, 0.0),
        "z": z,
    }


def nll_given_z(model, token_ids, z):
    """nll per sentence, (B, n), when the decoder is given these latents."""
    return {"nll": _nll(model, token_ids, model.decoder_context(z))}


def nll_from_prior(model, token_ids, noise):
    """nll per sentence, (B, n), with latents from the prior."""
    # As if no sentence were given: z_conv of a `VHCR` is from the prior, too.
    given = ops.zeros(ops.shape(token_ids)[:2], "bool")
    contexts = model.predict_context(token_ids, noise, given)
    return {"nll": _nll(model, token_ids, contexts)}


def _nll(model, token_ids, contexts):
    hidden = model.write(token_ids, contexts)
    return ops.sum(model.token_nll.nll(hidden, token_ids), axis=-1)


def roll_out(model, noise, previous=None):
    """Latents from the prior, (B, k, d), after `previous` (B, d) if given."""
    return {"z": model.roll_out(noise, previous)}


def best_words(model, token_ids, noise):
    """The most probable word after the true ones before, (B, n, m)."""
    context = model.read(token_ids, noise)["context"]
    hidden = model.write(token_ids, context)

    banned = _never_written(model)

    def best(row):  # a sentence each: all logits at once take much memory
        logits = model.token_nll.logits(row) + banned
        return ops.argmax(logits, axis=-1)

    rows = ops.reshape(hidden, (-1, ops.shape(hidden)[2], hidden.shape[-1]))
    best = ops.reshape(ops.map(best, rows), ops.shape(token_ids))
    return {"token_ids": best, "context": context}


def contexts(model, token_ids):
    """What the chain of an `HVAE` reads: (B, n, H) and (B, H)."""
    mask = ops.any(token_ids != PAD_ID, axis=-1)
    read = model.context_encoder(model.sentences(token_ids), mask=mask)
    return dict(zip(("contexts", "backward"), read))


def particle_step(model, token_ids, context, backward, noise, previous=None):
    """A draw from q of an `HVAE` at one sentence, and its log-weight.

    Args:
        token_ids: (R, 1, m).
        context, backward: of the document at that sentence, (R, H).
        noise: (R, d).
        previous: z of the sentence before, (R, d); `None` at the first.
    """
    chain = model.latent_chain
    posterior = chain.posterior_step(context, backward, previous)
    z = chain.sampling(*posterior, noise=noise)
    prior = chain.prior_after(previous)
    log_ratio = diag_gaussian_log_prob(z, *prior)
    log_ratio = log_ratio - diag_gaussian_log_prob(z, *posterior)
    nll = _nll(model, token_ids, model.decoder_context(z)[:, None])
    return {"z": z, "log_weight": log_ratio - nll[:, 0]}


def predict_context(model, token_ids, noise, given, position):
    """Contexts of the sentences at `position` (B,), from those before."""
    contexts = model.predict_context(token_ids, noise, given)
    return {
        "context": ops.take_along_axis(contexts, position[:, None, None], 1)
    }


def posterior_context(model, token_ids, noise):
    """Contexts of all sentences, (B, n, H), from their posteriors."""
    return {"context": model.read(token_ids, noise)["context"]}


def decode(model, real, uniforms, sampler, z=None, contexts=None, softmax=None):
    """Words of every latent, or of every context: ids (B, n, m).

    Args:
        real: bool (B, n); the others are left empty.
        uniforms: numbers in [0, 1) for the sampler, (B, n, m); m is the
            largest number of ids a sentence may get, `[EOS]` included.
        sampler: a sampler.
        z, contexts: latents, (B, n, d), or contexts, (B, n, H).
        softmax: layer with `logits`; the model's if not given.
    """
    softmax = model.token_nll if softmax is None else softmax
    batch, sentences, words = ops.shape(uniforms)
    rows = batch * sentences
    if contexts is None:
        contexts = model.decoder_context(z)
    contexts = ops.reshape(contexts, (rows, contexts.shape[-1]))
    real = ops.reshape(real, (rows, 1))
    position = ops.arange(words + 1, dtype="int32")
    # The prompt: [BOS], then room. A row that is not real starts with [EOS]
    # behind it, which stops it at once.
    prompt = ops.where(position == 0, BOS_ID, PAD_ID)
    blocked = ops.logical_and(ops.logical_not(real), position == 1)
    prompt = ops.where(blocked, EOS_ID, prompt)  # (R, m + 1)
    banned = _never_written(model)

    def next(prompt, cache, index):
        words = model.token_embedding(ops.take(prompt, index - 1, axis=1))
        state = model.word_decoder.step(
            words, cache["prepared"], cache["state"]
        )
        logits = softmax.logits(state) + banned
        return logits, state, {**cache, "state": state}

    options = {}
    if isinstance(sampler, Sampler):
        uniforms = ops.reshape(uniforms, (rows, words))
        options["uniforms"] = ops.pad(uniforms, ((0, 0), (1, 0)))
    written = sampler(
        next,
        prompt,
        cache={
            "prepared": model.word_decoder.prepare(contexts),
            "state": model.word_decoder.initial_state(contexts),
        },
        index=1,
        mask=blocked,
        stop_token_ids=(EOS_ID,),
        **options,
    )[:, 1:]
    # A sampler of the user's own may go on writing behind the first stop.
    ended = ops.cumsum(ops.cast(written == EOS_ID, "int32"), axis=-1)
    before = ended - ops.cast(written == EOS_ID, "int32") == 0
    written = ops.where(ops.logical_and(before, real), written, PAD_ID)
    # What runs on is cut as a preprocessor cuts: `[EOS]` ends it.
    last = ops.arange(words, dtype="int32") == words - 1
    runs_on = ops.logical_and(last, written != PAD_ID)
    written = ops.where(runs_on, EOS_ID, written)
    return {"token_ids": ops.reshape(written, (batch, sentences, words))}


def _never_written(model):
    """What keeps some ids from being written, to add to logits: `(V,)`."""
    banned = np.zeros(model.vocabulary_size, "float32")
    banned[list(NEVER_WRITTEN)] = -1e9
    return ops.convert_to_tensor(banned)


class CompiledVerb(keras.Model):
    """One of the functions above over a model, compiled by Keras.

    `predict_on_batch` is what compiles on every backend (`tf.function`,
    `jax.jit`, none on PyTorch). The model is a sub-layer, so that its weights
    are inputs of the compiled function, not constants in it.
    """

    def __init__(self, model, function, **options):
        super().__init__(name=function.__name__, dtype="float32")
        self.model = model
        self.function = function
        self.options = options
        # XLA would compile anew for every length; JAX knows nothing else.
        self.compile(jit_compile=keras.config.backend() == "jax")

    def call(self, inputs):
        return self.function(self.model, **inputs, **self.options)


def run_padded(verb, inputs):
    """Runs a verb on rows padded up to a power of two.

    So few shapes are compiled.

    Args:
        verb: a `CompiledVerb`.
        inputs: dict of numpy arrays with the same number of rows.

    Returns:
        A dict of numpy arrays with that number of rows.
    """
    rows = len(next(iter(inputs.values())))
    room = 1 << (rows - 1).bit_length()
    padded = {
        key: np.concatenate([x, np.zeros((room - rows, *x.shape[1:]), x.dtype)])
        for key, x in inputs.items()
    }
    with _no_retracing_warnings():
        outputs = verb.predict_on_batch(padded)
    return {key: np.asarray(x)[:rows] for key, x in outputs.items()}


@contextlib.contextmanager
def _no_retracing_warnings():
    """Keeps TensorFlow from warning that "one" function is retraced.

    It counts all functions that Keras compiles as one; here each verb has its
    own, traced for few shapes.
    """
    logger = logging.getLogger("tensorflow")
    logger.addFilter(_is_no_retracing_warning)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_retracing_warning)


def _is_no_retracing_warning(record):
    return "triggered tf.function retracing" not in record.getMessage()
