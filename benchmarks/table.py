"""The results table, a command a row.

    python benchmarks/table.py ptb/hvae --data FOLDER
    python benchmarks/table.py --list
    python benchmarks/table.py --render

A row is a model trained on a corpus for a number of minutes, and evaluated on
the test split: `benchmarks/results/table/CORPUS/ROW.json`. `--render` writes
RESULTS.md from the rows that are there and saw as many tokens. All rows of a
corpus have the same data, vocabulary, optimizer and number of parameters
(within 10 %). `--set NAME=VALUE …` changes a model's arguments, `--minutes`
the time; `--steps` in its place gives all rows as many tokens.
"""

import argparse
import ast
import json
import math
import pathlib
import platform
import time

import corpora
import keras
import numpy as np
import render
from budget import cores, tokens_a_batch, train

import keras_hvae
from keras_hvae.training.recipe import ANNEALING, LEARNING_RATE

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results" / "table"
SIZE = {
    "embedding_dim": 128,
    "hidden_dim": 192,
    "softmax": "adaptive",
    "dropout": 0.3,
}
MINUTES = {
    "ptb": 6,
    "dailydialog": 6,
    "cornell": 6,
    "shakespeare": 4,
    "chitchat": 4,
    "movie_reviews": 4,
}
ABLATION_MINUTES = 3

WITHOUT_LATENTS = keras_hvae.GRULM, keras_hvae.HRED
MODELS = {
    "gru_lm": (keras_hvae.GRULM, {}),
    "hred": (keras_hvae.HRED, {}),
    "vhred": (keras_hvae.VHRED, {"word_dropout": 0.25}),
    "vhcr": (keras_hvae.VHCR, {"sentence_dropout": 0.25}),
    "vae": (keras_hvae.FlatVAE, {"free_bits": 0.0}),
    "hvae": (keras_hvae.HVAE, {}),
    "hvae_cyclical": (
        keras_hvae.HVAE,
        {"free_bits": 0.0, "annealing": 1.0, "schedule": "cyclical"},
    ),
    "hvae_pretrained": (
        keras_hvae.HVAE,
        {
            "free_bits": 8.0,
            "pretraining": 0.25,
            "annealing": 0.25,
        },
    ),
}
ROWS = {
    "ptb": (
        "gru_lm",
        "vae",
        "hvae",
        "hvae_pretrained",
        "hvae_cyclical",
    ),
    "dailydialog": ("gru_lm", "hred", "vhred", "vhcr", "hvae"),
    "cornell": ("gru_lm", "hred", "vhred", "hvae"),
    "shakespeare": ("gru_lm", "hvae"),
    "chitchat": ("gru_lm", "hvae"),
    "movie_reviews": ("gru_lm", "hvae"),
}
ABLATION = {
    f"hvae_{transition}_{prior}": {"transition": transition, "prior": prior}
    for transition in ("rnn", "concat", "sum", "gated")
    for prior in ("shared", "learned")
}


def run(corpus_name, name, args, minutes, changes):
    """Trains and evaluates a row; returns what is written."""
    keras.utils.set_random_seed(args.seed)
    corpus = corpora.load(corpus_name, args.data)
    cls, options = MODELS["hvae" if name in ABLATION else name]
    options = {**options, **ABLATION.get(name, {}), **changes}
    training = {
        key: options.pop(key, default)
        for key, default in (
            ("annealing", 0.0 if cls in WITHOUT_LATENTS else ANNEALING),
            ("schedule", "linear"),
            ("pretraining", 0.0),
            ("learning_rate", LEARNING_RATE),
        )
    }
    size = {**SIZE, **{k: options.pop(k) for k in SIZE if k in options}}
    options["seed"] = args.seed
    if cls is keras_hvae.GRULM and corpus_name == "ptb":
        options["scope"] = "sentence"
    model = build(cls, corpus.vocabulary, size, options)
    valid = list(corpus.valid)  # evenly: the first ones may be the shortest
    valid = valid[:: max(1, len(valid) // args.valid_batches)]
    budget = train(
        model, corpus.train, valid, 60 * minutes, args.steps, **training
    )
    tokens = budget.done * tokens_a_batch(corpus.train)
    if args.models:
        folder = pathlib.Path(args.models, corpus_name)
        folder.mkdir(parents=True, exist_ok=True)
        model.save(folder / f"{name}{args.suffix}.keras")
    metrics = ["likelihood", "latents"]
    samples = args.samples
    if samples is None:
        samples = 100 if name in ABLATION else 500
    if samples:
        metrics.append("iwae")
        # Of documents, not sentences; it needs a row to compare with.
        if name == "hvae" and corpus_name != "ptb":
            metrics.append("particles")
    start = time.perf_counter()
    figures = keras_hvae.evaluation.evaluate(
        model,
        corpus.valid if args.on_valid else corpus.test,
        metrics=metrics,
        num_samples=samples or 1,
        max_documents=args.documents,
        verbose=0,
    )
    return {
        "corpus": corpus_name,
        "row": name,
        "split": "valid" if args.on_valid else "test",
        "options": {**size, **options, **training},
        "parameters": model.count_params(),
        "hidden_dim": model.get_config()["hidden_dim"],
        "seed": args.seed,
        "minutes": round(budget.used / 60, 2),
        "steps": budget.done,
        "tokens_seen": int(tokens),
        "evaluation_minutes": round((time.perf_counter() - start) / 60, 2),
        "machine": f"{platform.machine()}, {args.machine}",
        "backend": keras.config.backend(),
        "history": budget.history,
        "figures": figures,
    }


def build(cls, vocabulary, size, options):
    """A model of `cls` with as many parameters as the HVAE of that size."""
    if issubclass(cls, keras_hvae.HVAE):
        return cls(vocabulary, **size, **options)
    target = keras_hvae.HVAE(vocabulary, **size).count_params()
    low, high = 1, 8 * size["hidden_dim"] // 16
    while low < high:  # the smallest multiple of 16 that is not below
        middle = (low + high) // 2
        width = {**size, "hidden_dim": 16 * middle}
        if cls(vocabulary, **width).count_params() < target:
            low = middle + 1
        else:
            high = middle
    counts = {
        width: cls(vocabulary, **{**size, "hidden_dim": width}).count_params()
        for width in (16 * low - 16, 16 * low)
        if width
    }
    width = min(counts, key=lambda x: abs(counts[x] - target))
    if abs(counts[width] / target - 1) > 0.1:
        raise ValueError(f"no {cls.__name__} of {target:,} +- 10 % parameters")
    return cls(vocabulary, **{**size, "hidden_dim": width}, **options)


def summary(row):
    figures = row["figures"]
    parts = [
        f"{row['corpus']}/{row['row']}: {row['parameters']:,} parameters, "
        f"{row['tokens_seen'] / 1e6:.1f} M tokens in {row['minutes']} min;",
        f"-ELBO {figures['neg_elbo']['per_token']:.4f} a token,",
        f"KL {figures['kl']['per_sentence']:.2f} a sentence",
    ]
    if "active_units" in figures:
        parts.append(
            f"by position {np.round(figures['kl_by_position'], 1).tolist()}, "
            f"AU {figures['active_units']}/{figures['latent_dim']}, "
            f"z-ablation {figures['z_ablation']:.2f}, "
            f"MI {figures['mi_full']:.2f}"
        )
    if "iwae" in figures:
        iwae = figures["iwae"]
        corrected = figures["neg_elbo"]["per_token"] - iwae["gap"]
        parts.append(
            f"IWAE-{iwae['num_samples']} {corrected:.4f} a token (gap "
            f"{iwae['gap']:.4f}, ESS {iwae['ess']:.1f}), PPL "
            f"{math.exp(corrected):.2f}"
        )
        if "particles" in figures:
            particles = figures["particles"]
            parts.append(
                f"particles-{particles['num_particles']} "
                f"{particles['nll']['per_token']:.4f} (IWAE on the same "
                f"documents {iwae['nll']['per_token']:.4f})"
            )
        if iwae["conditional"]:
            rest = iwae["conditional"]["nll"]["per_token"]
            parts.append(f"conditional {rest:.4f}")
    return " ".join(parts)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="*", metavar="CORPUS/ROW")
    parser.add_argument("--data", default="data", help="folder of corpora")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int, help="in place of minutes")
    parser.add_argument(
        "--samples",
        type=int,
        help="of IWAE, 0 for none (default: 500, of the ablation 100)",
    )
    parser.add_argument("--documents", type=int, default=100, help="of IWAE")
    parser.add_argument("--valid-batches", type=int, default=16)
    parser.add_argument("--on-valid", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--machine", default=cores())
    parser.add_argument("--out", help="folder to write (default: results)")
    parser.add_argument("--models", help="folder to save the models in")
    parser.add_argument("--page", help="to render (default: RESULTS.md)")
    parser.add_argument("--suffix", default="", help="of the file's name")
    args = parser.parse_args(argv)
    if keras.config.backend() == "jax":
        parser.error(
            "expected the TensorFlow or the PyTorch backend: on JAX the "
            "callbacks here would not reach the model. Received: jax"
        )
    known = [f"{corpus}/{row}" for corpus in ROWS for row in ROWS[corpus]]
    known += [f"dailydialog/{row}" for row in ABLATION]
    for row in args.rows:
        if row not in known:
            parser.error(f"unknown row; --list names them. Received: {row}")
    changes = dict(x.split("=", 1) for x in args.set)
    changes = {k: literal(v) for k, v in changes.items()}
    if args.list:
        for corpus, rows in ROWS.items():
            print(*(f"{corpus}/{row}" for row in rows))
        print(*(f"dailydialog/{row}" for row in ABLATION))
    if args.render:
        page = pathlib.Path(args.page or HERE / "RESULTS.md")
        sections = {**ROWS, "dailydialog_ablation": tuple(ABLATION)}
        render.write_page(pathlib.Path(args.out or RESULTS), page, sections)
    for row in args.rows:
        corpus, name = row.split("/")
        minutes = args.minutes or (
            ABLATION_MINUTES if name in ABLATION else MINUTES[corpus]
        )
        print(row, changes, flush=True)
        result = run(corpus, name, args, minutes, changes)
        folder = pathlib.Path(args.out or RESULTS) / corpus
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}{args.suffix}.json"
        path.write_text(json.dumps(result, indent=1) + "\n")
        print(summary(result), flush=True)


def literal(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


if __name__ == "__main__":
    main()
