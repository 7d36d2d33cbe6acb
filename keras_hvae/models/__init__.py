"""The model and its baselines."""

from keras_hvae.models.document_model import DocumentModel
from keras_hvae.models.flat_vae import FlatVAE
from keras_hvae.models.gru_lm import GRULM
from keras_hvae.models.hred import HRED
from keras_hvae.models.hvae import HVAE
from keras_hvae.models.registry import MODELS
from keras_hvae.models.vhcr import VHCR
from keras_hvae.models.vhred import VHRED

__all__ = [
    "GRULM",
    "HRED",
    "HVAE",
    "MODELS",
    "VHCR",
    "VHRED",
    "DocumentModel",
    "FlatVAE",
]
