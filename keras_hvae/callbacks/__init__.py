"""Callbacks for `fit`."""

from keras_hvae.callbacks.kl_annealing import KLAnnealing

__all__ = ["KLAnnealing"]
