"""Rows of the table, trained to convergence; on a GPU, too.

    python benchmarks/converge.py prepare dailydialog --data FOLDER
        --out dailydialog.arrays.npz
    KERAS_BACKEND=jax python benchmarks/converge.py train
        dailydialog.arrays.npz hred vhred hvae --epochs 40 --out FOLDER

`prepare` needs TensorFlow and the corpora of `table.py`; `train` needs neither:
all documents are arrays of one shape, as JAX compiles for each. A row is a
model of `table.py`, of as many parameters as its HVAE there. It is trained for
so many epochs on a learning rate that falls as half a cosine, and the weights
of the epoch with the best validation −ELBO (β = 1) are evaluated on the
validation split, or, with `--test`, on the test split.

"Converged" is to be seen, not said: the file of a row has the validation
figures of all epochs, and `best_epoch`. Where that is the last one, the
training was too short.
"""

import argparse
import json
import math
import pathlib
import time

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
    import keras
    import table

    with np.load(args.arrays) as file:
        size = int(file["vocabulary_size"])
        splits = {
            split: fill(file[split].astype("int32"), args.batch_size)
            for split in SPLITS
        }
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    corpus = pathlib.Path(args.arrays).name.partition(".")[0]
    changes = dict(x.split("=", 1) for x in args.set)
    changes = {k: table.literal(v) for k, v in changes.items()}
    for row in args.rows:
        keras.utils.set_random_seed(args.seed)
        result = train_row(row, size, splits, changes, out, args)
        name = f"{corpus}-{row}{args.suffix}"
        result = {"corpus": corpus, **result}
        (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(summary(result), flush=True)


def fill(x, batch_size):
    """Documents of padding until there are whole batches."""
    return np.pad(x, [(0, -len(x) % batch_size), (0, 0), (0, 0)])


def in_batches(x, size):
    return list(x.reshape(-1, size, *x.shape[1:]))


def train_row(row, vocabulary_size, splits, changes, out, args):
    import keras
    import table

    import keras_hvae
    from keras_hvae.callbacks import BestModel, KLAnnealing
    from keras_hvae.training.recipe import (
        ANNEALING,
        GRADIENT_NORM,
        LOWEST_RATE,
    )

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
    steps = args.epochs * len(splits["train"]) // args.batch_size
    rate = keras.optimizers.schedules.CosineDecay(
        args.learning_rate, steps, LOWEST_RATE
    )
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=GRADIENT_NORM))
    path = out / f"{row}{args.suffix}.keras"
    # Of an autoencoder, whose KL has no weight, −ELBO says nothing.
    monitor = "val_loss" if options.get("kl_weight", 1.0) else "val_nll"
    best = BestModel(path, monitor)
    callbacks = [best, clock := Clock(args.seconds)]
    if model.latent_dim and annealing:
        callbacks.insert(0, KLAnnealing(int(annealing * steps), schedule))
    history = model.fit(
        splits["train"],
        validation_data=(splits["valid"],),
        epochs=args.epochs,
        batch_size=args.batch_size,
        callbacks=callbacks,
        verbose=0,
    ).history
    model = keras_hvae.load_model(path)
    split = "test" if args.test else "valid"
    metrics = ["likelihood", "latents"] + ["iwae"] * (args.samples > 0)
    if args.writing:
        metrics += ["reconstruction"] * (model.latent_dim > 0) + ["samples"]
    figures = keras_hvae.evaluation.evaluate(
        model,
        in_batches(splits[split], args.batch_size),
        metrics=metrics,
        train=in_batches(splits["train"], args.batch_size)
        if args.writing
        else None,
        num_samples=args.samples or 1,
        max_documents=args.documents,
        verbose=0,
    )
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
        "tokens_seen": seen * int((splits["train"] != 0).sum()),
        "seconds": round(clock.used, 1),
        "backend": keras.config.backend(),
        "history": {k: [float(x) for x in v] for k, v in history.items()},
        "figures": figures,
    }


def make_clock():
    import keras

    class Clock(keras.callbacks.Callback):
        """Ends a training that takes longer; the schedule is cut then."""

        def __init__(self, seconds):
            super().__init__()
            self.seconds = seconds

        def on_train_begin(self, logs=None):
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.used = time.perf_counter() - self.began
            print(
                f"  {epoch + 1}: {self.used:.0f} s, val_loss "
                f"{logs['val_loss']:.3f}",
                flush=True,
            )
            if self.used > self.seconds:
                self.model.stop_training = True

    return Clock


def Clock(seconds):
    return make_clock()(seconds)


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
    command.add_argument("--seconds", type=float, default=math.inf)
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
