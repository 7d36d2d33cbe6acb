"""Rows of the table, trained to convergence; on a GPU, too.

    python benchmarks/converge.py prepare dailydialog --data FOLDER
        --out dailydialog.arrays.npz
    python benchmarks/converge.py train dailydialog.arrays.npz
        hred vhred hvae --epochs 20 --out FOLDER

`prepare` needs TensorFlow and the corpora of `table.py`; `train` needs neither
and runs on any backend. A row is a model of `table.py`, of as many parameters
as its HVAE there. It is trained for so many epochs on a learning rate that
falls as half a cosine, and the weights of the epoch with the best validation
−ELBO (β = 1) are evaluated on the validation split, or, with `--test`, on the
test split. Begun again, a training that was stopped goes on where it was, and
rows whose file is there are left out.

"Converged" is to be seen, not said: the file of a row has the validation
figures of all epochs, and `best_epoch`. Where that is the last one, the
training was too short.
"""

import argparse
import json
import math
import pathlib
import shutil

import numpy as np

SPLITS = ("train", "valid", "test")


def prepare(args):
    import corpora

    from keras_hvae.models.vocabulary import read_vocabulary

    corpus = corpora.load(args.corpus, args.data)
    words = corpus.vocabulary
    arrays = {"vocabulary_size": read_vocabulary(words)[1]}
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
    np.savez_compressed(args.out, **arrays)


def train(args):
    import table

    from keras_hvae.files import write_whole

    size, splits = read(args.arrays, args.batch_size, args.seed, args.one_shape)
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    corpus = pathlib.Path(args.arrays).name.partition(".")[0]
    changes = dict(x.split("=", 1) for x in args.set)
    changes = {k: table.literal(v) for k, v in changes.items()}
    for row in args.rows:
        path = out / f"{corpus}-{row}{args.suffix}.json"
        if path.exists():
            print(f"{path} is there")
            continue
        result = train_row(row, size, splits, changes, path, args)
        result = {"corpus": corpus, **result}
        with write_whole(path) as temporary:  # it says that the row is done
            temporary.write_text(json.dumps(result, indent=1) + "\n")
        print(summary(result), flush=True)


def read(path, batch_size, seed, one_shape=False):
    """The vocabulary's size, and the batches of each split."""
    from keras_hvae.data.arrays import Documents, sum_shapes
    from keras_hvae.data.buckets import Buckets
    from keras_hvae.data.id_batches import IdBatches

    documents = {}
    with np.load(path) as file:
        size = int(file["vocabulary_size"])
        for split in SPLITS:
            x = file[split].astype("int32")
            x = x[(x != 0).any(axis=(1, 2))]
            words = (x != 0).sum(axis=2)
            documents[split] = Documents(
                x[x != 0], words[words > 0], (words > 0).sum(axis=1)
            )
    shapes = sum_shapes(x.shapes() for x in documents.values())
    # Where all documents fit into one batch there is one bucket.
    buckets = Buckets(shapes, shapes.sum() if one_shape else batch_size)
    buckets.batch_size = batch_size
    return size, {
        split: IdBatches(x, buckets, shuffle=split == "train", seed=seed)
        for split, x in documents.items()
    }


def train_row(row, vocabulary_size, splits, changes, path, args):
    import keras
    import table

    import keras_hvae
    from keras_hvae.callbacks import BestModel, KLAnnealing
    from keras_hvae.training import Checkpoint
    from keras_hvae.training.recipe import (
        ANNEALING,
        GRADIENT_NORM,
        LOWEST_RATE,
    )

    keras.utils.set_random_seed(args.seed)
    cls, options = table.MODELS[row]
    options = {**options, **changes}
    annealing = options.pop("annealing", ANNEALING)
    schedule = options.pop("schedule", "linear")
    options.pop("pretraining", None)
    sizes = {
        key: options.pop(key, default) for key, default in table.SIZE.items()
    }
    model = table.build(
        cls, vocabulary_size, sizes, {**options, "seed": args.seed}
    )
    data = splits["train"]
    data.start_at(0)
    tokens = len(data.documents.ids)
    steps = args.epochs * len(data)
    rate = keras.optimizers.schedules.CosineDecay(
        args.learning_rate, steps, LOWEST_RATE
    )
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=GRADIENT_NORM))
    # Of an autoencoder, whose KL has no weight, −ELBO says nothing.
    monitor = "val_loss" if options.get("kl_weight", 1.0) else "val_nll"
    best = BestModel(path.with_suffix(".keras"), monitor)
    folder = path.with_suffix(".checkpoints")
    checkpoint = Checkpoint(folder, every=200)
    says = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: print(
            f"  {epoch + 1}: {checkpoint.seconds:.0f} s, "
            + ", ".join(f"{k} {v:.3f}" for k, v in logs.items()),
            flush=True,
        )
    )
    callbacks = [best, says, checkpoint]
    if model.latent_dim and annealing:
        callbacks.insert(0, KLAnnealing(int(annealing * steps), schedule))
    history = model.fit(
        data,
        validation_data=splits["valid"],
        epochs=args.epochs,
        shuffle=False,
        callbacks=callbacks,
        verbose=0,
    ).history
    model = keras_hvae.load_model(best.filepath)
    split = "test" if args.test else "valid"
    metrics = ["likelihood", "latents"] + ["iwae"] * (args.samples > 0)
    if args.writing:
        metrics += ["reconstruction"] * (model.latent_dim > 0) + ["samples"]
    figures = keras_hvae.evaluation.evaluate(
        model,
        splits[split],
        metrics=metrics,
        train=data if args.writing else None,
        num_samples=args.samples or 1,
        max_documents=args.documents,
        verbose=0,
    )
    shutil.rmtree(folder)
    seen = len(history["loss"])
    return {
        "row": row,
        "split": split,
        "options": {**sizes, **options, "annealing": annealing},
        "parameters": model.count_params(),
        "seed": args.seed,
        "batch_size": args.batch_size,
        "learning_rate": args.learning_rate,
        "epochs": seen,
        "of_epochs": args.epochs,
        "best_epoch": best.best_epoch,
        "tokens_seen": seen * tokens,
        "seconds": round(checkpoint.seconds, 1),
        "backend": keras.config.backend(),
        "history": {k: [float(x) for x in v] for k, v in history.items()},
        "figures": figures,
    }


def bound_of(figures):
    """The IWAE's NLL of all documents: −ELBO less the gap on those drawn."""
    return figures["neg_elbo"]["per_token"] - figures["iwae"]["gap"]


def summary(result):
    figures = result["figures"]
    text = (
        f"{result['corpus']}/{result['row']}: {result['parameters']:,} "
        f"parameters, {result['tokens_seen'] / 1e6:.1f} M tokens, best epoch "
        f"{result['best_epoch']} of {result['epochs']}, {result['seconds']} s; "
        f"-ELBO {figures['neg_elbo']['per_token']:.4f}, "
        f"KL {figures['kl']['per_sentence']:.2f}"
    )
    if "information" in figures:
        text += (
            f", information {figures['information']:.2f}, z-ablation "
            f"{figures['z_ablation']:.2f}"
        )
    if "iwae" in figures:
        bound = bound_of(figures)
        text += f", IWAE {bound:.4f}, PPL {math.exp(bound):.2f}"
        if figures["iwae"]["conditional"]:
            rest = figures["iwae"]["conditional"]["nll"]["per_token"]
            text += f", conditional {rest:.4f}"
    return text


def main():
    args = make_parser().parse_args()
    args.run(args)


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("prepare")
    command.set_defaults(run=prepare)
    command.add_argument("corpus")
    command.add_argument("--data", default="data", help="folder of corpora")
    command.add_argument("--out", required=True, help="file to write")
    command = commands.add_parser("train")
    command.set_defaults(run=train)
    command.add_argument("arrays", help="what `prepare` wrote")
    command.add_argument("rows", nargs="+")
    command.add_argument("--epochs", type=int, default=40)
    command.add_argument("--batch-size", type=int, default=64)
    command.add_argument("--learning-rate", type=float, default=0.005)
    command.add_argument(
        "--one-shape", action="store_true", help="where compiling takes long"
    )
    command.add_argument("--samples", type=int, default=500, help="of IWAE")
    command.add_argument("--documents", type=int, default=100, help="of IWAE")
    command.add_argument(
        "--writing", action="store_true", help="reconstruction and samples, too"
    )
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    command.add_argument("--test", action="store_true")
    command.add_argument("--suffix", default="", help="of the files' names")
    command.add_argument("--out", required=True, help="folder to write")
    return parser


if __name__ == "__main__":
    main()
