"""Optimizers for `compile`."""

from keras_hvae.optimizers.aggressive_adam import AggressiveAdam

__all__ = ["AggressiveAdam"]
