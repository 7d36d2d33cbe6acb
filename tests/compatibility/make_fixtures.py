"""Writes what `test_compatibility.py` reads: models as an old version saves.

It is run where keras_hvae 0.1.0 (commit e013898) is what Python imports:

    python make_fixtures.py 0.1.0.tar.xz
"""

import json
import lzma
import pathlib
import sys
import tarfile
import tempfile

import keras
import numpy as np

import keras_hvae
from keras_hvae import GRULM, HRED, HVAE, VHCR, VHRED, FlatVAE
from keras_hvae.models.compiled import score

WORDS = "the a cat dog sees hears and no yes we they go home now then .".split()
SIZES = {"embedding_dim": 4, "hidden_dim": 6}
LATENT = {**SIZES, "latent_dim": 2}
MODELS = {
    "hvae": (HVAE, LATENT),
    "hvae_other": (
        HVAE,
        {
            **LATENT,
            "transition": "gated",
            "prior": "learned",
            "initial_prior": "empirical",
            "backward": "exclusive",
            "mean_norm": 0.5,
            "bow_weight": 0.1,
            "softmax": "adaptive",
        },
    ),
    "hred": (HRED, {**SIZES, "tie_embeddings": True, "decoder_dim": 4}),
    "vhred": (VHRED, {**LATENT, "softmax": "class"}),
    "vhcr": (VHCR, LATENT),
    "flat_vae": (FlatVAE, LATENT),
    "gru_lm": (GRULM, SIZES),
}


def make_ids(documents=20, sentences=4, words=6):
    rng = np.random.default_rng(0)
    ids = np.zeros((documents, sentences, words), "int32")
    for document in ids:
        for sentence in document[: rng.integers(1, sentences + 1)]:
            length = rng.integers(words)
            sentence[:length] = rng.integers(4, 4 + len(WORDS), length)
            sentence[length] = 3
    return ids


def scores(model, ids):
    noise = np.zeros((*ids.shape[:2], model.noise_dim), "float32")
    scored = score(model, ids, noise)
    return {key: np.asarray(scored[key]).tolist() for key in ("nll", "kl")}


def make_model(cls, arguments):
    model = cls(WORDS, **arguments)
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(0.5 * rng.standard_normal(weight.shape))
    # Moments that tell which weight they belong to.
    model.compile(keras.optimizers.Adam(1e-3))
    model.optimizer.build(model.trainable_variables)
    for weight, momentum, velocity in zip(
        model.trainable_variables,
        model.optimizer._momentums,
        model.optimizer._velocities,
    ):
        momentum.assign(2 * weight)
        velocity.assign(weight**2)
    return model


def scenes():
    """The first sentences of the first scenes of the plays."""
    folder = pathlib.Path(keras_hvae.__file__).parent / "data"
    with lzma.open(
        folder / "shakespeare_scenes" / "scenes.jsonl.xz", "rt"
    ) as file:
        lines = [json.loads(next(file)) for _ in range(20)]
    return [line["t"][: 2 + i % 7] for i, line in enumerate(lines)]


def main(path):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        ids = make_ids()
        figures = {"token_ids": ids.tolist(), "models": {}}
        for name, (cls, arguments) in MODELS.items():
            model = make_model(cls, arguments)
            model.save(folder / f"{name}.keras")
            model.save_to_preset(folder / name)
            figures["models"][name] = scores(model, ids)
        model = HVAE.from_preset("hvae_small_shakespeare_en")
        documents = scenes()
        ids = np.asarray(model.preprocessor(documents))
        figures["shakespeare"] = {
            "documents": documents,
            "token_ids": ids.tolist(),
            **scores(model, ids),
        }
        (folder / "figures.json").write_text(json.dumps(figures))
        with tarfile.open(path, "w:xz") as archive:
            for file in sorted(folder.iterdir()):
                archive.add(file, file.name)


if __name__ == "__main__":
    main(sys.argv[1])
