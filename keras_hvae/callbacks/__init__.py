"""Callbacks for `fit`."""

from keras_hvae.callbacks.best_model import BestModel
from keras_hvae.callbacks.kl_annealing import KLAnnealing

__all__ = ["BestModel", "KLAnnealing"]
