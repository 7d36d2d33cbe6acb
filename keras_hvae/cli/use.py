"""The commands of `keras-hvae` that use a trained model."""

import contextlib
import itertools
import json
import pathlib
import sys

from keras_hvae.arguments import check_positive_int
from keras_hvae.cli.train import MODEL_FILE
from keras_hvae.files import check_folder, write_json, write_whole

SPLIT_NAMES = {
    "all": "the whole corpus",
    "train": "the train split",
    "valid": "the valid split",
    "test": "the test split",
}


def load_model(path):
    """Loads a model: a folder of `train`, a preset, or a `.keras` file.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if the file is damaged or no model of this package.
    """
    import keras

    from keras_hvae.models import DocumentModel
    from keras_hvae.presets.preset_files import is_preset

    if is_preset(path):
        return _with_words(DocumentModel.from_preset(path), path)
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
    if not isinstance(model, DocumentModel):
        raise ValueError(
            f"{path}: expected a model of keras_hvae. "
            f"Received: a {type(model).__name__}"
        )
    return _with_words(model, path)


def _with_words(model, path):
    if model.preprocessor is None:
        raise ValueError(
            f"{path}: expected a model with a vocabulary of words. "
            f"Received: a model of {model.vocabulary_size} ids"
        )
    return model


def evaluate(args):
    import keras_hvae

    model = load_model(args.model)
    if args.json:
        check_folder(args.json)
    corpus = keras_hvae.data.load(
        args.corpus,
        vocabulary=model.preprocessor,
        key=args.key,
        batch_size=args.batch_size,
        max_words=model.preprocessor.max_words,
        max_sentences=_trained_with(args, "max_sentences", 10),
        seed=_trained_with(args, "split_seed", 0),
    )
    print(corpus.report, flush=True)
    parts = {x: getattr(corpus, x) for x in ("train", "valid", "test")}
    parts = {name: x for name, x in parts.items() if x is not None}
    split = args.split or _default_split(args)
    print(f"Evaluating {SPLIT_NAMES[split]}.", flush=True)
    if split == "all":
        dataset = list(itertools.chain(*parts.values()))
    elif split in parts:
        dataset = parts[split]
    else:
        raise ValueError(
            f"`--split` must be all or one of {', '.join(parts)} for "
            f"{args.corpus}. Received: {split}"
        )
    vectors = args.vectors
    if vectors is not None:
        vectors = keras_hvae.evaluation.load_vectors(vectors)
    figures = keras_hvae.evaluation.evaluate(
        model,
        dataset,
        args.metrics,
        train=None if split in ("all", "train") else corpus.train,
        vectors=vectors,
        num_samples=args.num_samples,
        num_sentences=args.num_sentences,
        max_documents=args.max_documents,
        seed=args.seed,
    )
    print(keras_hvae.evaluation.summary(figures))
    if args.json:
        write_json(args.json, figures)


def generate(args):
    model = load_model(args.model)
    options = {"num_sentences": args.num_sentences, **_writing_options(args)}
    if args.documents is None:
        options["num_documents"] = args.num_documents
        _print_documents(model.generate(**options), args)
        return
    for documents, _, seeds in _chunks(args, cut=False):
        options["seed"] = seeds
        _print_documents(model.generate(documents, **options), args)


def reconstruct(args):
    model = load_model(args.model)
    options = _writing_options(args)
    for documents, _, seeds in _chunks(args):
        options["seed"] = seeds
        _print_documents(model.reconstruct(documents, **options), args)


def interpolate(args):
    model = load_model(args.model)
    with _open(args) as documents:
        ends = list(itertools.islice(documents, 2))
    if len(ends) < 2:
        raise ValueError(
            f"Expected two documents. Received: {len(ends)} in {_source(args)}"
        )
    options = _writing_options(args)
    _print_documents(
        model.interpolate(*ends, steps=args.steps, **options), args
    )


def encode(args):
    import numpy as np

    if args.out is not None:
        check_folder(args.out)
    model = load_model(args.model)
    as_arrays = args.out is not None and args.out.endswith(".npz")
    keys = ("mean", "log_var", "document", "unknown", "lengths", "index")
    arrays = {key: [] for key in keys}
    with _output(None if as_arrays else args.out) as write:
        for documents, places, _ in _chunks(args):
            out = model.encode(documents, batch_size=args.batch_size)
            lengths = out["mask"].sum(axis=1)
            if as_arrays:
                for key in ("mean", "log_var"):
                    arrays[key].append(out[key][out["mask"]])
                for key in ("document", "unknown"):
                    arrays[key].append(out[key])
                arrays["lengths"].append(lengths)
                arrays["index"].append(places)
                continue
            for row, n in enumerate(lengths):
                line = {
                    "index": places[row],
                    "mean": out["mean"][row, :n].tolist(),
                    "log_var": out["log_var"][row, :n].tolist(),
                    "document": out["document"][row].tolist(),
                    "unknown": int(out["unknown"][row]),
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
        for documents, places, seeds in _chunks(args):
            out = model.score(
                documents,
                num_samples=args.num_samples,
                seed=seeds,
                batch_size=args.batch_size,
            )
            for row, n in enumerate(out["mask"].sum(axis=1)):
                line = {"index": places[row]}
                for key in ("nll", "kl", "elbo"):
                    line[key] = round(float(out[key][row]), 4)
                for key in ("tokens", "unknown"):
                    line[key] = int(out[key][row])
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
        stream, format = sys.stdin.buffer, args.format
        if format is None:
            head = stream.peek(1).lstrip()
            format = "jsonl" if head.startswith(b"{") else "txt"
        yield read_documents(stream, args.key, format)
    else:
        yield read_documents(args.documents, args.key)


def _chunks(args, cut=True):
    """Reads a stream of any length, a batch at a time.

    With `cut`, documents longer than the model was trained on become several,
    so that no document is too long for memory; without it, their end is kept.

    Yields:
        A list of documents, each one's place in the stream, each one's seed.
    """
    import keras

    check_positive_int(batch_size=args.batch_size)
    longest = _trained_with(args, "max_sentences", 10)
    rows = itertools.count()
    with _open(args) as stream:
        # Bars and results do not go together on one screen.
        quiet = sys.stdout.isatty() or not sys.stderr.isatty()
        bar = None if quiet else keras.utils.Progbar(None, unit_name="document")
        pieces = (
            (document[start : start + longest], place)
            for place, document in enumerate(stream)
            for start in (
                range(0, len(document), longest)
                if cut
                else [max(len(document) - longest, 0)]
            )
        )
        found = False
        while chunk := list(itertools.islice(pieces, args.batch_size)):
            found = True
            documents, places = zip(*chunk)
            seeds = None
            if args.seed is not None:
                seeds = [(args.seed, next(rows)) for _ in chunk]
            yield list(documents), list(places), seeds
            if bar is not None:
                bar.add(len(chunk))
    if not found:
        raise ValueError(
            "Expected at least one document. Received: none in " + _source(args)
        )


def _source(args):
    return "standard input" if args.documents == "-" else args.documents


def _writing_options(args):
    options = {
        name: getattr(args, name)
        for name in ("temperature", "top_k", "top_p", "num_beams")
        if getattr(args, name) is not None
    }
    for name in ("sampler", "max_words", "seed", "batch_size"):
        options[name] = getattr(args, name)
    return options


def _print_documents(documents, args):
    from keras_hvae.text.case import capitalized

    for document in documents:
        if args.capitalize:
            document = [capitalized(sentence) for sentence in document]
        if args.jsonl:
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


def _default_split(args):
    """All of a file that the model was not trained on, else the test split."""
    path = pathlib.Path(args.corpus)
    trained_on = pathlib.Path(_trained_with(args, "corpus", ""))
    if path.is_file() and path.resolve() != trained_on.resolve():
        return "all"
    return "test"


def _trained_with(args, name, default):
    """A setting of the training, from the model's folder, if it is there."""
    path = pathlib.Path(args.model)
    if not path.exists():  # the name of a preset
        return default
    path = (path if path.is_dir() else path.parent) / "settings.json"
    if not path.is_file():
        return default
    try:
        return json.loads(path.read_text("utf-8")).get(name, default)
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected the settings of a training. Received: {error}"
        ) from error
