"""How models are trained here."""

from keras_hvae.training.recipe import Recipe, recipe

__all__ = ["Recipe", "recipe"]
