"""`keras-hvae demo`."""

import argparse

from keras_hvae.cli.train import train

DEMO = [
    "--vocabulary-size", "4000", "--batch-size", "16",
    "--epochs", "4", "--steps", "600",
]  # fmt: skip


def demo(args: argparse.Namespace) -> None:
    """Trains on the embedded corpus and shows what the model can do."""
    from keras_hvae.cli.parser import build_parser

    options = ["train", "shakespeare_scenes", "--out", args.out, *DEMO]
    options += ["--seed", str(args.seed)]
    if args.steps is not None:
        options += ["--steps", str(args.steps)]
    settings = build_parser().parse_args(options)
    settings.force, settings.debug = args.force, args.debug
    settings.resume = args.resume
    model, corpus = train(settings)

    def show(title, sentences):
        print(f"\n{title}", *(f"  {s}" for s in sentences), sep="\n")

    options = {"sampler": "top_p", "temperature": 0.8, "seed": args.seed}
    a, b = (x[:4] for x in corpus.documents("test", limit=2))
    for document in model.generate(num_documents=2, num_sentences=4, **options):
        show("A scene from the prior:", document)
    show("Speeches of the test split:", a)
    show("... reconstructed:", model.reconstruct(a))
    show("... continued:", model.generate(a, num_sentences=2, **options))
    path = model.interpolate(a, b, steps=5)
    show(
        "The first speech, on the way to another scene's:", [x[0] for x in path]
    )
