"""Compiled steps: what a model does outside `fit`, as pure functions.

Everything random comes in as an input (`noise`, `uniforms`), so that the
functions are pure on every backend and a row's result depends on nothing but
the row. `x` is a batch of documents as the model's emission has it.
"""

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_hvae.distributions import DiagGaussian


def encode(
    model: keras.Model, x: Any, noise: keras.KerasTensor
) -> dict[str, keras.KerasTensor]:
    """Posterior along the path that `noise` (B, n, d) gives; zeros: means.

    With the prior of each sentence on that path.
    """
    chain = model.infer(x, noise)
    keys = ("z", "mean", "log_var", "prior_mean", "prior_log_var")
    return {key: chain[key] for key in keys}


def score(
    model: keras.Model, x: Any, noise: keras.KerasTensor
) -> dict[str, keras.KerasTensor]:
    """nll, kl and log p(z) − log q(z) per sentence, (B, n), at drawn latents.

    The last is `"log_ratio"`: with nll it makes an importance weight.
    """
    reading = model.infer(x, noise)
    nll = -model.emission.log_prob(x, reading.get("context"))
    if not model.latent_dim:
        zeros = ops.zeros_like(nll)
        return {"nll": nll, "kl": zeros, "log_ratio": zeros}
    posterior = DiagGaussian(reading["mean"], reading["log_var"])
    prior = DiagGaussian(reading["prior_mean"], reading["prior_log_var"])
    z = reading["z"]
    log_ratio = prior.log_prob(z) - posterior.log_prob(z)
    real = model.emission.mask(x)
    return {
        "nll": nll,
        "kl": ops.where(real, posterior.kl(prior), 0.0),
        "log_ratio": ops.where(real, log_ratio, 0.0),
        "z": z,
    }


def nll_given_z(
    model: keras.Model, x: Any, z: keras.KerasTensor
) -> dict[str, keras.KerasTensor]:
    """nll per sentence, (B, n), when the decoder is given these latents."""
    return {"nll": -model.emission.log_prob(x, model.decoder_context(z))}


def nll_from_prior(
    model: keras.Model, x: Any, noise: keras.KerasTensor
) -> dict[str, keras.KerasTensor]:
    """nll per sentence, (B, n), with latents from the prior."""
    # Without sentences, as z_conv of a `VHCR` is from the prior too.
    given = ops.zeros_like(model.emission.mask(x))
    context = model.predict_context(x, noise, given)
    return {"nll": -model.emission.log_prob(x, context)}


def roll_out(
    model: keras.Model,
    noise: keras.KerasTensor,
    previous: keras.KerasTensor | None = None,
) -> dict[str, keras.KerasTensor]:
    """Latents from the prior, (B, k, d), after `previous` (B, d) if given."""
    return {"z": model.roll_out(noise, previous)}


def best_words(
    model: keras.Model, x: Any, noise: keras.KerasTensor
) -> dict[str, keras.KerasTensor]:
    """The most probable word after the true ones before, (B, n, m)."""
    context = model.infer(x, noise)["context"]
    return {"token_ids": model.emission.best(x, context), "context": context}


def contexts(model: keras.Model, x: Any) -> dict[str, keras.KerasTensor]:
    """What the chain of an `HVAE` reads: (B, n, H) and (B, H)."""
    read = model.context_encoder(
        model.emission.embed(x), mask=model.emission.mask(x)
    )
    return dict(zip(("contexts", "backward"), read))


def particle_step(
    model: keras.Model,
    x: Any,
    context: keras.KerasTensor,
    backward: keras.KerasTensor,
    noise: keras.KerasTensor,
    previous: keras.KerasTensor,
    started: keras.KerasTensor,
    before: keras.KerasTensor | None = None,
) -> dict[str, keras.KerasTensor]:
    """A draw from q of an `HVAE` at one sentence, and its log-weight.

    Args:
        x: documents of one sentence each, R of them.
        context, backward, noise, previous, started, before: see
            `LatentChain.filter_step`.
    """
    chain = model.latent_chain
    z, posterior, prior = chain.filter_step(
        context, backward, noise, previous, started, before
    )
    context = chain.decoder_context(z, before)[:, None]
    log_prob = model.emission.log_prob(x, context)[:, 0]
    log_ratio = prior.log_prob(z) - posterior.log_prob(z)
    return {"z": z, "log_weight": log_prob + log_ratio}


def follow(
    model: keras.Model,
    x: Any,
    z: keras.KerasTensor,
    context: keras.KerasTensor,
    count: keras.KerasTensor,
) -> dict[str, keras.KerasTensor]:
    """Reads on from a state, sentence by sentence: filtering.

    z_1 knows x_1 only, whatever the model's `inference`, so that one can go
    on from where another call has stopped.

    Args:
        x: the sentences since, B rows.
        z, context: `(B, d)`, `(B, H)`, behind the sentences read before.
        count: how many these are, int32 `(B,)`.

    Returns:
        A dict: the new `"z"` (on the path of the means), `"context"` and
        `"count"`.
    """
    mask = model.emission.mask(x)
    contexts, backward = model.context_encoder.filter(
        model.emission.embed(x), mask, initial_state=context
    )
    noise = ops.zeros_like(contexts[..., :1]) + ops.zeros((model.latent_dim,))
    path, _ = model.latent_chain.posterior_path(
        contexts,
        backward,
        mask,
        ops.cast(noise, "float32"),
        previous=z,
        started=count[:, None] > 0,
    )
    return {
        "z": path[:, -1],
        "context": contexts[:, -1],
        "count": count + ops.sum(ops.cast(mask, "int32"), axis=1),
    }


def next_sentence(
    model: keras.Model,
    z: keras.KerasTensor,
    context: keras.KerasTensor,
    count: keras.KerasTensor,
    noise: keras.KerasTensor,
) -> dict[str, keras.KerasTensor]:
    """What the sentence after a state is written from.

    Args:
        z, context, count: see `follow`.
        noise: ε of the draw from the prior, `(B, d)`.

    Returns:
        A dict with `"context"`, `(B, 1, H)`.
    """
    chain = model.latent_chain
    before = context if chain.past == "text" else None
    z = chain.prior_after(z, count[:, None] > 0, before).sample(noise)
    return {"context": chain.decoder_context(z, before)[:, None]}


def interpolate(
    model: keras.Model,
    a: keras.KerasTensor,
    b: keras.KerasTensor,
    length_a: keras.KerasTensor,
    length_b: keras.KerasTensor,
    weight: keras.KerasTensor,
) -> dict[str, keras.KerasTensor]:
    """Documents on the lines between two paths of posterior means.

    The shorter path goes on along the prior's means.

    Args:
        a, b: `(B, n, d)`; what stands behind their ends does not matter.
        length_a, length_b: their numbers of sentences, int32 `(B,)`.
        weight: of b, `(B,)`.

    Returns:
        A dict: `"z"` `(B, n, d)`, and `"size"`, the number of sentences, int32
        `(B,)`.
    """
    place = ops.arange(ops.shape(a)[1], dtype="int32")  # (n,)
    ends = []
    for path, length in ((a, length_a), (b, length_b)):
        length = length[:, None]  # (B, 1)
        last = ops.take_along_axis(
            path, ops.maximum(length - 1, 0)[..., None], axis=1
        )[:, 0]
        on = model.latent_chain.roll_out(ops.zeros_like(path), last, length > 0)
        # After the end of its path, a document goes on with the roll-out.
        behind = ops.take_along_axis(
            on, ops.maximum(place - length, 0)[..., None], axis=1
        )
        ends.append(ops.where((place < length)[..., None], path, behind))
    share = weight[:, None, None]
    sizes = (ops.cast(x, "float32") for x in (length_a, length_b))
    size = (1 - weight) * next(sizes) + weight * next(sizes)
    return {
        "z": (1 - share) * ends[0] + share * ends[1],
        # `round` rounds halves to the nearest even number.
        "size": ops.cast(ops.round(size), "int32"),
    }


def predict_context(
    model: keras.Model,
    x: Any,
    noise: keras.KerasTensor,
    given: keras.KerasTensor,
    position: keras.KerasTensor,
) -> dict[str, keras.KerasTensor]:
    """Contexts of the sentences at `position` (B,), from those before."""
    contexts = model.predict_context(x, noise, given)
    return {
        "context": ops.take_along_axis(contexts, position[:, None, None], 1)
    }


def posterior_context(
    model: keras.Model, x: Any, noise: keras.KerasTensor
) -> dict[str, keras.KerasTensor]:
    """Contexts of all sentences, (B, n, H), from their posteriors."""
    return {"context": model.infer(x, noise)["context"]}


def decode(
    model: keras.Model,
    real: keras.KerasTensor,
    uniforms: keras.KerasTensor,
    z: keras.KerasTensor | None = None,
    contexts: keras.KerasTensor | None = None,
    **options,
) -> dict[str, keras.KerasTensor]:
    """A sentence from every latent, or from every context.

    Args:
        real: bool (B, n); the others are left empty.
        uniforms: numbers in [0, 1), (B, n, k).
        z, contexts: latents, (B, n, d), or contexts, (B, n, H).
        **options: of the emission's `sample`.
    """
    if contexts is None:
        contexts = model.decoder_context(z)
    return {"x": model.emission.sample(contexts, uniforms, real, **options)}


class CompiledStep(keras.Model):
    """One of the functions above over a model, compiled by Keras.

    `predict_on_batch` is what compiles on every backend (`tf.function`,
    `jax.jit`, none on PyTorch). The model is a sub-layer, so that its weights
    are inputs of the compiled function, not constants in it.
    """

    def __init__(
        self, model: keras.Model, function: Callable, **options
    ) -> None:
        super().__init__(name=function.__name__, dtype="float32")
        self.model = model
        self.function = function
        self.options = options
        # On TensorFlow, XLA would compile again for every length; JAX always
        # uses it.
        self.compile(jit_compile=keras.config.backend() == "jax")

    def call(self, inputs: dict) -> dict[str, keras.KerasTensor]:
        return self.function(self.model, **inputs, **self.options)


def run_padded(step: CompiledStep, inputs: Any) -> dict[str, np.ndarray]:
    """Runs a compiled step on rows padded up to a power of two.

    So few shapes are compiled.

    Args:
        step: a `CompiledStep`.
        inputs: structure of numpy arrays with the same number of rows.

    Returns:
        A dict of numpy arrays with that number of rows.
    """
    rows = len(tree.flatten(inputs)[0])
    room = 1 << (rows - 1).bit_length()

    def padded(x):
        pad = np.zeros((room - rows, *x.shape[1:]), x.dtype)
        return np.concatenate([x, pad])

    with _no_retracing_warnings(), _no_distribution():
        outputs = step.predict_on_batch(tree.map_structure(padded, inputs))
    return {key: np.asarray(x)[:rows] for key, x in outputs.items()}


@contextlib.contextmanager
def _no_distribution():
    """Each process runs all rows: within `fit` on JAX they would be divided.

    Their number need not be a multiple of the number of devices, and a process
    cannot read the results of another.
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        yield
        return
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


@contextlib.contextmanager
def _no_retracing_warnings():
    """Keeps TensorFlow from warning that "one" function is retraced.

    It counts all functions that Keras compiles as one; here each step has its
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
