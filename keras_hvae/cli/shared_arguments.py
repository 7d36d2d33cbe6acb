"""Arguments that several commands of `keras-hvae` have."""

import argparse
import typing
from collections.abc import Callable

from keras_hvae.callbacks.kl_annealing import SHAPES
from keras_hvae.callbacks.non_finite_steps import ACTIONS
from keras_hvae.cli import train
from keras_hvae.emissions.softmaxes import SOFTMAXES
from keras_hvae.layers.latent.diag_gaussian_kl import FREE_BITS_MODES
from keras_hvae.layers.latent.latent_chain import (
    INITIAL_PRIORS,
    PASTS,
    PRIORS,
)
from keras_hvae.layers.latent.transition import TRANSITIONS
from keras_hvae.layers.recurrent.context_encoder import INFERENCES
from keras_hvae.models.registry import MODELS, parameters_of
from keras_hvae.samplers import NAMES
from keras_hvae.text.tokenizer import TOKENIZERS
from keras_hvae.training.checkpoint import EVERY as CHECKPOINT_EVERY
from keras_hvae.training.recipe import LEARNING_RATE

CORPUS = "a .txt, .jsonl or .npz file, a folder, or a TFDS name"
CHOICES = {
    "transition": TRANSITIONS,
    "prior": PRIORS,
    "initial_prior": INITIAL_PRIORS,
    "past": PASTS,
    "inference": INFERENCES,
    "free_bits_mode": FREE_BITS_MODES,
    "softmax": tuple(SOFTMAXES),
    "dtype": ("float32", "mixed_bfloat16"),
}
# What stands for a default of `None`.
DEFAULTS = {
    "decoder_dim": "twice --hidden-dim",
    "mean_norm": "0, none",
    "free_bits": "0",
    "rate": "5 of hvae and flat_vae, if no --free-bits are given; else none",
    "inference": "smoothing; with --past text filtering",
    "dtype": "float32; mixed_bfloat16 is faster where a processor multiplies "
    "bfloat16",
}
HELP = {
    "sentence_dropout": "of hred, vhred and vhcr: the rate at which their GRU "
    "over sentences gets a learned vector for one (default: 0, of vhcr 0.25)",
}
KEY = "where a .jsonl line has its list of sentences (default: sentences)"


def add_command(
    commands: typing.Any, name: str, run: Callable, text: str, example: str
) -> argparse.ArgumentParser:
    """A command with its text, its example and the function it runs."""
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


def add_model(command: argparse.ArgumentParser) -> None:
    """MODEL."""
    command.add_argument(
        "model",
        metavar="MODEL",
        help="a folder of `train`, a preset, or a .keras file",
    )


def add_documents(command: argparse.ArgumentParser) -> None:
    """FILE, and how it is read."""
    command.add_argument(
        "documents",
        metavar="FILE",
        nargs="?",
        default="-",
        help="a .txt or .jsonl file, or - for standard input (default: -)",
    )
    add_documents_arguments(command)


def add_documents_arguments(command: argparse.ArgumentParser) -> None:
    """How documents are read."""
    command.add_argument(
        "--format",
        choices=("txt", "jsonl"),
        help="of standard input (default: jsonl if it starts with {)",
    )
    command.add_argument("--key", default="sentences", help=KEY)


def add_whole(command: argparse.ArgumentParser) -> None:
    """--whole."""
    command.add_argument(
        "--whole",
        action="store_true",
        help="do not cut long documents into windows: each sentence is read "
        "with all that its document says before, as from Python",
    )


def add_batch_size(command: argparse.ArgumentParser) -> None:
    """--batch-size."""
    command.add_argument("--batch-size", type=int, default=32)


def add_writing_arguments(
    command: argparse.ArgumentParser, sampler: str
) -> None:
    """Of commands that write."""
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
    add_batch_size(command)


def add_resume(command: argparse.ArgumentParser) -> None:
    """--resume."""
    command.add_argument(
        "--resume",
        action="store_true",
        help="go on with a training that was stopped or killed, with the same "
        "other options: it ends as if it had not been",
    )


def add_cluster_arguments(
    command: argparse.ArgumentParser, what: str, workers: str
) -> argparse._ArgumentGroup:
    """--cluster, --workers, with their texts."""
    group = command.add_argument_group("on a cluster")
    group.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="of a Ray cluster, auto, or local for one on this machine; "
        + what,
    )
    group.add_argument(
        "--workers", type=int, default=1, help=f"{workers} (default: 1)"
    )
    return group


def add_bulk_arguments(
    command: argparse.ArgumentParser, out: bool = True
) -> None:
    """--cluster, --workers, --out, of many documents."""
    group = add_cluster_arguments(
        command,
        "FILE is a file or a folder of .txt, .jsonl or .parquet, --out a "
        "folder of .parquet; the same command goes on with a job that was "
        "stopped",
        "each has a model",
    )
    if out:
        group.add_argument("--out", metavar="FOLDER", help="to write")


def add_corpus_arguments(command: argparse.ArgumentParser) -> None:
    """Of `train`: the corpus."""
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


def add_training_arguments(command: argparse.ArgumentParser) -> None:
    """Of `train`: the model and its training."""
    group = command.add_argument_group("model", "defaults are those of hvae")
    group.add_argument(
        "--model",
        choices=tuple(MODELS),
        default="hvae",
        help="hvae, or a baseline to compare it with",
    )
    known = {name: parameters_of(cls) for name, cls in MODELS.items()}
    for name in train.MODEL_OPTIONS:
        models = [model for model in known if name in known[model]]
        _add_model_option(group, name, known[models[0]][name])
    group = command.add_argument_group("training")
    group.add_argument("--epochs", type=int, default=10)
    group.add_argument(
        "--steps",
        type=int,
        help="stop after so many batches, if not after --epochs",
    )
    group.add_argument(
        "--devices",
        type=int,
        default=1,
        help="GPUs, or parts of the CPU, that share each batch (default: 1); "
        "on JAX and TensorFlow",
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
    group.add_argument(
        "--non-finite",
        choices=ACTIONS,
        default="skip",
        help="what to do with a step whose loss or gradients are not finite: "
        "leave it out (three in a row are an error), or stop",
    )
    group.add_argument(
        "--checkpoint-every",
        type=int,
        default=CHECKPOINT_EVERY,
        help="batches between two checkpoints, which --resume goes on from "
        f"(default: {CHECKPOINT_EVERY})",
    )


def _add_model_option(group, name, parameter):
    """An option that is an argument of models, the first one's default."""
    option = "--" + name.replace("_", "-")
    text = f"default: {DEFAULTS.get(name, parameter.default)}"
    text = HELP.get(name, text)
    if isinstance(parameter.default, bool):
        group.add_argument(
            option, action="store_true", default=None, help="default: no"
        )
        return
    kinds = typing.get_args(parameter.annotation) or (parameter.annotation,)
    group.add_argument(
        option,
        type=next(x for x in (int, float, str) if x in kinds),
        choices=CHOICES.get(name),
        help=text,
    )
