"""Hierarchical variational autoencoders of sequences of sentences."""

from keras_hvae.quiet_start import start_quietly

start_quietly()

# ruff: noqa: E402
from keras_hvae import (
    applications,
    callbacks,
    data,
    distributions,
    emissions,
    evaluation,
    export,
    layers,
    optimizers,
    samplers,
    text,
    training,
)
from keras_hvae.models import GRULM, HRED, HVAE, VHCR, VHRED, FlatVAE
from keras_hvae.models.loading import load_model
from keras_hvae.version import __version__ as __version__


def __getattr__(name: str):
    """`keras_hvae.generative` is imported when it is first asked for."""
    if name == "generative":
        import importlib

        return importlib.import_module("keras_hvae.generative")
    raise AttributeError(f"module 'keras_hvae' has no attribute {name!r}")


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
    "emissions",
    "evaluation",
    "export",
    "layers",
    "load_model",
    "optimizers",
    "samplers",
    "text",
    "training",
]
