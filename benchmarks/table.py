"""The results table, trained to convergence, a command a row.

    python benchmarks/table.py prepare ptb --data FOLDER --out ptb.npz
    python benchmarks/table.py train ptb.npz hvae gru_lm
    python benchmarks/table.py evaluate ptb.npz --split test
    python benchmarks/table.py list
    python benchmarks/table.py render

`prepare` reads the corpora from a folder of folders, with TensorFlow; `train`
needs neither and runs on any backend. A row is a model of as many parameters
(within 10 %) as the HVAE of its corpus. All rows of a corpus have the same
data, optimizer, dropout and number of passes. The learning rate falls as half a
cosine, and the weights of the epoch with the best validation −ELBO (β = 1) are
evaluated on the validation split and written to `results/table/CORPUS/
ROW.json`, the model beside it. `evaluate` does so again with the models that
are there; the test split is to be looked at once, when nothing is changed any
more. `render` writes RESULTS.md.

"Converged" is to be seen, not said: the file of a row has the validation
figures of all epochs, and `best_epoch`. Where that is the last one, the
training was too short. A training that was stopped goes on where it was when
its command is given again; rows whose file is there are left out.
"""

import argparse
import ast
import json
import math
import pathlib

import keras
import numpy as np
import render
from converge import fit, forget, machine

import keras_hvae
from keras_hvae.data.arrays import Documents, flat, sum_shapes
from keras_hvae.data.buckets import Buckets
from keras_hvae.data.id_batches import IdBatches
from keras_hvae.files import write_whole
from keras_hvae.training.recipe import LEARNING_RATE

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results" / "table"
SPLITS = ("train", "valid", "test")
SIZE = {
    "embedding_dim": 128,
    "hidden_dim": 192,
    "softmax": "adaptive",
    "dropout": 0.3,
}
TRAINING = ("annealing", "schedule", "pretraining", "aggressive")
ON_TRAIN = (
    "documents",
    "kl",
    "information",
    "mismatch",
    "information_by_position",
    "kl_by_position",
)
MODELS = {
    "gru_lm": (keras_hvae.GRULM, {}),
    "hred": (keras_hvae.HRED, {}),
    "vhred": (keras_hvae.VHRED, {"word_dropout": 0.25}),
    "vhcr": (keras_hvae.VHCR, {"sentence_dropout": 0.25}),
    "vae": (keras_hvae.FlatVAE, {"free_bits": 0.0}),
    "hvae": (keras_hvae.HVAE, {}),
    "hvae_text": (keras_hvae.HVAE, {"past": "text"}),
    "hvae_cyclical": (
        keras_hvae.HVAE,
        {"free_bits": 0.0, "annealing": 1.0, "schedule": "cyclical"},
    ),
    "hvae_pretrained": (
        keras_hvae.HVAE,
        {"free_bits": 8.0, "pretraining": 0.25, "annealing": 0.25},
    ),
    "hvae_aggressive": (
        keras_hvae.HVAE,
        {"free_bits": 0.0, "aggressive": True},
    ),
}
DIALOGUE = ("gru_lm", "hred", "vhred", "vhcr", "hvae", "hvae_text")
DOCUMENTS = ("gru_lm", "hred", "hvae", "hvae_text")
# The rows of a corpus, its passes, and what of SIZE is its own.
CORPORA = {
    "ptb": (
        (
            "gru_lm",
            "vae",
            "hvae",
            "hvae_pretrained",
            "hvae_aggressive",
            "hvae_cyclical",
        ),
        16,
        {"dropout": 0.5},
    ),
    "dailydialog": (DIALOGUE, 12, {}),
    "cornell": (DIALOGUE, 6, {}),
    "shakespeare": (DOCUMENTS, 12, {}),
    "chitchat": (DOCUMENTS, 16, {}),
    "movie_reviews": (DOCUMENTS, 12, {}),
}


def prepare(args):
    import corpora

    from keras_hvae.models.vocabulary import read_vocabulary

    corpus = corpora.load(args.corpus, args.data)
    arrays = {"vocabulary_size": read_vocabulary(corpus.vocabulary)[1]}
    for split in SPLITS:
        batches = [np.asarray(x) for x in getattr(corpus, split)]
        shape = np.max([x.shape[1:] for x in batches], axis=0)
        arrays[split] = np.concatenate(
            [
                np.pad(
                    x,
                    [(0, 0)]
                    + [(0, int(m - n)) for m, n in zip(shape, x[0].shape)],
                )
                for x in batches
            ]
        ).astype("int16")
        print(split, arrays[split].shape, int((arrays[split] != 0).sum()))
    with write_whole(pathlib.Path(args.out)) as temporary:
        with open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)


def read(path, batch_size, seed, one_shape=False):
    """The vocabulary's size, and the batches of each split."""
    documents = {}
    with np.load(path) as file:
        size = int(file["vocabulary_size"])
        for split in SPLITS:
            x = file[split].astype("int32")
            documents[split] = Documents(*flat(x[(x != 0).any(axis=(1, 2))]))
    shapes = sum_shapes(x.shapes() for x in documents.values())
    # Where all documents fit into one batch there is one bucket.
    buckets = Buckets(shapes, shapes.sum() if one_shape else batch_size)
    buckets.batch_size = batch_size
    return size, {
        split: IdBatches(x, buckets, shuffle=split == "train", seed=seed)
        for split, x in documents.items()
    }


def train(args):
    corpus = corpus_of(args)
    rows, passes, own = CORPORA.get(corpus, ((), 10, {}))
    changes = dict(x.split("=", 1) for x in args.set)
    changes = {**own, **{k: literal(v) for k, v in changes.items()}}
    size, splits = read(args.arrays, args.batch_size, args.seed, args.one_shape)
    suffix = args.suffix or (f"_seed{args.seed}" if args.seed else "")
    for row in args.rows or rows:
        path = pathlib.Path(args.out, corpus, f"{row}{suffix}.json")
        if path.exists():
            print(f"{path} is there")
            continue
        print(f"{corpus}/{row}{suffix} {changes}", flush=True)
        result, model = train_row(
            row, size, splits, changes, path, args.epochs or passes, args
        )
        write(path, {"corpus": corpus, **result}, model, splits, "valid", args)
        forget(path)


def evaluate(args):
    corpus = corpus_of(args)
    _, splits = read(args.arrays, args.batch_size, 0)
    for path in sorted(pathlib.Path(args.out, corpus).glob("*.json")):
        result = json.loads(path.read_text())
        model = keras_hvae.load_model(path.with_suffix(".keras"))
        write(path, result, model, splits, args.split, args)


def corpus_of(args):
    return pathlib.Path(args.arrays).name.partition(".")[0]


def write(path, result, model, splits, split, args):
    """Evaluates a model on a split and writes its row, which is done then."""
    metrics = ["likelihood", "latents"] + ["iwae"] * (args.samples > 0)
    if args.writing:
        metrics += ["reconstruction"] * (model.latent_dim > 0) + ["samples"]
        if not sentences_alone(splits[split]):
            metrics.append("responses")
    result["split"] = split
    result["figures"] = keras_hvae.evaluation.evaluate(
        model,
        splits[split],
        metrics=metrics,
        train=splits["train"] if args.writing else None,
        num_samples=args.samples or 1,
        max_documents=args.documents,
        verbose=0,
    )
    if model.latent_dim:  # a small split can tell few documents apart
        on_train = keras_hvae.evaluation.evaluate(
            model, splits["train"], verbose=0
        )
        result["on_train"] = {key: on_train[key] for key in ON_TRAIN}
    with write_whole(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    print(summary(result), flush=True)


def train_row(row, vocabulary_size, splits, changes, path, epochs, args):
    """What a row says of its training, and its best model."""
    keras.utils.set_random_seed(args.seed)
    if row not in MODELS:
        raise ValueError(f"A row must be one of {[*MODELS]}. Received: {row!r}")
    cls, options = MODELS[row]
    options = {**options, **changes}
    training = {k: options.pop(k) for k in TRAINING if k in options}
    sizes = {key: options.pop(key, default) for key, default in SIZE.items()}
    if cls is keras_hvae.GRULM and sentences_alone(splits["train"]):
        options["scope"] = "sentence"
    model = build(cls, vocabulary_size, sizes, {**options, "seed": args.seed})
    trained = fit(
        model,
        splits["train"],
        splits["valid"],
        path.with_suffix(".keras"),
        epochs,
        args.learning_rate,
        **training,
    )
    valid = splits["valid"].documents
    return {
        "row": row,
        "options": {**sizes, **options, **training},
        "parameters": parameters(model),
        "hidden_dim": model.get_config()["hidden_dim"],
        "seed": args.seed,
        "batch_size": args.batch_size,
        "learning_rate": args.learning_rate,
        "epochs": trained.epochs,
        "of_epochs": epochs,
        "best_epoch": trained.best_epoch,
        "tokens_seen": trained.epochs * len(splits["train"].documents.ids),
        "minutes": round(trained.seconds / 60, 2),
        "machine": args.machine,
        "backend": keras.config.backend(),
        # Of the validation figures, which are of a document.
        "valid_tokens": len(valid.ids),
        "valid_documents": len(valid),
        "history": trained.history,
    }, trained.model


def sentences_alone(batches):
    return batches.documents.sentences.max() == 1


def build(cls, vocabulary, size, options):
    """A model of `cls` with as many parameters as the HVAE of that size."""
    if issubclass(cls, keras_hvae.HVAE):
        return cls(vocabulary, **size, **options)
    target = parameters(keras_hvae.HVAE(vocabulary, **size))
    low, high = 1, 8 * size["hidden_dim"] // 16
    while low < high:  # the smallest multiple of 16 that is not below
        middle = (low + high) // 2
        width = {**size, "hidden_dim": 16 * middle}
        if parameters(cls(vocabulary, **width)) < target:
            low = middle + 1
        else:
            high = middle
    counts = {
        width: parameters(cls(vocabulary, **{**size, "hidden_dim": width}))
        for width in (16 * low - 16, 16 * low)
        if width
    }
    width = min(counts, key=lambda x: abs(counts[x] - target))
    if abs(counts[width] / target - 1) > 0.1:
        raise ValueError(f"no {cls.__name__} of {target:,} +- 10 % parameters")
    return cls(vocabulary, **{**size, "hidden_dim": width}, **options)


def parameters(model):
    """How many are trained; a `rate` keeps posteriors beside them."""
    return int(sum(math.prod(x.shape) for x in model.trainable_variables))


def summary(row):
    figures = row["figures"]
    parts = [
        f"{row['corpus']}/{row['row']}, {row['split']}: "
        f"{row['parameters']:,} parameters, {row['tokens_seen'] / 1e6:.1f} M "
        f"tokens in {row['minutes']} min, best epoch {row['best_epoch']} of "
        f"{row['epochs']};",
        f"-ELBO {figures['neg_elbo']['per_token']:.4f} a token,",
        f"KL {figures['kl']['per_sentence']:.2f} a sentence",
    ]
    if figures.get("information") is not None:
        parts.append(
            f"(information {figures['information']:.2f}), z-ablation "
            f"{figures['z_ablation']:.2f}, of the same length "
            f"{figures['z_ablation_length_matched'] or math.nan:.2f}"
        )
    if "iwae" in figures:
        iwae = figures["iwae"]
        parts.append(
            f"IWAE-{iwae['num_samples']} {render.nll(row):.4f} a token (gap "
            f"{iwae['gap']:.4f}, ESS {iwae['ess']:.1f}), PPL "
            f"{math.exp(render.nll(row)):.2f}"
        )
        if iwae["conditional"]:
            rest = iwae["conditional"]["nll"]["per_token"]
            parts.append(f"conditional {rest:.4f}")
    return " ".join(parts)


def literal(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def list_rows(args):
    for corpus, (rows, *_) in CORPORA.items():
        print(f"{corpus}: {' '.join(rows)}")


def write_page(args):
    sections = {corpus: rows for corpus, (rows, *_) in CORPORA.items()}
    render.write_page(
        pathlib.Path(args.results), pathlib.Path(args.page), sections
    )


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("prepare")
    command.set_defaults(run=prepare)
    command.add_argument("corpus", choices=CORPORA)
    command.add_argument("--data", default="data", help="folder of corpora")
    command.add_argument("--out", required=True, help="file to write, .npz")
    command = commands.add_parser("train")
    command.set_defaults(run=train)
    command.add_argument("arrays", help="what `prepare` wrote")
    command.add_argument("rows", nargs="*", help="all of the corpus if none")
    command.add_argument("--epochs", type=int, help="passes over the corpus")
    command.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    command.add_argument(
        "--one-shape", action="store_true", help="where compiling takes long"
    )
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    command.add_argument("--suffix", default="", help="of the files' names")
    command.add_argument("--machine", default=machine())
    add_evaluation(command)
    command = commands.add_parser("evaluate")
    command.set_defaults(run=evaluate)
    command.add_argument("arrays", help="what `prepare` wrote")
    command.add_argument("--split", choices=SPLITS[1:], default="valid")
    add_evaluation(command)
    command = commands.add_parser("list")
    command.set_defaults(run=list_rows)
    command = commands.add_parser("render")
    command.set_defaults(run=write_page)
    command.add_argument("--results", default=RESULTS, help="folder of rows")
    command.add_argument("--page", default=HERE / "RESULTS.md")
    return parser


def add_evaluation(command):
    command.add_argument("--batch-size", type=int, default=64)
    command.add_argument("--samples", type=int, default=500, help="of IWAE")
    command.add_argument("--documents", type=int, default=100, help="of IWAE")
    command.add_argument(
        "--writing", action="store_true", help="what the model writes, too"
    )
    command.add_argument("--out", default=RESULTS, help="folder of rows")


def main(argv=None):
    args = make_parser().parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    main()
