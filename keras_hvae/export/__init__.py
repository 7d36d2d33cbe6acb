"""SavedModels with string signatures, for model servers without Python."""

from keras_hvae.export.savedmodel import export_savedmodel
from keras_hvae.export.verifying import verify

__all__ = ["export_savedmodel", "verify"]
