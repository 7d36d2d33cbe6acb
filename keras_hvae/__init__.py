"""Hierarchical variational autoencoders of sequences of sentences."""

from keras_hvae.quiet_start import start_quietly

start_quietly()

# ruff: noqa: E402
from keras_hvae import (
    applications,
    callbacks,
    data,
    distributions,
    evaluation,
    export,
    layers,
    optimizers,
    samplers,
    text,
)
from keras_hvae.models import GRULM, HRED, HVAE, VHCR, VHRED, FlatVAE
from keras_hvae.presets.loading import load_model

__version__ = "0.1.0"

__all__ = [
    "GRULM",
    "HRED",
    "HVAE",
    "VHCR",
    "VHRED",
    "FlatVAE",
    "applications",
    "callbacks",
    "data",
    "distributions",
    "evaluation",
    "export",
    "layers",
    "load_model",
    "optimizers",
    "samplers",
    "text",
]
