"""Which defaults keep the latents alive? One row a recipe, the same steps.

    python benchmarks/recipe.py [CORPUS] [--steps 400] [--only NAME ...]

Prints a table of validation figures and writes them as JSON. All rows share
data, sizes, optimizer, seed and number of steps; see `ROWS`.
"""

import argparse
import json
import pathlib
import time

import keras

import keras_hvae

ROWS = {
    "no cure": {"free_bits": 0.0, "word_dropout": 0.0},
    "linear annealing": {
        "free_bits": 0.0,
        "word_dropout": 0.0,
        "annealing": "linear",
    },
    "cyclical annealing": {
        "free_bits": 0.0,
        "word_dropout": 0.0,
        "annealing": "cyclical",
    },
    "word dropout": {"free_bits": 0.0},
    "free bits (dimension)": {"word_dropout": 0.0},
    "free bits (batch), word dropout": {"free_bits_mode": "batch"},
    "free bits (sentence), word dropout": {"free_bits_mode": "sentence"},
    "defaults: free bits (dimension), word dropout": {},
    "defaults and linear annealing": {"annealing": "linear"},
    "defaults, word dropout 0.3": {"word_dropout": 0.3},
    "defaults, free bits 4": {"free_bits": 4.0},
    "defaults, free bits 8": {"free_bits": 8.0},
    "defaults, transition gated": {"transition": "gated"},
    "defaults, prior learned": {"prior": "learned"},
    "defaults, Adam 1e-3": {"learning_rate": 1e-3},
}


def run(corpus, steps, annealing=None, learning_rate=3e-3, **options):
    keras.utils.set_random_seed(0)
    model = keras_hvae.HVAE(corpus.vocabulary, seed=0, **options)
    model.compile(keras.optimizers.Adam(learning_rate, global_clipnorm=5.0))
    callbacks = []
    if annealing:
        callbacks.append(
            keras_hvae.callbacks.KLAnnealing(steps // 2, annealing)
        )
    start = time.perf_counter()
    model.fit(
        corpus.train.repeat(),
        steps_per_epoch=steps,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )
    seconds = time.perf_counter() - start
    figures = keras_hvae.evaluation.evaluate(model, corpus.valid, verbose=0)
    return {**figures, "seconds": round(seconds, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", nargs="?", default="shakespeare_scenes")
    parser.add_argument("--key", default="sentences")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--only", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--json", default="recipe.json")
    args = parser.parse_args()
    corpus = keras_hvae.data.load(
        args.corpus,
        key=args.key,
        vocabulary_size=4000,
        max_sentences=6,
        max_words=16,
    )
    results = {}
    print(f"{'':<46} PPL bound  KL min, max  AU  z-ablation  seconds")
    for name in args.only:
        row = results[name] = run(corpus, args.steps, **ROWS[name])
        kl = row["kl_by_position"][1:]
        print(
            f"{name:<46} {row['perplexity_bound']:9.1f}"
            f" {min(kl):6.2f} {max(kl):5.2f} {row['active_units']:4d}"
            f" {row['z_ablation']:10.2f} {row['seconds']:8.0f}",
            flush=True,
        )
        text = json.dumps({"steps": args.steps, "rows": results}, indent=1)
        pathlib.Path(args.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
