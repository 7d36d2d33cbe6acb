"""The model and its verbs."""

from keras_hvae.models.hvae import HVAE

__all__ = ["HVAE"]
