"""The arguments of `keras-hvae`."""

import argparse
import inspect
from typing import Any

from keras_hvae.cli import demo, evaluate, presets, serve, train, use
from keras_hvae.cli.shared_arguments import (
    CORPUS,
    KEY,
    add_batch_size,
    add_bulk_arguments,
    add_cluster_arguments,
    add_command,
    add_corpus_arguments,
    add_documents,
    add_documents_arguments,
    add_model,
    add_resume,
    add_training_arguments,
    add_whole,
    add_writing_arguments,
)
from keras_hvae.evaluation import METRICS
from keras_hvae.export import export_savedmodel
from keras_hvae.version import __version__


class CommandParser(argparse.ArgumentParser):
    """Of a command: what it does not know is an error with its own usage."""

    def parse_known_args(
        self, args: Any = None, namespace: Any = None
    ) -> tuple:
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown


def build_parser() -> argparse.ArgumentParser:
    """The parser; the parsed arguments have the function `run`."""
    parser = argparse.ArgumentParser(
        prog="keras-hvae",
        description="Hierarchical variational autoencoders of text.",
    )
    parser.add_argument(
        "--version", action="version", version=f"keras-hvae {__version__}"
    )
    commands = parser.add_subparsers(
        title="commands",
        metavar="COMMAND",
        required=True,
        parser_class=CommandParser,
    )

    command = add_command(
        commands,
        "demo",
        demo.demo,
        "train on Shakespeare's plays, evaluate, generate, plot, save",
        "keras-hvae demo --out hvae_demo",
    )
    command.add_argument("--out", default="hvae_demo", help="folder to write")
    command.add_argument("--steps", type=int, help="train this many steps only")
    command.add_argument("--seed", type=int, default=0)
    add_resume(command)
    command.add_argument(
        "--force", action="store_true", help="replace a model in the folder"
    )

    command = add_command(
        commands,
        "train",
        train.train,
        "train a model on a corpus",
        "keras-hvae train my_dialogues.jsonl --key turns --out my_model",
    )
    command.add_argument("corpus", metavar="CORPUS", help=CORPUS)
    command.add_argument("--out", required=True, help="folder to write")
    command.add_argument(
        "--force", action="store_true", help="replace a model in the folder"
    )
    add_resume(command)
    add_corpus_arguments(command)
    add_training_arguments(command)
    group = add_cluster_arguments(
        command,
        "all machines see CORPUS and --out under the same paths",
        "processes that share each batch",
    )
    group.add_argument(
        "--max-restarts",
        type=int,
        default=3,
        help="how often workers that are lost are restarted, from the last "
        "checkpoint (default: 3)",
    )

    command = add_command(
        commands,
        "evaluate",
        evaluate.evaluate,
        "likelihood, latents, samples … of a model",
        "keras-hvae evaluate my_model my_dialogues.jsonl "
        "--metrics likelihood latents iwae --json figures.json",
    )
    add_model(command)
    command.add_argument("corpus", metavar="CORPUS", help=CORPUS)
    command.add_argument(
        "--split",
        choices=("train", "valid", "test", "all"),
        help="which split, or all of them together (default: test, but all "
        "for a file with other text than the model was trained on)",
    )
    command.add_argument(
        "--metrics",
        nargs="+",
        choices=METRICS,
        default=["likelihood", "latents"],
        help="groups of figures (default: likelihood latents)",
    )
    command.add_argument(
        "--num-samples",
        type=int,
        default=500,
        help="draws of iwae and particles (default: 500)",
    )
    command.add_argument(
        "--num-sentences",
        type=int,
        default=1000,
        help="how many sentences samples writes (default: 1000)",
    )
    command.add_argument(
        "--max-documents",
        type=int,
        help="of iwae, particles, reconstruction, responses (default: all)",
    )
    command.add_argument(
        "--vectors",
        metavar="FILE",
        help="word vectors (word2vec's or GloVe's text format) for responses",
    )
    command.add_argument("--json", metavar="FILE", help="write figures here")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--key", default="sentences", help=KEY)
    add_batch_size(command)

    command = add_command(
        commands,
        "generate",
        use.generate,
        "write new documents, or go on with given ones",
        "keras-hvae generate my_model --num-documents 2 --temperature 0.8",
    )
    add_model(command)
    command.add_argument(
        "--continue",
        dest="documents",
        metavar="FILE",
        help="go on with these documents (- for standard input)",
    )
    add_documents_arguments(command)
    command.add_argument("--num-documents", type=int, default=1)
    command.add_argument("--num-sentences", type=int, default=6)
    add_writing_arguments(command, "top_p")
    add_bulk_arguments(command)

    for name, run, text, default in (
        (
            "reconstruct",
            use.reconstruct,
            f"encode documents, write them. With --jsonl: {LINES}",
            None,
        ),
        (
            "interpolate",
            use.interpolate,
            "write documents between the first two of a file",
            7,
        ),
    ):
        command = add_command(
            commands, name, run, text, f"keras-hvae {name} my_model two.txt"
        )
        add_model(command)
        add_documents(command)
        if name == "reconstruct":
            add_whole(command)
        if default:
            command.add_argument("--steps", type=int, default=default)
        add_writing_arguments(command, "greedy")

    command = add_command(
        commands,
        "encode",
        use.encode,
        f"the latents of each sentence (cut to the words trained on). {LINES}",
        "keras-hvae encode my_model more.txt --out latents.npz",
    )
    add_model(command)
    add_documents(command)
    command.add_argument(
        "--out",
        metavar="FILE",
        help="write here (default: JSON lines to stdout); .npz for arrays: "
        "mean and log_var of all sentences, and for each window lengths, "
        "document (its mean), unknown (how many of its words are), index and "
        "window",
    )
    add_whole(command)
    add_batch_size(command)
    add_bulk_arguments(command, out=False)
    command.set_defaults(seed=None)

    command = add_command(
        commands,
        "score",
        use.score,
        "nll, KL and ELBO of documents and sentences (cut to the words "
        f"trained on), as JSON lines. {LINES}",
        "cat more.txt | keras-hvae score my_model -",
    )
    add_model(command)
    add_documents(command)
    command.add_argument(
        "--num-samples", type=int, default=1, help="posterior draws to average"
    )
    command.add_argument("--seed", type=int, default=0)
    add_whole(command)
    add_batch_size(command)
    add_bulk_arguments(command)
    _add_serving_commands(commands)

    add_command(
        commands,
        "presets",
        presets.presets,
        "list the trained models that are in the package",
        "keras-hvae presets",
    )
    return parser


def _add_serving_commands(commands):
    command = add_command(
        commands,
        "export",
        serve.export,
        "write a model as a SavedModel for model servers",
        "keras-hvae export my_model saved_models/my_model",
    )
    add_model(command)
    command.add_argument(
        "path", metavar="PATH", help="folder of the model's versions"
    )
    command.add_argument(
        "--version",
        type=int,
        help="default: one more than the largest there",
    )
    defaults = inspect.signature(export_savedmodel).parameters
    for name, text in serve.CAPS.items():
        default = defaults[name].default
        command.add_argument(
            "--" + name.replace("_", "-"),
            type=int,
            default=default,
            help=text + (f" (default: {default})" if default else ""),
        )
    command.add_argument(
        "--signatures",
        nargs="+",
        metavar="NAME",
        help="only these, the first as the default (default: all)",
    )

    command = add_command(
        commands,
        "explore",
        serve.explore,
        "open a page to walk through a model's latent space",
        "keras-hvae explore my_model",
    )
    add_model(command)
    command.add_argument("--port", type=int, default=7860)
    command.add_argument(
        "--no-browser", action="store_true", help="do not open a browser"
    )

    command = add_command(
        commands,
        "verify",
        serve.verify,
        "check the files of exported versions against their SHA-256",
        "keras-hvae verify saved_models/my_model",
    )
    command.add_argument(
        "path", metavar="PATH", help="folder of a version or of a model"
    )


LINES = (
    "Each line has the `index` of its document in the file, from 0, and its "
    "`window`, from 0: a document of more sentences than the documents trained "
    "on is cut into windows, each read as a document of its own"
)
