"""Trains a model for a number of minutes, whatever its speed.

For the results table and the presets: the budget is time, and rates and
weights of the KL follow the time used.
"""

import math
import os
import time

import keras
import numpy as np

import keras_hvae
from keras_hvae.callbacks import KLAnnealing
from keras_hvae.callbacks.autoencoder_pretraining import reset_decoder
from keras_hvae.training.recipe import (
    GRADIENT_NORM,
    LEARNING_RATE,
    LOWEST_RATE,
)

# Validations in the course of a training; of the last three the best one's
# weights are kept.
CHECKS = 6


class Budget(keras.callbacks.Callback):
    """Trains for so many seconds, on a falling learning rate.

    The clock starts behind the first steps, which compile, and stands still
    in validation. The rate falls as half a cosine of the time used.

    Args:
        seconds: of training.
        valid: batches to validate on.
        steps: number of steps, in place of the seconds.
    """

    def __init__(self, seconds, valid, steps=None):
        super().__init__()
        self.seconds, self.valid, self.steps = seconds, valid, steps
        self.used, self.done, self.checks = 0.0, 0, 0
        self.best, self.history = (math.inf, None), []

    def on_train_begin(self, logs=None):
        self.rate = float(self.model.optimizer.learning_rate)

    def on_train_batch_begin(self, batch, logs=None):
        self.began = time.perf_counter()
        cosine = math.cos(math.pi * min(self.share, 1.0))
        rate = self.rate * (LOWEST_RATE + (1 - LOWEST_RATE) * (1 + cosine) / 2)
        self.model.optimizer.learning_rate.assign(rate)

    def on_train_batch_end(self, batch, logs=None):
        self.done += 1
        if self.done > 5:
            self.used += time.perf_counter() - self.began
        if self.share >= (self.checks + 1) / CHECKS:
            self.checks += 1
            self.check()
        if self.share >= 1:
            self.model.stop_training = True

    @property
    def share(self):
        if self.steps:
            return self.done / self.steps
        return self.used / self.seconds

    def check(self):
        figures = keras_hvae.evaluation.evaluate(
            self.model, self.valid, metrics=("likelihood",), verbose=0
        )
        bound = figures["neg_elbo"]["per_token"]
        kl = figures["kl"]["per_sentence"]
        self.history.append([round(self.used), self.done, bound, kl])
        print(
            f"  {self.used:4.0f} s {self.done:6d} steps: -ELBO {bound:.4f} a "
            f"token, KL {kl:.2f} a sentence",
            flush=True,
        )
        # Of the last part: before, the KL has not found its place yet. (A
        # bound that is not a number is not less.)
        if self.share > 0.6 and bound < self.best[0]:
            self.best = bound, self.model.get_weights()


class ByShare(keras.callbacks.Callback):
    """KL annealing, after pretraining as an autoencoder, by shares of time."""

    def __init__(self, budget, annealing, schedule, pretraining):
        super().__init__()
        self.budget, self.pretraining = budget, pretraining
        self.annealing, self.schedule = annealing, schedule
        self.is_reset = not pretraining

    def on_train_batch_begin(self, batch, logs=None):
        share = max(self.budget.share - self.pretraining, 0.0)
        schedule = KLAnnealing(10_000, self.schedule)
        beta = schedule.kl_weight(int(10_000 * share / self.annealing))
        self.model.kl_weight.assign(beta)
        if share and not self.is_reset:
            self.is_reset = True
            reset_decoder(self.model)


def train(
    model,
    batches,
    valid,
    seconds,
    steps=None,
    annealing=0.0,
    schedule="linear",
    pretraining=0.0,
    learning_rate=LEARNING_RATE,
):
    """Trains for a time; the model has the best weights then.

    Args:
        annealing, pretraining: of the KL's weight, and with β = 0 as an
            autoencoder, as shares of the training.

    Returns:
        The `Budget`.
    """
    model.compile(
        keras.optimizers.Adam(learning_rate, global_clipnorm=GRADIENT_NORM)
    )
    budget = Budget(seconds, valid, steps)
    callbacks = [budget]
    if annealing:
        callbacks.append(ByShare(budget, annealing, schedule, pretraining))
    model.fit(
        batches,
        epochs=10**6,  # the budget stops it
        shuffle=False,
        callbacks=callbacks,
        verbose=0,
    )
    if budget.best[1] is None:
        raise ValueError("The training diverged: no bound is a number.")
    model.set_weights(budget.best[1])
    return budget


def tokens_a_batch(dataset):
    return np.mean([(np.asarray(ids) != 0).sum() for ids in dataset])


def cores():
    """The cores that this process may use (`taskset -c 0` gives it one)."""
    count = len(os.sched_getaffinity(0))
    return f"{count} core{'s' if count > 1 else ''}"
