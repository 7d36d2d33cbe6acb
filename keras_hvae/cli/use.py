"""The commands of `keras-hvae` that use a trained model."""

import contextlib
import itertools
import json
import pathlib
import sys

from keras_hvae.cli.train import MODEL_FILE
from keras_hvae.files import write_json, write_whole
from keras_hvae.layers.arguments import check_positive_int


def load_model(path):
    """Loads a model from a folder of `train` or a `.keras` file.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if the file is damaged or not an HVAE.
    """
    import keras

    from keras_hvae import HVAE

    path = pathlib.Path(path)
    if path.is_dir():
        path = path / MODEL_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model file.")
    try:
        model = keras.saving.load_model(path)
    # Keras raises nearly anything for a damaged file: BadZipFile, OSError,
    # KeyError, TypeError ...
    except Exception as error:
        reason = str(error).split("\n", 1)[0]
        raise ValueError(
            f"{path}: not a whole model file of keras_hvae. "
            f"Received: {type(error).__name__}: {reason}"
        ) from error
    if not isinstance(model, HVAE):
        raise ValueError(
            f"{path}: expected an HVAE. Received: a {type(model).__name__}"
        )
    return model


def evaluate(args):
    import keras_hvae

    model = load_model(args.model)
    whole = {"split": (1.0, 0.0, 0.0)} if args.split == "all" else {}
    corpus = keras_hvae.data.load(
        args.corpus,
        vocabulary=model.preprocessor,
        key=args.key,
        batch_size=args.batch_size,
        **_limits(args.model, model),
        **whole,
    )
    print(corpus.report, flush=True)
    split = "train" if args.split == "all" else args.split
    dataset = getattr(corpus, split)
    if dataset is None:
        raise ValueError(
            f"{args.corpus} has no {split} split: it has too few documents. "
            "Use `--split all`."
        )
    figures = keras_hvae.evaluation.evaluate(model, dataset, seed=args.seed)
    print(keras_hvae.evaluation.summary(figures))
    if args.json:
        write_json(args.json, figures)


def generate(args):
    model = load_model(args.model)
    options = {"num_sentences": args.num_sentences, **_writing_options(args)}
    if args.documents is None:
        options["num_documents"] = args.num_documents
        _print_documents(model.generate(**options), args.jsonl)
        return
    for documents, seeds in _seeded_chunks(args):
        options["seed"] = seeds
        _print_documents(model.generate(documents, **options), args.jsonl)


def reconstruct(args):
    model = load_model(args.model)
    options = _writing_options(args)
    for documents, seeds in _seeded_chunks(args):
        options["seed"] = seeds
        _print_documents(model.reconstruct(documents, **options), args.jsonl)


def interpolate(args):
    model = load_model(args.model)
    with _open(args) as documents:
        ends = list(itertools.islice(documents, 2))
    if len(ends) < 2:
        raise ValueError(
            f"{args.documents}: expected two documents. Received: {len(ends)}"
        )
    options = _writing_options(args)
    _print_documents(
        model.interpolate(*ends, steps=args.steps, **options), args.jsonl
    )


def encode(args):
    import numpy as np

    model = load_model(args.model)
    as_arrays = args.out is not None and args.out.endswith(".npz")
    arrays = {"mean": [], "log_var": [], "document": [], "lengths": []}
    with _output(None if as_arrays else args.out) as write:
        for documents in _chunks(args):
            out = model.encode(documents, batch_size=args.batch_size)
            lengths = out["mask"].sum(axis=1)
            if as_arrays:
                for key in ("mean", "log_var"):
                    arrays[key].append(out[key][out["mask"]])
                arrays["document"].append(out["document"])
                arrays["lengths"].append(lengths)
                continue
            for row, n in enumerate(lengths):
                line = {
                    "mean": out["mean"][row, :n].tolist(),
                    "log_var": out["log_var"][row, :n].tolist(),
                    "document": out["document"][row].tolist(),
                }
                write(json.dumps(line))
    if as_arrays:
        with write_whole(args.out) as temporary:
            np.savez(
                temporary,
                **{key: np.concatenate(x) for key, x in arrays.items()},
            )


def score(args):
    model = load_model(args.model)
    with _output(None) as write:
        for documents, seeds in _seeded_chunks(args):
            out = model.score(
                documents,
                num_samples=args.num_samples,
                seed=seeds,
                batch_size=args.batch_size,
            )
            for row, n in enumerate(out["mask"].sum(axis=1)):
                line = {
                    key: round(float(out[key][row]), 4)
                    for key in ("nll", "kl", "elbo")
                }
                line["tokens"] = int(out["tokens"][row])
                line["sentences"] = [
                    {
                        key: round(float(out[f"sentence_{key}"][row, i]), 4)
                        for key in ("nll", "kl", "elbo")
                    }
                    for i in range(n)
                ]
                write(json.dumps(line))


@contextlib.contextmanager
def _open(args):
    """The documents of the file or standard input, one at a time."""
    from keras_hvae.data import read_documents

    if args.documents == "-":
        yield read_documents(sys.stdin.buffer, args.key, args.format)
    else:
        yield read_documents(args.documents, args.key)


def _chunks(args):
    """Lists of documents, with a progress bar: a stream of any length."""
    import keras

    check_positive_int(batch_size=args.batch_size)
    with _open(args) as documents:
        # Bars and results do not go together on one screen.
        quiet = sys.stdout.isatty() or not sys.stderr.isatty()
        bar = None if quiet else keras.utils.Progbar(None, unit_name="document")
        found = False
        while chunk := list(itertools.islice(documents, args.batch_size)):
            found = True
            yield chunk
            if bar is not None:
                bar.add(len(chunk))
    if not found:
        raise ValueError(
            "Expected at least one document. Received: none in "
            + ("standard input" if args.documents == "-" else args.documents)
        )


def _seeded_chunks(args):
    """Chunks, and a seed for each document by its place in the stream."""
    import numpy as np

    place = itertools.count()
    for chunk in _chunks(args):
        rows = itertools.islice(place, len(chunk))
        if args.seed is None:
            yield chunk, None
        else:
            yield (
                chunk,
                [
                    int(
                        np.random.SeedSequence((args.seed, row)).generate_state(
                            1
                        )[0]
                    )
                    for row in rows
                ],
            )


def _writing_options(args):
    options = {
        name: getattr(args, name)
        for name in ("temperature", "top_k", "top_p", "num_beams")
        if getattr(args, name) is not None
    }
    for name in ("sampler", "max_words", "seed", "batch_size"):
        options[name] = getattr(args, name)
    return options


def _print_documents(documents, jsonl):
    for document in documents:
        if jsonl:
            line = {"sentences": document}
            print(json.dumps(line, ensure_ascii=False), flush=True)
        else:
            print(*document, "", sep="\n", flush=True)


@contextlib.contextmanager
def _output(path):
    """A function that writes a line, to a whole file or to the screen."""
    if path is None:
        yield lambda line: print(line, flush=True)
        return
    with write_whole(path) as temporary:
        with open(temporary, "w", encoding="utf-8") as file:
            yield lambda line: print(line, file=file)


def _limits(path, model):
    """The limits that the model was trained with, as far as known."""
    limits = {}
    if model.preprocessor is not None and model.preprocessor.max_words:
        limits["max_words"] = model.preprocessor.max_words
    settings = pathlib.Path(path) / "settings.json"
    if settings.is_file():
        settings = json.loads(settings.read_text("utf-8"))
        limits["max_sentences"] = settings["max_sentences"]
    return limits
