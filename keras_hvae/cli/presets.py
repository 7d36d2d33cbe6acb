"""`keras-hvae presets`."""

import argparse
import math
import re

from keras_hvae.presets.preset_files import (
    CARD_FILE,
    PRESETS,
    WEIGHTS_FILE,
    known_presets,
)
from keras_hvae.presets.sizes import read_shapes


def presets(args: argparse.Namespace) -> None:
    """Lists the presets of the package: parameters, what they learned from."""
    for name in known_presets():
        folder = PRESETS / name
        with open(folder / WEIGHTS_FILE, "rb") as file:
            shapes = read_shapes(file, folder / WEIGHTS_FILE)
        parameters = sum(map(math.prod, shapes))
        card = (folder / CARD_FILE).read_text("utf-8")
        data = re.search(r"^\*\*Data\*\*: (.+?)(?:[,;]|\.\s)", card, re.M)
        trained = f", trained on {data[1]}" if data else ""
        print(f"{name}: {parameters:,} parameters{trained}")
