"""The recipe: optimizer, schedules, callbacks."""

import dataclasses
import math
import os

import keras

from keras_hvae.arguments import check_choice, check_positive_int
from keras_hvae.callbacks import (
    AutoencoderPretraining,
    BestModel,
    KLAnnealing,
    LatentDiagnostics,
    NonFiniteSteps,
    StopAfter,
)
from keras_hvae.callbacks.kl_annealing import SHAPES
from keras_hvae.data.corpus import Corpus
from keras_hvae.optimizers import GuardedAdam

LEARNING_RATE = 0.005
# The last learning rate as a share of the first; the share of the steps in
# which β rises; the norm that gradients are clipped to.
LOWEST_RATE = 0.02
ANNEALING = 0.4
GRADIENT_NORM = 5.0


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What `recipe` has decided.

    Attributes:
        optimizer: for `compile`.
        epochs, steps_per_epoch: for `fit`.
        steps: batches in all.
        callbacks: for `fit`.
        best: the `BestModel` among them, or `None`.
        annealing_steps: batches in which β rises.
    """

    optimizer: keras.optimizers.Optimizer
    epochs: int
    steps_per_epoch: int | None
    steps: int
    callbacks: list
    best: BestModel | None
    annealing_steps: int


def recipe(
    corpus: Corpus,
    epochs: int = 10,
    steps: int | None = None,
    learning_rate: float = LEARNING_RATE,
    kl_annealing: str = "linear",
    annealing_steps: int | None = None,
    pretraining_steps: int = 0,
    latents: bool = True,
    best_model: str | os.PathLike | None = None,
    verbose: int = 1,
    non_finite: str = "skip",
) -> Recipe:
    """The training that the shell, the examples and the benchmarks use.

    Adam on a cosine that falls from `learning_rate`, clipped gradients, β
    from 0 to 1 in the first 40 % of the batches, a diagnosis of the latents
    after each epoch. Steps that are not finite are left out.

    Args:
        corpus: what `keras_hvae.data.load` gave.
        epochs: passes over `corpus.train`.
        steps: batches in all, if that is less.
        learning_rate: the first one.
        kl_annealing: `"linear"`, `"sigmoid"`, `"cyclical"` or `"none"`.
        annealing_steps: batches until β = 1; if not given, 40 % of all
            behind `pretraining_steps`.
        pretraining_steps: batches with β = 0 before them; see
            `callbacks.AutoencoderPretraining`.
        latents: whether the model has latents.
        best_model: optional path of a `.keras` file that keeps the model of
            the epoch with the best −ELBO in validation.
        verbose: whether the diagnosis is printed.
        non_finite: `"skip"` or `"stop"`: what happens at a step whose loss or
            gradients are not finite; see `callbacks.NonFiniteSteps`.

    Returns:
        A `Recipe`.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> corpus = keras_hvae.data.load([["yes", "no"], ["no"]] * 20)
    >>> model = HVAE(corpus.vocabulary, 2, 4, 8)
    >>> plan = keras_hvae.training.recipe(corpus, epochs=1, verbose=0)
    >>> model.compile(plan.optimizer)
    >>> history = model.fit(
    ...     corpus.train,
    ...     validation_data=corpus.valid,
    ...     epochs=plan.epochs,
    ...     steps_per_epoch=plan.steps_per_epoch,
    ...     callbacks=plan.callbacks,
    ...     shuffle=False,
    ...     verbose=0,
    ... )
    >>> plan.steps == len(corpus.train)
    True
    """
    check_recipe(epochs, steps, learning_rate)
    check_choice((*SHAPES, "none"), kl_annealing=kl_annealing)
    batches = len(corpus.train)
    total = epochs * batches
    if steps is not None:
        total = min(total, steps)
    if pretraining_steps and kl_annealing != "linear":
        raise ValueError(
            '`kl_annealing` must be "linear" with `pretraining_steps`. '
            f"Received: {kl_annealing!r}"
        )
    if annealing_steps is None:
        rest = total - pretraining_steps
        annealing_steps = max(round(ANNEALING * rest), 1)
    if pretraining_steps and pretraining_steps + annealing_steps > total:
        raise ValueError(
            "`pretraining_steps` and `annealing_steps` must be at most "
            f"{total} together, all batches of the training. Received: "
            f"{pretraining_steps} and {annealing_steps}"
        )
    callbacks = [NonFiniteSteps(non_finite)]
    best = None
    if best_model is not None:
        # Not the training loss, in which the KL's weight grows.
        monitor = "perplexity" if corpus.valid is None else "val_loss"
        best = BestModel(best_model, monitor=monitor)
        callbacks.append(best)
    if latents and pretraining_steps:
        callbacks.append(
            AutoencoderPretraining(pretraining_steps, annealing_steps)
        )
    elif latents and kl_annealing != "none":
        callbacks.append(KLAnnealing(annealing_steps, kl_annealing))
    if latents and corpus.valid is not None:
        callbacks.append(LatentDiagnostics(corpus.valid, verbose=verbose))
    if total > batches and total % batches:
        callbacks.append(StopAfter(total))
    rate = keras.optimizers.schedules.CosineDecay(
        learning_rate, total, LOWEST_RATE
    )
    return Recipe(
        optimizer=GuardedAdam(rate, global_clipnorm=GRADIENT_NORM),
        epochs=math.ceil(total / batches),
        steps_per_epoch=total if total < batches else None,
        steps=total,
        callbacks=callbacks,
        best=best,
        annealing_steps=annealing_steps,
    )


def check_recipe(epochs: int, steps: int | None, learning_rate: float) -> None:
    """Raises `ValueError` for numbers that no recipe can have."""
    check_positive_int(epochs=epochs)
    if steps is not None:
        check_positive_int(steps=steps)
    if not learning_rate > 0:
        raise ValueError(
            f"`learning_rate` must be > 0. Received: {learning_rate}"
        )
