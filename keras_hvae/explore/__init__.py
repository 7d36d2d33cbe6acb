"""A local page to walk through a model's latent space."""

from keras_hvae.explore.explorer import Explorer
from keras_hvae.explore.page import explore

__all__ = ["Explorer", "explore"]
