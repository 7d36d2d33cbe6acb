"""The commands that export a model, check exports, and show one."""

import argparse
import pathlib

from keras_hvae.cli.model_folder import load_model
from keras_hvae.files import printable

# Of an exported model.
CAPS = {
    "num_sentences": "sentences that the signature generate writes",
    "write_words": "most words of a sentence that is written (default: 30, "
    "or --max-words if that is less)",
    "max_documents": "most rows of a request",
    "max_sentences": "most sentences of a document that are read",
    "max_words": "most words of a sentence that are read (default: as trained)",
}


def export(args: argparse.Namespace) -> None:
    from keras_hvae.export import export_savedmodel

    version = export_savedmodel(
        load_model(args.model),
        args.path,
        version=args.version,
        signatures=args.signatures,
        **{name: getattr(args, name) for name in CAPS},
    )
    size = sum(x.stat().st_size for x in version.rglob("*") if x.is_file())
    print(f"{version}: {size / 2**20:.1f} MiB")


def explore(args: argparse.Namespace) -> None:
    from keras_hvae.explore import explore

    explore(
        load_model(args.model),
        args.port,
        not args.no_browser,
        name=pathlib.Path(args.model).name,
    )


def verify(args: argparse.Namespace) -> None:
    from keras_hvae.export import verify

    for folder, about in verify(args.path).items():
        text = (
            f"{folder}: whole; {about['parameters']:,} parameters, "
            f"keras_hvae {about['keras_hvae']}, signatures "
            f"{', '.join(about['signatures'])}"
        )
        print(printable(text))
