"""`keras-hvae train`."""

import argparse
import os
import pathlib
import sys
from typing import Any, NamedTuple

from keras_hvae.arguments import check_positive_int
from keras_hvae.cli.cluster_training import train_on_cluster
from keras_hvae.cli.model_folder import (
    SETTINGS_FILE,
    load_model,
    write_settings,
)
from keras_hvae.cli.progress import ProgressLines, on_terminal
from keras_hvae.cli.work_folder import CHECKPOINTS, UNFINISHED, WorkFolder
from keras_hvae.files import (
    free_sibling,
    write_json,
    write_whole,
)
from keras_hvae.models.loading import MODEL_FILE
from keras_hvae.presets.preset_files import VOCABULARY_FILE
from keras_hvae.training.recipe import check_recipe

# What `train` writes, and replaces.
FILES = (
    MODEL_FILE,
    SETTINGS_FILE,
    VOCABULARY_FILE,
    "log.csv",
    "metrics.json",
    "report.png",
)
# Arguments of a model that are options of the shell, too.
MODEL_OPTIONS = (
    "latent_dim",
    "embedding_dim",
    "hidden_dim",
    "decoder_dim",
    "transition",
    "prior",
    "initial_prior",
    "past",
    "inference",
    "dropout",
    "word_dropout",
    "sentence_dropout",
    "free_bits",
    "free_bits_mode",
    "rate",
    "bow_weight",
    "mean_norm",
    "softmax",
    "tie_embeddings",
    "dtype",
)


# Options of the shell that do not decide on what is trained.
_NOT_DECIDING = (
    "run",
    "debug",
    "corpus",
    "out",
    "force",
    "resume",
    "checkpoint_every",
    "cluster",
    "max_restarts",
)


class Trained(NamedTuple):
    """What a training has come to, beside the best model on the disk."""

    corpus: Any
    history: dict[str, list[float]]
    best_epoch: int
    seconds: float


def train(args: argparse.Namespace) -> tuple:
    """Trains a model on a corpus; writes model, settings, log, picture.

    All is written to a folder beside `--out`, `OUT.unfinished`, which takes
    its place at the end. A training that stops leaves what was at `--out`,
    and beside it what `--resume` goes on from, with the best model so far.
    """
    from keras_hvae.training import many_devices

    check_recipe(args.epochs, args.steps, args.learning_rate)
    _check_devices(args)
    out = pathlib.Path(args.out).resolve()
    unfinished = out.with_name(f"{out.name}.unfinished")
    if args.resume and (out / MODEL_FILE).exists() and not unfinished.exists():
        raise ValueError(
            "`--resume` needs a training that has not ended. Received: "
            f"{args.out}, which has ended"
        )
    _check_out(out, args.force)
    out.parent.mkdir(parents=True, exist_ok=True)
    model = corpus = None
    with WorkFolder(out, FILES, args.resume) as work:
        if args.cluster is not None:
            train_on_cluster(args, work.path)
        else:
            with many_devices(args.devices):
                trained = train_model(args, work.path)
            model, corpus = finish(args, work.path, trained), trained.corpus
        try:
            _check_out(out, args.force)  # a model that has come meanwhile?
        except ValueError:
            place = free_sibling(out, "new")
            work.finish(place)
            print(f"\nThe model: {place}/. {args.out} is as it was.")
            raise
        work.finish(out)
    print(f"Model, settings, log and picture: {args.out}/")
    return model, corpus


def train_model(
    args: argparse.Namespace, out: pathlib.Path, writes: bool = True
) -> Trained:
    """Trains a model; writes it, its settings and its log to a folder.

    Args:
        args: of the command.
        out: path of the folder.
        writes: whether this process writes; of several the first one does.
    """
    import keras

    import keras_hvae

    keras.utils.set_random_seed(args.seed)
    # Splits and order are the same whatever the seed of the weights.
    corpus = keras_hvae.data.load(
        args.corpus,
        batch_size=args.batch_size,
        key=args.key,
        vocabulary_size=args.vocabulary_size,
        min_count=args.min_count,
        tokenizer=args.tokenizer,
        max_sentences=args.max_sentences,
        max_words=args.max_words,
        lowercase=not args.cased,
        seed=args.split_seed,
    )
    print(corpus.report, flush=True)
    model = _make_model(args, corpus.vocabulary)
    plan = keras_hvae.training.recipe(
        corpus,
        args.epochs,
        args.steps,
        args.learning_rate,
        args.kl_annealing,
        args.annealing_steps,
        args.pretraining_steps or 0,
        latents=model.latent_dim > 0,
        best_model=out / MODEL_FILE,
        non_finite=args.non_finite,
    )
    model.compile(plan.optimizer)
    checkpoint = keras_hvae.training.Checkpoint(
        out / CHECKPOINTS, args.checkpoint_every, _deciding(args)
    )
    args.annealing_steps = plan.annealing_steps
    # A training that is refused, as its options are others, changes nothing.
    if writes and not args.resume:
        _write_settings(model, args, corpus, out)
    log = out / "log.csv" if writes else os.devnull
    return _fit(model, corpus, args, plan, out, log, checkpoint)


def finish(
    args: argparse.Namespace, out: pathlib.Path, trained: Trained
) -> Any:
    """Evaluates the best model, writes figures and picture; returns it."""
    import keras_hvae

    corpus = trained.corpus
    # What the file holds is what is measured: the best epoch's weights.
    model = load_model(out)
    if model.latent_dim and args.initial_prior == "empirical":
        model.fit_initial_prior(corpus.train)
        with write_whole(out / MODEL_FILE) as temporary:
            model.save(temporary)
    split = "test" if corpus.test is not None else "train"
    print(f"Evaluating on the {split} split.", flush=True)
    figures = keras_hvae.evaluation.evaluate(
        model, getattr(corpus, split), verbose=int(on_terminal())
    )
    write_json(
        out / "metrics.json",
        {
            "split": split,
            **figures,
            "corpus": corpus.report.splits,
            "history": trained.history,
            "best_epoch": trained.best_epoch,
            "training_seconds": round(trained.seconds, 1),
        },
    )
    keras_hvae.evaluation.plot_report(
        out / "report.png", trained.history, figures, trained.best_epoch
    )
    print(keras_hvae.evaluation.summary(figures))
    return model


def _check_devices(args):
    """Raises `ValueError` for batches that cannot be shared evenly."""
    check_positive_int(devices=args.devices, workers=args.workers)
    if args.cluster is None and args.workers > 1:
        raise ValueError(
            "`--workers` needs `--cluster`, the address of a Ray cluster. "
            f"Received: {args.workers}, and no `--cluster`"
        )
    if args.cluster is not None and args.devices > 1:
        raise ValueError(
            "`--devices` must be 1 with `--cluster`: each of its `--workers` "
            f"has one device. Received: {args.devices}"
        )
    for name in ("devices", "workers"):
        if args.batch_size % getattr(args, name):
            raise ValueError(
                f"`--batch-size` must be a multiple of `--{name}`. Received: "
                f"{args.batch_size} and {getattr(args, name)}"
            )


def _make_model(args, vocabulary):
    """The model of that name, with the options that were given."""
    from keras_hvae.models.registry import MODELS, parameters_of

    cls = MODELS[args.model]
    given = {name: getattr(args, name) for name in MODEL_OPTIONS}
    given["mean_norm"] = given["mean_norm"] or None  # 0 means no norm
    given = {name: x for name, x in given.items() if x is not None}
    known = parameters_of(cls)
    for name in given:
        if name not in known:
            raise ValueError(
                f"`--{name.replace('_', '-')}` is not an option of the model "
                f"{args.model}. Received: {given[name]}"
            )
    return cls(vocabulary, seed=args.seed, **given)


def _deciding(args):
    """The options that decide on what is trained.

    Which corpus, its digest tells, wherever the file is.
    """
    return {k: v for k, v in vars(args).items() if k not in _NOT_DECIDING}


def _fit(model, corpus, args, plan, out, log_file, checkpoint):
    """Trains for the plan's steps; keeps the best model."""
    import keras

    best = plan.best
    log = keras.callbacks.CSVLogger(log_file, append=True)
    lines = ProgressLines(sys.stdout if not on_terminal() else None)
    callbacks = [*plan.callbacks, log, lines, checkpoint]
    try:
        history = model.fit(
            corpus.train,
            validation_data=corpus.valid,
            epochs=plan.epochs,
            steps_per_epoch=plan.steps_per_epoch,
            callbacks=callbacks,
            shuffle=False,  # the corpus shuffles itself
            verbose=int(on_terminal()),
        )
    except KeyboardInterrupt:
        if best.best_epoch is None:  # within the first epoch
            with write_whole(out / MODEL_FILE) as temporary:
                model.save(temporary)
        raise
    finally:
        if log.csv_file:  # Keras closes the file at the end of training only
            log.csv_file.close()
    if best.best_epoch is None:
        raise ValueError(
            f"The training diverged: {best.monitor} was never a number. Try a "
            f"lower `--learning-rate`. Received: {args.learning_rate}"
        )
    print(
        f"Kept epoch {best.best_epoch} of {plan.epochs}: {best.monitor} "
        f"{best.best:.4f}",
        flush=True,
    )
    history = {
        name: [float(x) for x in values]
        for name, values in history.history.items()
    }
    return Trained(corpus, history, best.best_epoch, checkpoint.seconds)


def _write_settings(model, args, corpus, out):
    others = ("run", "resume")
    settings = {k: v for k, v in vars(args).items() if k not in others}
    settings["parameters"] = model.count_params()
    if pathlib.Path(args.corpus).exists():
        settings["corpus"] = str(pathlib.Path(args.corpus).resolve())
    # `evaluate` recognises the corpus by its digest, wherever the file is.
    settings["corpus_digest"] = corpus.digest
    write_settings(out, settings)
    with write_whole(out / VOCABULARY_FILE) as temporary:
        words = "\n".join(model.preprocessor) + "\n"
        temporary.write_text(words, "utf-8")


def _check_out(out, force):
    """Says before any work why a folder cannot be written or replaced."""
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise ValueError(f"`--out` must be a folder. Received: {out}, a file")
    if out == pathlib.Path.cwd() or os.path.ismount(out):
        raise ValueError(
            "`--out` must be a folder that can be renamed. Received: "
            f"{out}, where the shell is or a disk is mounted"
        )
    names = sorted(x.name for x in out.iterdir())
    if MODEL_FILE in names and not force:
        raise ValueError(
            f"{out / MODEL_FILE} exists: name another folder with `--out`, or "
            "replace it with `--force`."
        )
    others = [x for x in names if x not in (*FILES, *UNFINISHED)]
    if others:
        raise ValueError(
            "`--out` must be new, empty or a folder of `train`: it is replaced "
            f"as a whole. Received: {out}, with {', '.join(others[:5])}"
        )
