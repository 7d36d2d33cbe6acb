"""Callbacks for `fit`."""

from keras_hvae.callbacks.aggressive_encoder import AggressiveEncoder
from keras_hvae.callbacks.autoencoder_pretraining import (
    AutoencoderPretraining,
)
from keras_hvae.callbacks.best_model import BestModel
from keras_hvae.callbacks.kl_annealing import KLAnnealing
from keras_hvae.callbacks.latent_diagnostics import LatentDiagnostics
from keras_hvae.callbacks.non_finite_steps import NonFiniteSteps
from keras_hvae.callbacks.stop_after import StopAfter

__all__ = [
    "AggressiveEncoder",
    "AutoencoderPretraining",
    "BestModel",
    "KLAnnealing",
    "LatentDiagnostics",
    "NonFiniteSteps",
    "StopAfter",
]
