"""What the latents of a preset know besides a sentence's length.

On the test plays of the package's corpus: how many distinct texts come back
from as many speeches; whether the nearest window by `encode(...)["document"]`
is of the same scene, beside TF-IDF and chance; whether the score tells a
window from itself in another order. No corpus and no download is needed:

    python benchmarks/what_latents_know.py [PRESET] [--out FILE]
"""

import argparse
import collections
import json
import math
import pathlib

import keras
import numpy as np
import tensorflow_datasets as tfds

import keras_hvae
import keras_hvae.data.shakespeare_scenes  # noqa: F401 (registers the corpus)

WINDOW = 10  # speeches
DRAWS = 8  # of the posterior, for a score
OUT = pathlib.Path(__file__).parent / "results" / "what_latents_know.json"


def windows():
    """Windows of the test plays, and the number of the scene of each."""
    builder = tfds.builder("shakespeare_scenes")
    builder.download_and_prepare()
    texts, scenes = [], []
    for number, scene in enumerate(tfds.as_numpy(builder.as_dataset("test"))):
        speeches = [x.decode() for x in scene["sentences"]]
        for start in range(0, len(speeches) - WINDOW + 1, WINDOW):
            texts.append(speeches[start : start + WINDOW])
            scenes.append(number)
    return texts, np.array(scenes)


def tf_idf(texts, preprocessor):
    """Vectors of the windows by their words: `(N, V)`."""
    counts = np.zeros((len(texts), len(preprocessor)))
    for row, ids in zip(counts, preprocessor(texts)):
        for word, count in collections.Counter(ids[ids > 3]).items():
            row[word] = 1 + math.log(count)
    found = (counts > 0).sum(axis=0)
    return counts * np.log(len(texts) / np.maximum(found, 1))


def same_scene(vectors, scenes):
    """Share of the windows whose nearest one by cosine is of their scene."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / np.maximum(norms, 1e-12)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    return float((scenes[cosines.argmax(axis=1)] == scenes).mean())


def auroc(high, low):
    """Probability that one of `high` is above one of `low`."""
    above = np.greater(high[:, None], low).mean()
    return float(above + 0.5 * np.equal(high[:, None], low).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "preset", nargs="?", default="hvae_small_shakespeare_en"
    )
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    args = parser.parse_args()
    keras.utils.set_random_seed(0)
    model = keras_hvae.HVAE.from_preset(args.preset)
    texts, scenes = windows()

    some = texts[: 600 // WINDOW]
    back = [s for document in model.reconstruct(some) for s in document]
    counts = np.bincount(scenes)[scenes]
    rng = np.random.default_rng(0)
    shuffled = [[x[i] for i in rng.permutation(WINDOW)] for x in texts]
    true, other = (
        model.score(x, num_samples=DRAWS, seed=0) for x in (texts, shuffled)
    )
    figures = {
        "preset": args.preset,
        "windows": len(texts),
        "speeches": len(back),
        "distinct_reconstructions": len(set(back)),
        "same_scene": same_scene(model.encode(texts)["document"], scenes),
        "same_scene_tf_idf": same_scene(
            tf_idf(texts, model.preprocessor), scenes
        ),
        "same_scene_chance": float(((counts - 1) / (len(texts) - 1)).mean()),
        "auroc_shuffled": auroc(
            true["elbo"] / true["tokens"], other["elbo"] / other["tokens"]
        ),
        "own_order_scores_higher": float((true["elbo"] > other["elbo"]).mean()),
    }
    text = json.dumps(figures, indent=2)
    args.out.write_text(text + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
