"""
Title: A walk through the latent space
Description: Interpolate between two scenes; draw speeches by their play.
Accelerator: none needed

    python latent_walk.py [MODEL.keras [PICTURE.png]]
"""

import sys

import keras
import numpy as np
import tensorflow_datasets as tfds
from matplotlib.figure import Figure

import keras_hvae
import keras_hvae.data.shakespeare_scenes  # noqa: F401 (registers it)

"""
## A model

Of `keras-hvae demo` or `quickstart.py`, for example.
"""

model_path, picture = (
    *sys.argv[1:],
    *("hvae_demo/model.keras", "latent_walk.png")[len(sys.argv) - 1 :],
)
model = keras.saving.load_model(model_path)

"""
## From one exchange to another

The latents move along a straight line; each step is decoded anew.
"""

love = ["Good night, my love.", "Wilt thou be gone so soon?"]
war = ["Arm, arm, my lords! The enemy is near.", "Where is the king?"]
for step, document in enumerate(model.interpolate(love, war, steps=7)):
    print(f"{step}/6  " + "  |  ".join(document))

"""
## The test plays in the plane

One point a speech: the posterior means, projected on the two directions in
which they vary most (principal components).
"""

builder = tfds.builder("shakespeare_scenes")
builder.download_and_prepare()
windows, plays = [], []
for scene in tfds.as_numpy(builder.as_dataset("test")):
    speeches = [speech.decode() for speech in scene["sentences"]]
    for start in range(0, len(speeches), 10):
        windows.append(speeches[start : start + 10])
        plays += [scene["play"].decode()] * len(windows[-1])
latents = model.encode(windows)
means = latents["mean"][latents["mask"]]
centred = means - means.mean(axis=0)
_, spread, axes = np.linalg.svd(centred, full_matrices=False)
points = centred @ axes[:2].T
share = spread[:2] ** 2 / (spread**2).sum()

figure = Figure(figsize=(7, 6), layout="constrained")
plot = figure.subplots()
for play in sorted(set(plays)):
    rows = np.array(plays) == play
    label = play.replace("_", " ")
    plot.scatter(*points[rows].T, s=8, alpha=0.5, label=label)
plot.set_xlabel(f"first component ({share[0]:.0%} of the variance)")
plot.set_ylabel(f"second component ({share[1]:.0%})")
plot.set_title("Latents of speeches by play")
plot.legend()
figure.savefig(picture, dpi=120)
print(f"{len(points):,} speeches: {picture}")
