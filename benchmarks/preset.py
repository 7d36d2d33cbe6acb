"""Trains and writes a preset, with its model card.

    python benchmarks/preset.py shakespeare keras_hvae/presets/NAME
        [--size small] [--epochs 12] [--set NAME=VALUE ...] [--data FOLDER]

The recipe is that of the results table; the card has what was trained on, the
whole evaluation on the test split, and samples as they come. A training that
was stopped goes on when the command is given again: its checkpoints and its
best model lie beside the preset, in `NAME.checkpoints` and `NAME.keras`.
"""

import argparse
import pathlib

import corpora
import keras
import numpy as np
import table
from converge import fit, forget, machine

import keras_hvae
from keras_hvae.applications import HVAEBase, HVAESmall

SIZES = {"small": HVAESmall, "base": HVAEBase}
DATA = {
    "shakespeare": "the 37 plays of Shakespeare that ship with the package, in "
    "windows of 10 speeches, lower-cased, at most 29 words and `[EOS]` a "
    "speech. Public domain; see `keras_hvae/data/shakespeare_scenes/"
    "ATTRIBUTION.md`. The test split is three plays of their own",
    "chitchat": "conversations of the Chit-Chat dataset (Myers, Etchart & "
    "Fulda, 2020; MIT licence, (c) 2019 Perception, Control and Cognition "
    "Lab), first 10 turns, lower-cased, at most 29 words and `[EOS]` a turn. "
    "They are unedited chat between students",
}
METRICS = (
    "likelihood",
    "latents",
    "iwae",
    "particles",
    "reconstruction",
    "samples",
    "responses",
)
CARD = pathlib.Path(__file__).with_name("preset_card.md")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", choices=DATA)
    parser.add_argument("out", help="folder of the preset")
    parser.add_argument("--data", default="data", help="folder of corpora")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--vocabulary-size", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--machine", default=machine())
    args = parser.parse_args()
    keras.utils.set_random_seed(args.seed)
    corpus = corpora.load(
        args.corpus, args.data, args.vocabulary_size, args.batch_size
    )
    changes = dict(x.split("=", 1) for x in args.set)
    model = SIZES[args.size](
        weights=None,
        vocabulary=corpus.vocabulary,
        softmax="adaptive",
        seed=args.seed,
        **{k: table.literal(v) for k, v in changes.items()},
    )
    tokens = sum((np.asarray(ids) != 0).sum() for ids in corpus.train)
    out = pathlib.Path(args.out)
    trained = fit(
        model,
        corpus.train,
        corpus.valid,
        out.with_suffix(".keras"),
        args.epochs,
    )
    model = trained.model
    model.save_to_preset(out, dtype="float16")
    # What is shipped is what is measured.
    model = keras_hvae.HVAE.from_preset(out)
    figures = keras_hvae.evaluation.evaluate(
        model,
        corpus.test,
        METRICS,
        train=corpus.train,
        num_samples=500,
        max_documents=100,
    )
    samples = []
    for seed in range(3):
        (document,) = model.generate(
            num_sentences=6, sampler="top_p", temperature=0.8, seed=seed
        )
        samples.append("\n".join(document))
    card = CARD.read_text().format(
        name=out.name,
        parameters=model.count_params(),
        latent_dim=model.latent_dim,
        words=model.vocabulary_size,
        data=DATA[args.corpus],
        command=command(args, out.name),
        minutes=trained.seconds / 60,
        machine=args.machine,
        steps=trained.steps,
        tokens=trained.epochs * tokens / 1e6,
        best=trained.best_epoch,
        epochs=trained.epochs,
        seed=args.seed,
        keras=keras.__version__,
        backend=keras.config.backend(),
        figures=keras_hvae.evaluation.summary(figures),
        samples="\n\n".join(samples),
    )
    model.save_to_preset(out, card, dtype="float16")
    forget(out)
    print(card)


def command(args, name):
    """What made the preset, as a user would repeat it."""
    words = [
        f"python benchmarks/preset.py {args.corpus} keras_hvae/presets/{name}",
        f"--size {args.size} --epochs {args.epochs}",
        f"--batch-size {args.batch_size}",
        f"--vocabulary-size {args.vocabulary_size} --seed {args.seed}",
    ]
    if args.set:
        words.append(" ".join(["--set", *args.set]))
    if args.corpus != "shakespeare":  # which the package brings
        words.append("--data FOLDER")
    return " ".join(words)


if __name__ == "__main__":
    main()
