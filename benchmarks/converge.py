"""Trains a model for a number of passes; keeps the best; can be stopped."""

import dataclasses
import os
import pathlib
import platform
import shutil

import keras

import keras_hvae
from keras_hvae.callbacks import (
    AggressiveEncoder,
    AutoencoderPretraining,
    BestModel,
    KLAnnealing,
)
from keras_hvae.optimizers import AggressiveAdam
from keras_hvae.training import Checkpoint
from keras_hvae.training.recipe import (
    ANNEALING,
    GRADIENT_NORM,
    LEARNING_RATE,
    LOWEST_RATE,
)

EVERY = 200  # batches between two checkpoints


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a training gave."""

    model: keras.Model  # the best one
    best_epoch: int
    epochs: int
    steps: int
    seconds: float
    history: dict


def fit(
    model,
    train,
    valid,
    path,
    epochs,
    learning_rate=LEARNING_RATE,
    annealing=ANNEALING,
    schedule="linear",
    pretraining=0.0,
    aggressive=False,
):
    """Trains on a learning rate that falls as half a cosine to the end.

    Of all epochs the model with the lowest validation −ELBO at β = 1 (or NLL,
    where the KL weighs nothing) is written to `path`, `.keras`. A training that
    was stopped goes on from its checkpoints, which lie beside that file, until
    `forget` removes them.

    Args:
        train, valid: batches of ids; `train` with `start_at`.
        annealing, pretraining: of the KL's weight, and with β = 0 as an
            autoencoder before, as shares of all steps.
        aggressive: whether the encoder is trained ahead (He et al., 2019).
    """
    train.start_at(0)
    steps = epochs * len(train)
    rate = keras.optimizers.schedules.CosineDecay(
        learning_rate, steps, LOWEST_RATE
    )
    Adam = AggressiveAdam if aggressive else keras.optimizers.Adam
    model.compile(Adam(rate, global_clipnorm=GRADIENT_NORM))
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    kl_weight = model.get_config().get("kl_weight", 0.0)
    bare = model.latent_dim and not kl_weight  # an autoencoder
    best = BestModel(path, "val_nll" if bare else "val_loss")
    checkpoint = Checkpoint(checkpoints_of(path), every=EVERY)
    callbacks = [
        best,
        keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: print(
                f"  {epoch + 1}: {checkpoint.seconds:.0f} s, "
                + ", ".join(f"{k} {v:.3f}" for k, v in logs.items()),
                flush=True,
            )
        ),
        checkpoint,
    ]
    rising = int(annealing * steps)
    if pretraining:
        before = int(pretraining * steps)
        callbacks.insert(0, AutoencoderPretraining(before, rising))
    elif kl_weight and rising:
        callbacks.insert(0, KLAnnealing(rising, schedule))
    if aggressive:
        callbacks.insert(0, AggressiveEncoder(valid))
    history = model.fit(
        train,
        validation_data=valid,
        epochs=epochs,
        shuffle=False,
        callbacks=callbacks,
        verbose=0,
    ).history
    seen = len(history["loss"])
    return Trained(
        model=keras_hvae.load_model(path),
        best_epoch=best.best_epoch,
        epochs=seen,
        steps=seen * len(train),
        seconds=checkpoint.seconds,
        history={k: [float(x) for x in v] for k, v in history.items()},
    )


def checkpoints_of(path):
    return path.with_suffix(".checkpoints")


def forget(path):
    """Removes the checkpoints of a training whose figures are written."""
    shutil.rmtree(checkpoints_of(path), ignore_errors=True)


def machine():
    """The processor and the cores that this process may use."""
    count = len(os.sched_getaffinity(0))
    return f"{platform.machine()}, {count} core{'s' if count > 1 else ''}"
