"""Hierarchical variational autoencoders of sequences of sentences."""

from keras_hvae import (
    callbacks,
    data,
    distributions,
    evaluation,
    layers,
    samplers,
    text,
)
from keras_hvae.models import HVAE

__version__ = "0.1.0"

__all__ = [
    "HVAE",
    "callbacks",
    "data",
    "distributions",
    "evaluation",
    "layers",
    "samplers",
    "text",
]
