"""The arguments of `keras-hvae`."""

import argparse
import inspect
from typing import Any

from keras_hvae.callbacks.kl_annealing import SHAPES
from keras_hvae.cli import demo, evaluate, presets, serve, train, use
from keras_hvae.emissions.softmaxes import SOFTMAXES
from keras_hvae.evaluation import METRICS
from keras_hvae.export import export_savedmodel
from keras_hvae.layers.latent.diag_gaussian_kl import FREE_BITS_MODES
from keras_hvae.layers.latent.latent_chain import INITIAL_PRIORS, PRIORS
from keras_hvae.layers.latent.transition import TRANSITIONS
from keras_hvae.models import MODELS
from keras_hvae.samplers import NAMES
from keras_hvae.text.tokenizer import TOKENIZERS
from keras_hvae.training.recipe import LEARNING_RATE
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

    command = _command(
        commands,
        "demo",
        demo.demo,
        "train on Shakespeare's plays, evaluate, generate, plot, save",
        "keras-hvae demo --out hvae_demo",
    )
    command.add_argument("--out", default="hvae_demo", help="folder to write")
    command.add_argument("--steps", type=int, help="train this many steps only")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument(
        "--force", action="store_true", help="replace a model in the folder"
    )

    command = _command(
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
    _add_corpus_arguments(command)
    _add_training_arguments(command)

    command = _command(
        commands,
        "evaluate",
        evaluate.evaluate,
        "likelihood, latents, samples … of a model",
        "keras-hvae evaluate my_model my_dialogues.jsonl "
        "--metrics likelihood latents iwae --json figures.json",
    )
    _add_model(command)
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
    _add_batch_size(command)

    command = _command(
        commands,
        "generate",
        use.generate,
        "write new documents, or go on with given ones",
        "keras-hvae generate my_model --num-documents 2 --temperature 0.8",
    )
    _add_model(command)
    command.add_argument(
        "--continue",
        dest="documents",
        metavar="FILE",
        help="go on with these documents (- for standard input)",
    )
    _add_documents_arguments(command)
    command.add_argument("--num-documents", type=int, default=1)
    command.add_argument("--num-sentences", type=int, default=6)
    _add_writing_arguments(command, "top_p")

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
        command = _command(
            commands, name, run, text, f"keras-hvae {name} my_model two.txt"
        )
        _add_model(command)
        _add_documents(command)
        if name == "reconstruct":
            _add_whole(command)
        if default:
            command.add_argument("--steps", type=int, default=default)
        _add_writing_arguments(command, "greedy")

    command = _command(
        commands,
        "encode",
        use.encode,
        f"the latents of each sentence (cut to the words trained on). {LINES}",
        "keras-hvae encode my_model more.txt --out latents.npz",
    )
    _add_model(command)
    _add_documents(command)
    command.add_argument(
        "--out",
        metavar="FILE",
        help="write here (default: JSON lines to stdout); .npz for arrays: "
        "mean and log_var of all sentences, and for each window lengths, "
        "document (its mean), unknown (how many of its words are), index and "
        "window",
    )
    _add_whole(command)
    _add_batch_size(command)
    command.set_defaults(seed=None)

    command = _command(
        commands,
        "score",
        use.score,
        "nll, KL and ELBO of documents and sentences (cut to the words "
        f"trained on), as JSON lines. {LINES}",
        "cat more.txt | keras-hvae score my_model -",
    )
    _add_model(command)
    _add_documents(command)
    command.add_argument(
        "--num-samples", type=int, default=1, help="posterior draws to average"
    )
    command.add_argument("--seed", type=int, default=0)
    _add_whole(command)
    _add_batch_size(command)
    _add_serving_commands(commands)

    _command(
        commands,
        "presets",
        presets.presets,
        "list the trained models that are in the package",
        "keras-hvae presets",
    )
    return parser


def _add_serving_commands(commands):
    command = _command(
        commands,
        "export",
        serve.export,
        "write a model as a SavedModel for model servers",
        "keras-hvae export my_model saved_models/my_model",
    )
    _add_model(command)
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

    command = _command(
        commands,
        "explore",
        serve.explore,
        "open a page to walk through a model's latent space",
        "keras-hvae explore my_model",
    )
    _add_model(command)
    command.add_argument("--port", type=int, default=7860)
    command.add_argument(
        "--no-browser", action="store_true", help="do not open a browser"
    )

    command = _command(
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
CORPUS = "a .txt, .jsonl or .npz file, a folder, or a TFDS name"
KEY = "where a .jsonl line has its list of sentences (default: sentences)"


def _command(commands, name, run, text, example):
    command = commands.add_parser(
        name,
        help=text.partition(". ")[0],
        description=text,
        epilog=f"example: {example}",
    )
    command.set_defaults(run=run)
    command.add_argument(
        "--debug", action="store_true", help="show tracebacks of errors"
    )
    return command


def _add_model(command):
    command.add_argument(
        "model",
        metavar="MODEL",
        help="a folder of `train`, a preset, or a .keras file",
    )


def _add_documents(command):
    command.add_argument(
        "documents",
        metavar="FILE",
        nargs="?",
        default="-",
        help="a .txt or .jsonl file, or - for standard input (default: -)",
    )
    _add_documents_arguments(command)


def _add_documents_arguments(command):
    command.add_argument(
        "--format",
        choices=("txt", "jsonl"),
        help="of standard input (default: jsonl if it starts with {)",
    )
    command.add_argument("--key", default="sentences", help=KEY)


def _add_whole(command):
    command.add_argument(
        "--whole",
        action="store_true",
        help="do not cut long documents into windows: each sentence is read "
        "with all that its document says before, as from Python",
    )


def _add_batch_size(command):
    command.add_argument("--batch-size", type=int, default=32)


def _add_writing_arguments(command, sampler):
    command.add_argument("--sampler", choices=NAMES, default=sampler)
    command.add_argument("--temperature", type=float)
    command.add_argument("--top-k", type=int)
    command.add_argument("--top-p", type=float)
    command.add_argument("--num-beams", type=int)
    command.add_argument("--max-words", type=int, default=30)
    command.add_argument("--seed", type=int)
    command.add_argument(
        "--jsonl", action="store_true", help="JSON lines instead of text"
    )
    command.add_argument(
        "--capitalize",
        action="store_true",
        help="begin sentences, and write the English I, with capital letters",
    )
    _add_batch_size(command)


def _add_corpus_arguments(command):
    group = command.add_argument_group("corpus")
    group.add_argument("--key", default="sentences", help=KEY)
    group.add_argument("--vocabulary-size", type=int, default=10_000)
    group.add_argument("--max-sentences", type=int, default=10)
    group.add_argument(
        "--max-words",
        type=int,
        help="of a sentence to keep (default: 30, or 120 characters)",
    )
    group.add_argument(
        "--min-count",
        type=int,
        help="words seen less often in training are unknown (default: 2)",
    )
    group.add_argument(
        "--tokenizer",
        choices=TOKENIZERS,
        default=TOKENIZERS[0],
        help="what a sentence is split into (default: words); characters for "
        "scripts without spaces",
    )
    group.add_argument("--cased", action="store_true", help="do not lower-case")
    group.add_argument("--batch-size", type=int, default=32)
    group.add_argument(
        "--split-seed",
        type=int,
        default=0,
        help="of the split into train, valid and test, and of the order",
    )


def _add_training_arguments(command):
    group = command.add_argument_group("model", "defaults are those of hvae")
    group.add_argument(
        "--model",
        choices=tuple(MODELS),
        default="hvae",
        help="hvae, or a baseline to compare it with",
    )
    for name, default in train.MODEL_DEFAULTS.items():
        choices = {
            "transition": TRANSITIONS,
            "prior": PRIORS,
            "initial_prior": INITIAL_PRIORS,
            "free_bits_mode": FREE_BITS_MODES,
            "softmax": tuple(SOFTMAXES),
        }.get(name)
        option = "--" + name.replace("_", "-")
        if default is False:
            group.add_argument(
                option, action="store_true", default=None, help="default: no"
            )
            continue
        group.add_argument(
            option,
            type=type(default),
            choices=choices,
            help=f"default: {default}",
        )
    group.add_argument(
        "--sentence-dropout",
        type=float,
        help=f"of {', '.join(train.SENTENCE_DROPOUT)}: the rate at which their "
        "GRU over sentences gets a learned vector for one",
    )
    group = command.add_argument_group("training")
    group.add_argument("--epochs", type=int, default=10)
    group.add_argument(
        "--steps",
        type=int,
        help="stop after so many batches, if not after --epochs",
    )
    group.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    group.add_argument(
        "--kl-annealing", choices=("none", *SHAPES), default="linear"
    )
    group.add_argument(
        "--annealing-steps", type=int, help="default: 40 %% of the training"
    )
    group.add_argument(
        "--pretraining-steps",
        type=int,
        help="first as an autoencoder, then with a new decoder and linear "
        "annealing",
    )
    group.add_argument("--seed", type=int, default=0)
