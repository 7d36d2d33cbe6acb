"""Models of vectors beside their published figures, a command a row.

    python benchmarks/generative.py train dna nade --data FOLDER
    python benchmarks/generative.py list
    python benchmarks/generative.py render

`train` reads `FOLDER/nade_uci/SET.npz` or `FOLDER/mnist/mnist.npz`, trains
until the validation split's nll has not fallen for a while, takes the weights
of the best epoch, evaluates them once on the test split and writes
`results/generative/SET/ROW.json`. MNIST is binarised anew in each epoch, its
last 10,000 training images are the validation split. `render` writes
GENERATIVE.md and its pictures from these files.
"""

import argparse
import json
import pathlib
import time

import keras
import numpy as np
from converge import machine
from table import literal

from keras_hvae import generative
from keras_hvae.files import write_whole

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results" / "generative"
SETS = ("dna", "mushrooms", "nips", "mnist")
ORDERS = (1, 2, 4, 8, 16, 32, 64, 128)
# Of a row: class, its arguments, learning rate, epochs at most, patience.
ROWS = {
    "independent": (generative.BernoulliMixture, {"components": 1}),
    "mixture": (generative.BernoulliMixture, {"components": 32}),
    "fvsbn": (generative.LogisticAR, {}),
    "neural_ar": (generative.NeuralAR, {"units": 8}),
    "nade": (generative.NADE, {"units": 256}),
    "orderless_nade": (
        generative.NADE,
        {"units": 256, "orderless": True, "hidden_layers": 2},
    ),
    "vae": (generative.VAE, {}),
}
