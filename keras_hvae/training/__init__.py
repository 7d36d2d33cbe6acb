"""How models are trained here."""

from keras_hvae.training.checkpoint import Checkpoint
from keras_hvae.training.devices import many_devices
from keras_hvae.training.recipe import Recipe, recipe

__all__ = ["Checkpoint", "Recipe", "many_devices", "recipe"]
