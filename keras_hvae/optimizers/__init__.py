"""Optimizers for `compile`."""

from keras_hvae.optimizers.aggressive_adam import AggressiveAdam
from keras_hvae.optimizers.guarded_adam import GuardedAdam

__all__ = ["AggressiveAdam", "GuardedAdam"]
