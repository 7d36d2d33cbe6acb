"""Hierarchical variational autoencoders of sequences of sentences."""

import os
import sys

if os.path.basename(sys.argv[0]) == "keras-hvae":
    # TensorFlow's start-up notes are not for the users of the shell command;
    # this must be said before Keras imports it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from keras_hvae import (  # noqa: E402
    callbacks,
    data,
    distributions,
    evaluation,
    layers,
    samplers,
    text,
)
from keras_hvae.models import HVAE  # noqa: E402

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
