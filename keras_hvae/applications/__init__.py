"""Models of standard sizes, with trained weights where there are some."""

from keras_hvae.applications.hvae import HVAEBase, HVAESmall
from keras_hvae.applications.preprocessing import (
    decode_predictions,
    preprocess_input,
)

__all__ = ["HVAEBase", "HVAESmall", "decode_predictions", "preprocess_input"]
