"""What a rate costs, and what it brings: the rate-distortion curve.

    python benchmarks/table.py prepare ptb --data FOLDER --out ptb.npz
    python benchmarks/rate_distortion.py train ptb.npz
        rate5 rate20 autoencoder hred gru_lm --out FOLDER [--epochs 8]
    python benchmarks/rate_distortion.py draw FOLDER --out ptb.png

A point is an HVAE with `rate=R`, of the same size, data, steps and schedule as
all others: `rateR` for any R. `autoencoder` is the HVAE whose KL weighs
nothing (β = 0), `hred` and `gru_lm` have no latents. Everything is measured on
the validation split, `train` writes a JSON file a point, `draw` reads all of a
folder and prints the table of them, too.

- distortion: the NLL of a token with the latent of its own sentence;
- −ELBO and the NLL by importance weighting, of documents;
- free-running reconstruction from the posterior means: the share of the
  tokens that greedy decoding puts at their place, and BLEU-4;
- samples from the prior: perplexity of a trigram model of real sentences on
  them (forward), and of one of theirs on real sentences (reverse);
- information: `mi_full`, which cannot be above the log of the number of
  sentences, and so says nothing about high rates.
"""

import argparse
import json
import pathlib
import sys

import render
import table

WITHOUT = ("gru_lm", "hred")
PERPLEXITY = "perplexity_3gram_witten_bell"


def train(args):
    for name in args.points:
        row, changes = point(name)
        command = ["train", args.arrays, row, "--out", args.out, "--writing"]
        command += ["--suffix=-" + name, "--set", *changes, *args.set]
        for key in ("epochs", "batch_size", "learning_rate", "samples", "seed"):
            option = f"--{key.replace('_', '-')}"
            command += [option, str(getattr(args, key))]
        command += ["--documents", str(args.documents)]
        parsed = table.make_parser().parse_args(command)
        parsed.run(parsed)


def point(name):
    """The row of `table.py`, and the changes, of a point."""
    if name in WITHOUT:
        return name, []
    if name == "autoencoder":
        return "hvae", ["kl_weight=0.0", "annealing=0.0", "free_bits=0.0"]
    if name.startswith("rate"):
        return "hvae", [f"rate={float(name.removeprefix('rate'))}"]
    raise ValueError(
        f"A point must be rateR, autoencoder, hred or gru_lm. Received: {name}"
    )


def read(folder):
    """The points of a folder by name, those of a rate in its order."""
    points = {}
    for path in pathlib.Path(folder).glob("*.json"):
        points[path.stem.rsplit("-", 1)[1]] = json.loads(path.read_text())
    if not points:
        raise ValueError(f"{folder} must have points. Received: no .json file")

    def place(name):
        number = name.removeprefix("rate")
        rate = float(number) if number != name else float("inf")
        return rate, name

    return {name: points[name] for name in sorted(points, key=place)}


def figures_of(result):
    """The figures of a point, None where it has none."""
    figures = result["figures"]
    back = figures.get("reconstruction", {})
    samples = figures.get("samples", {})
    iwae = "iwae" in figures
    return {
        "KL": figures["kl"]["per_sentence"],
        "MI": figures.get("mi_full"),
        "information": figures.get("information"),
        "distortion": figures["nll"]["per_token"],
        "-ELBO": figures["neg_elbo"]["per_token"],
        "NLL": render.nll(result) if iwae else None,
        "same length": figures.get("z_ablation_length_matched"),
        "accuracy": back.get("accuracy_free_running"),
        "BLEU-4": back.get("bleu4_sacrebleu"),
        "forward PPL": samples.get(f"forward_{PERPLEXITY}"),
        "reverse PPL": samples.get(f"reverse_{PERPLEXITY}"),
    }


def lines_of(points):
    rows = {name: figures_of(x) for name, x in points.items()}
    heads = list(next(iter(rows.values())))
    lines = ["| point | " + " | ".join(heads) + " |"]
    lines.append("|---" * (len(heads) + 1) + "|")
    for name, row in rows.items():
        cells = ["" if x is None else f"{x:.3g}" for x in row.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(args):
    from matplotlib.figure import Figure

    points = read(args.folder)
    print(lines_of(points))
    rows = {name: figures_of(x) for name, x in points.items()}
    curve = [row for name, row in rows.items() if name.startswith("rate")]
    figure = Figure((10, 6.5), layout="constrained")
    axes = figure.subplots(2, 2)
    panels = (
        ("nats a token", ("distortion", "-ELBO", "NLL")),
        ("free-running reconstruction", ("accuracy", "BLEU-4")),
        ("perplexity of samples", ("forward PPL", "reverse PPL")),
        ("nats a sentence", ("information", "MI", "same length")),
    )
    for ax, (title, keys) in zip(axes.flat, panels):
        for color, key in zip(("C0", "C1", "C2"), keys):
            scale = 100 if key == "accuracy" else 1
            found = [(x["KL"], x[key]) for x in curve if x[key] is not None]
            if not found:
                continue
            ax.plot(
                [x for x, _ in found],
                [scale * y for _, y in found],
                "o-",
                color=color,
                label=f"{key}, %" if scale > 1 else key,
            )
            end = rows.get("autoencoder", {}).get(key)
            if end is not None and title.startswith("free"):
                ax.axhline(scale * end, ls=":", color=color)
                ax.annotate("autoencoder", (0, scale * end), color=color)
        if title == "nats a token":
            for name, style in zip(WITHOUT, ("--", "-.")):
                if name in rows:
                    level = rows[name]["-ELBO"]
                    ax.axhline(level, ls=style, color="gray", label=name)
        if title == "nats a sentence":
            ax.axline((0, 0), slope=1, color="gray", lw=0.5, label="KL")
        ax.set(title=title, xlabel="KL, nats a sentence")
        ax.legend()
    figure.savefig(args.out, dpi=120)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train")
    command.set_defaults(run=train)
    command.add_argument("arrays", help="what `table.py prepare` wrote")
    command.add_argument("points", nargs="+", metavar="POINT")
    command.add_argument("--epochs", type=int, default=8)
    command.add_argument("--batch-size", type=int, default=64)
    command.add_argument("--learning-rate", type=float, default=0.004)
    command.add_argument("--samples", type=int, default=100, help="of IWAE")
    command.add_argument("--documents", type=int, default=500, help="of IWAE")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    command.add_argument("--out", required=True, help="folder to write")
    command = commands.add_parser("draw")
    command.set_defaults(run=draw)
    command.add_argument("folder")
    command.add_argument("--out", required=True, help="picture to write")
    args = parser.parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    sys.exit(main())
