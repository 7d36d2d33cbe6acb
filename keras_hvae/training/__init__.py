"""How models are trained here."""

from keras_hvae.training.devices import many_devices
from keras_hvae.training.recipe import Recipe, recipe

__all__ = ["Recipe", "many_devices", "recipe"]
