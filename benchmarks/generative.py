"""Models of vectors beside their published figures, a command a row.

    python benchmarks/generative.py train dna nade --data FOLDER
    python benchmarks/generative.py list
    python benchmarks/generative.py render

`train` reads `FOLDER/nade_uci/SET.npz` or `FOLDER/mnist/mnist.npz`, trains
until the validation split's loss has not fallen for a while, evaluates the
weights of the best epoch once on the test split and writes `results/generative/
SET/ROW.json`. MNIST is binarised anew in each epoch; its last 10,000 training
images are the validation split, binarised once as the test split is. The model
is written beside the figures. `render` writes GENERATIVE.md and its curve from
the files; `draw` makes the pictures of digits, from the models of MNIST:

    python benchmarks/generative.py draw --data FOLDER
"""

import argparse
import json
import os
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
UCI = ("dna", "mushrooms", "nips")
SETS = (*UCI, "mnist")
VALID = 10_000  # of the training images of MNIST
ORDERS = (1, 2, 4, 8, 16, 32, 64, 128)  # of an ensemble
# Class, its arguments, and the training: learning rate, passes at most,
# patience, weight decay.
ROWS = {
    "independent": (generative.BernoulliMixture, {"components": 1}, ()),
    "mixture": (generative.BernoulliMixture, {"components": 20}, ()),
    "fvsbn": (generative.LogisticAR, {}, (0.003, 300, 10, None)),
    "neural_ar": (generative.NeuralAR, {"units": 4}, (0.001, 200, 10, None)),
    "nade": (generative.NADE, {"units": 200}, (0.002, 300, 10, 0.3)),
    "orderless_nade": (
        generative.NADE,
        {"orderless": True, "units": 500, "hidden_layers": 1},
        (0.001, 500, 40, 0.3),
    ),
    "vae": (generative.VAE, {}, (0.001, 200, 20, None)),
    "iwae_5": (generative.VAE, {"num_samples": 5}, (0.001, 100, 20, None)),
    "iwae_50": (generative.VAE, {"num_samples": 50}, (0.001, 30, 20, None)),
    "dlgm": (generative.DLGM, {}, (0.001, 100, 20, None)),
    # Two latents, for a picture:
    "vae_2": (generative.VAE, {"latent_dim": 2}, (0.001, 40, 20, None)),
}
# Where a set has settings of its own, found on its validation split.
OWN = {
    ("mushrooms", "mixture"): ({"components": 100, "smoothing": 0.01}, ()),
    ("nips", "mixture"): ({"components": 10, "smoothing": 1.0}, ()),
}
OF_UCI = (
    "independent",
    "mixture",
    "fvsbn",
    "neural_ar",
    "nade",
    "orderless_nade",
)
OF_MNIST = ("vae", "iwae_5", "iwae_50", "dlgm", "orderless_nade", "vae_2")
# Test log-likelihoods, nats, by set and row. V: read in a source that quotes
# it; C: computed from the data at hand; M: quoted from memory of the paper.
PUBLISHED = {
    "dna": {
        "independent": "−100.39 C",
        "mixture": "−98.19 M",
        "fvsbn": "−83.64 M",
        "nade": "−84.81 M",
        "orderless_nade": "−82.31 V (ensemble)",
    },
    "mushrooms": {
        "independent": "−34.23 C",
        "mixture": "−14.46 M",
        "fvsbn": "−10.27 M",
        "nade": "−9.81 M",
        "orderless_nade": "−9.68 V (ensemble)",
    },
    "nips": {
        "independent": "−294.80 C",
        "mixture": "−290.02 M",
        "fvsbn": "−276.88 M",
        "nade": "−273.08 M",
        "orderless_nade": "−272.39 M (ensemble)",
    },
    "mnist": {
        "vae": "−86.76 V",
        "iwae_5": "−85.54 V",
        "iwae_50": "−84.78 V",
        "dlgm": "−87.30 M (diagonal), −86.60 M (rank one)",
        "orderless_nade": "−92.17 (1 order) to −87.71 (128) V",
    },
}
NOTES = {
    "dna": "180 bits; 1,400, 600 and 1,186 rows.",
    "mushrooms": "112 bits; 2,000, 500 and 5,624 rows.",
    "nips": "500 bits; 400, 100 and 1,240 rows.",
    "mnist": "784 bits, drawn anew in each epoch with the grey as probability; "
    "the test images are binarised once. Independent pixels: −205.81 (C).",
}


class Binarised(keras.utils.PyDataset):
    """Images as bits, drawn anew in each epoch with the grey as probability."""

    def __init__(self, images, batch_size, seed):
        super().__init__()
        self.images, self.batch_size = images, batch_size
        self.rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def on_epoch_end(self):
        self.order = self.rng.permutation(len(self.images))

    def __len__(self):
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index):
        first = index * self.batch_size
        rows = self.order[first : first + self.batch_size]
        return (binarise(self.images[rows], self.rng),)


def binarise(images, rng):
    return (rng.random(images.shape) < images).astype("float32")


def read(name, folder):
    """The splits of a set: bits, but for `"train"` of MNIST, which is grey."""
    if name == "mnist":
        with np.load(pathlib.Path(folder, "mnist", "mnist.npz")) as file:
            images, test = (
                file[x].reshape(-1, 784).astype("float32") / 255
                for x in ("x_train", "x_test")
            )
        rng = np.random.default_rng(0)
        return {
            "train": images[:-VALID],
            "valid": binarise(images[-VALID:], rng),
            "test": binarise(test, rng),
        }
    with np.load(pathlib.Path(folder, "nade_uci", f"{name}.npz")) as file:
        return {
            split: np.unpackbits(file[split], axis=1)[
                :, : int(file["n"])
            ].astype("float32")
            for split in ("train", "valid", "test")
        }


def train(args):
    for row in args.rows or (OF_UCI if args.set in UCI else OF_MNIST):
        path = pathlib.Path(args.out, args.set, f"{row}.json")
        if path.exists():
            print(f"{path} is there")
            continue
        result, model = train_row(args.set, row, args)
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path.with_suffix(".keras"))
        with write_whole(path) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n")
        print(args.set, row, result["test"], flush=True)


def train_row(name, row, args):
    """What a row says of its training, its figures, and the model."""
    splits = read(name, args.data)
    keras.utils.set_random_seed(args.seed)
    cls, options, training = ROWS[row]
    changes, own_training = OWN.get((name, row), ({}, ()))
    given = dict(x.split("=", 1) for x in args.options)
    given = {k: literal(v) for k, v in given.items()}
    options = {**options, **changes, **given}
    training = own_training or training
    shape = {k: v for k, v in options.items() if k != "smoothing"}
    model = cls(splits["train"].shape[1], **shape)
    start = time.process_time()
    history = {}
    if cls is generative.BernoulliMixture:
        history["loss"] = [
            -x
            for x in model.fit_em(
                splits["train"],
                500,
                seed=args.seed,
                smoothing=options.setdefault("smoothing", 0.1),
            )
        ]
    else:
        rate, epochs, patience, decay = training
        steps = -(-len(splits["train"]) // args.batch_size)
        epochs = args.epochs or epochs
        rate = args.learning_rate or rate
        training = rate, epochs, patience, decay
        schedule = keras.optimizers.schedules.CosineDecay(
            rate, epochs * steps, 0.01
        )
        model.compile(
            keras.optimizers.Adam(
                schedule, weight_decay=decay, global_clipnorm=5.0
            )
        )
        data = splits["train"]
        if name == "mnist":
            data = Binarised(data, args.batch_size, args.seed)
        # The loss of all orders is an estimate: of more rows, a better one.
        again = 10 if options.get("orderless") and name in UCI else 1
        history = model.fit(
            data,
            batch_size=None if name == "mnist" else args.batch_size,
            validation_data=(np.tile(splits["valid"], (again, 1)),),
            validation_batch_size=500,
            epochs=epochs,
            callbacks=[
                keras.callbacks.EarlyStopping(
                    "val_loss",
                    patience=patience,
                    restore_best_weights=True,
                )
            ],
            verbose=args.verbose,
        ).history
    seconds = time.process_time() - start
    test = splits["test"][: args.documents]
    valid = splits["valid"][: args.documents]
    result = {
        "set": name,
        "row": row,
        "options": options,
        "training": training,
        "parameters": int(
            sum(np.prod(x.shape) for x in model.trainable_weights)
        ),
        "seed": args.seed,
        "batch_size": args.batch_size,
        "cpu_minutes": round(seconds / 60, 2),
        "machine": args.machine,
        "backend": keras.config.backend(),
        "history": {k: [float(x) for x in v] for k, v in history.items()},
        "valid": figures(model, valid, args),
        "test": figures(model, test, args),
    }
    return result, model


def figures(model, x, args):
    """log p(x) of a split, nats: mean and its standard error."""
    if getattr(model, "orderless", False):
        each = [
            model.log_prob(x, num_orders=1, seed=seed, batch_size=1000)
            for seed in range(args.orders)
        ]
        total = np.logaddexp.accumulate(each)
        return {
            str(k): mean_of(total[k - 1] - np.log(k))
            for k in ORDERS
            if k <= args.orders
        }
    if hasattr(model, "num_samples"):
        elbo = model.bounds(x, num_samples=1)["lower"]
        bound = model.bounds(x, num_samples=args.samples)["lower"]
        return {
            "elbo": mean_of(elbo),
            "bound": {**mean_of(bound), "num_samples": args.samples},
        }
    return {"log_prob": mean_of(model.log_prob(x))}


def mean_of(values):
    return {
        "mean": float(values.mean()),
        "standard_error": float(values.std() / np.sqrt(len(values))),
        "rows": len(values),
    }


def list_rows(args):
    for name in SETS:
        print(f"{name}: {' '.join(OF_UCI if name in UCI else OF_MNIST)}")


def cells(row):
    """Figures of a row as in the table: nats, ± one standard error."""
    test = row["test"]
    if "log_prob" in test:
        return cell(test["log_prob"])
    if "bound" in test:
        return (
            f"≥ {cell(test['bound'])} ({test['bound']['num_samples']} draws), "
            f"ELBO {cell(test['elbo'])}"
        )
    return ", ".join(
        f"{cell(test[k])} ({k} order{'s' * (k != '1')})"
        for k in ("1", "16", "128")
        if k in test
    )


def cell(figure):
    text = f"{figure['mean']:.2f} ± {figure['standard_error']:.2f}"
    return text.replace("-", "−")


def render(args):
    folder = pathlib.Path(args.results)
    found = {
        name: {
            path.stem: json.loads(path.read_text())
            for path in sorted((folder / name).glob("*.json"))
        }
        for name in SETS
    }
    parts = [(HERE / "generative_head.md").read_text().rstrip()]
    for name, rows in found.items():
        if not rows:
            continue
        lines = [
            "| row | parameters | passes | CPU minutes | log p(x), test | "
            "published |",
            "|---" * 6 + "|",
        ]
        for row in OF_UCI if name in UCI else OF_MNIST:
            if row not in rows:
                continue
            x = rows[row]
            lines.append(
                f"| {row} | {x['parameters']:,} | {len(x['history']['loss'])} "
                f"| {x['cpu_minutes']:.1f} | {cells(x)} "
                f"| {PUBLISHED[name].get(row, '')} |"
            )
        parts += [f"## {name}", NOTES[name], "\n".join(lines)]
    if not args.no_pictures:
        draw_orders(found, folder / "orders.png")
    page = pathlib.Path(args.page)
    for picture, says in PICTURES.items():
        if (folder / picture).exists():
            link = os.path.relpath(folder / picture, page.parent)
            parts.append(f"![{says}]({pathlib.Path(link).as_posix()})")
    page.write_text("\n\n".join(parts) + "\n")


PICTURES = {
    "orders.png": "Log-likelihood over the number of orders",
    "digits.png": "Digits drawn, and halves of test digits completed",
    "map.png": "Test digits by the means of two latents",
}


def draw_orders(found, path):
    """How the log-likelihood rises with the number of orders, a panel a set."""
    from matplotlib.figure import Figure

    shown = [x for x in SETS if "orderless_nade" in found[x]]
    if not shown:
        return
    figure = Figure((3.2 * len(shown), 3), layout="constrained")
    for ax, name in zip(np.ravel(figure.subplots(1, len(shown))), shown):
        test = found[name]["orderless_nade"]["test"]
        orders = [k for k in ORDERS if str(k) in test]
        ax.plot(orders, [test[str(k)]["mean"] for k in orders], "o-")
        if name == "mnist":  # of which the paper has a curve: its ends
            ax.plot([1, 128], [-92.17, -87.71], "s--", color="0.5")
        ax.set_xscale("log", base=2)
        ax.set_title(name)
        ax.set_xlabel("orders")
    figure.supylabel("log p(x), nats")
    figure.savefig(path, dpi=110)


def draw(args):
    from matplotlib.figure import Figure

    folder = pathlib.Path(args.results)
    models = {
        path.stem: keras.models.load_model(path)
        for path in sorted((folder / "mnist").glob("*.keras"))
    }
    splits = read("mnist", args.data)
    digits = splits["test"][:10]
    left = np.broadcast_to(np.arange(784) % 28 < 14, digits.shape)
    rows = {"test": digits, "left halves": np.where(left, digits, 0.5)}
    for name, model in models.items():
        if name == "vae_2":
            continue
        rows[f"{name}, drawn"] = model.sample(10, seed=0)
        rows[f"{name}, completed"] = model.sample(10, 0, digits, left)
    figure = Figure((6.5, 0.62 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 10)
    for line, (title, images) in zip(axes, rows.items()):
        for ax, image in zip(line, images):
            ax.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
        line[0].set_ylabel(title, rotation=0, ha="right", va="center")
    figure.savefig(folder / "digits.png", dpi=110)
    if "vae_2" in models:
        with np.load(pathlib.Path(args.data, "mnist", "mnist.npz")) as file:
            labels = file["y_test"]
        places = models["vae_2"].encode(splits["test"])
        figure = Figure((6, 5), layout="constrained")
        ax = figure.subplots()
        dots = ax.scatter(*places.T, c=labels, s=3, cmap="tab10")
        figure.colorbar(dots, ticks=range(10), label="digit")
        ax.set(xlabel="z_1", ylabel="z_2")
        figure.savefig(folder / "map.png", dpi=110)


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train")
    command.set_defaults(run=train)
    command.add_argument("set", choices=SETS)
    command.add_argument("rows", nargs="*", help="all of the set if none")
    command.add_argument("--data", default="data", help="folder of the sets")
    command.add_argument("--epochs", type=int)
    command.add_argument("--batch-size", type=int, default=100)
    command.add_argument("--learning-rate", type=float)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument(
        "--options", nargs="*", default=[], metavar="NAME=VALUE"
    )
    command.add_argument("--samples", type=int, default=5000, help="of bounds")
    command.add_argument("--orders", type=int, default=128)
    command.add_argument("--documents", type=int, help="rows to evaluate")
    command.add_argument("--machine", default=machine())
    command.add_argument("--verbose", type=int, default=2)
    command.add_argument("--out", default=RESULTS, help="folder of rows")
    command = commands.add_parser("list")
    command.set_defaults(run=list_rows)
    for name, run in (("render", render), ("draw", draw)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--results", default=RESULTS)
    command.add_argument("--data", default="data", help="folder of the sets")
    command = commands.choices["render"]
    command.add_argument("--page", default=HERE / "GENERATIVE.md")
    command.add_argument(
        "--no-pictures", action="store_true", help="leave them as they are"
    )
    return parser


def main(argv=None):
    args = make_parser().parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    main()
