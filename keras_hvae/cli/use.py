"""The commands of `keras-hvae` that write and read documents."""

import argparse
import contextlib
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from keras_hvae.cli.cluster import on_cluster
from keras_hvae.cli.model_folder import load_model
from keras_hvae.cli.windows import (
    Window,
    open_stream,
    read_windows,
    seeds_of,
    source_name,
)
from keras_hvae.files import check_folder, json_line, write_whole
from keras_hvae.models.document_model import DocumentModel


def generate(args: argparse.Namespace) -> None:
    if args.cluster is not None:
        return on_cluster("generate", args)
    model = load_model(args.model)
    options = {"num_sentences": args.num_sentences, **_writing_options(args)}
    if args.documents is None:
        options["num_documents"] = args.num_documents
        _print_documents(model.generate(**options), args)
        return
    for windows in read_windows(args, ends=True):
        options["seed"] = seeds_of(args.seed, windows)
        documents = model.generate([x.sentences for x in windows], **options)
        _print_documents(documents, args)


def generate_lines(
    model: DocumentModel, windows: Sequence[Window], args: argparse.Namespace
) -> Iterator[dict]:
    """How documents go on, a dict for each."""
    options = {"num_sentences": args.num_sentences, **_writing_options(args)}
    options["seed"] = seeds_of(args.seed, windows)
    documents = model.generate([x.sentences for x in windows], **options)
    for window, document in zip(windows, _cased(documents, args)):
        yield {**window.place, "sentences": document}


def reconstruct(args: argparse.Namespace) -> None:
    model = load_model(args.model)
    options = _writing_options(args)
    for windows in read_windows(args):
        options["seed"] = seeds_of(args.seed, windows)
        documents = model.reconstruct([x.sentences for x in windows], **options)
        for window, document in zip(windows, _cased(documents, args)):
            if args.jsonl:
                line = {**window.place, "sentences": document}
                print(json.dumps(line, ensure_ascii=False), flush=True)
            else:
                end = [""] if window.is_last else []
                print(*document, *end, sep="\n", flush=True)


def interpolate(args: argparse.Namespace) -> None:
    model = load_model(args.model)
    ends = list(itertools.islice(open_stream(args), 2))
    if len(ends) < 2:
        raise ValueError(
            "Expected two documents. "
            f"Received: {len(ends)} in {source_name(args)}"
        )
    first, last = ends
    options = _writing_options(args)
    _print_documents(
        model.interpolate(first, last, steps=args.steps, **options), args
    )


def encode(args: argparse.Namespace) -> None:
    import numpy as np

    if args.cluster is not None:
        return on_cluster("encode", args)
    if args.out is not None:
        check_folder(args.out)
    model = load_model(args.model)
    as_arrays = args.out is not None and args.out.endswith(".npz")
    keys = "mean", "log_var", "document", "unknown"
    keys += "lengths", "index", "window"
    arrays: dict[str, Any] = {key: [] for key in keys}
    with _output(None if as_arrays else args.out) as write:
        for windows in read_windows(args):
            out = model.encode(
                [x.sentences for x in windows], batch_size=args.batch_size
            )
            lengths = out["mask"].sum(axis=1)
            if as_arrays:
                for key in ("mean", "log_var"):
                    arrays[key].append(out[key][out["mask"]])
                for key in ("document", "unknown"):
                    arrays[key].append(out[key])
                arrays["lengths"].append(lengths)
                for key in ("index", "window"):
                    arrays[key].append([x.place[key] for x in windows])
                continue
            for line in _encoded(windows, out):
                write(json_line(line))
    if as_arrays:
        arrays = {key: np.concatenate(x) for key, x in arrays.items()}
        with write_whole(args.out) as temporary:
            np.savez(temporary, **arrays)


def encode_lines(
    model: DocumentModel, windows: Sequence[Window], args: argparse.Namespace
) -> Iterator[dict]:
    """The latents of windows, a dict for each."""
    documents = [x.sentences for x in windows]
    yield from _encoded(
        windows, model.encode(documents, batch_size=args.batch_size)
    )


def _encoded(windows, out):
    """What `encode` gave for windows: a dict for each."""
    for row, n in enumerate(out["mask"].sum(axis=1)):
        yield {
            **windows[row].place,
            "mean": out["mean"][row, :n].tolist(),
            "log_var": out["log_var"][row, :n].tolist(),
            "document": out["document"][row].tolist(),
            "unknown": int(out["unknown"][row]),
        }


def score(args: argparse.Namespace) -> None:
    if args.cluster is not None:
        return on_cluster("score", args)
    model = load_model(args.model)
    with _output(None) as write:
        for windows in read_windows(args):
            for line in score_lines(model, windows, args):
                write(json_line(line))


def score_lines(
    model: DocumentModel, windows: Sequence[Window], args: argparse.Namespace
) -> Iterator[dict]:
    """The figures of windows, a dict for each."""
    out = model.score(
        [x.sentences for x in windows],
        num_samples=args.num_samples,
        seed=seeds_of(args.seed, windows),
        batch_size=args.batch_size,
    )
    for row, n in enumerate(out["mask"].sum(axis=1)):
        line = dict(windows[row].place)
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
        yield line


def _writing_options(args):
    options = {
        name: getattr(args, name)
        for name in ("temperature", "top_k", "top_p", "num_beams")
        if getattr(args, name) is not None
    }
    for name in ("sampler", "max_words", "seed", "batch_size"):
        options[name] = getattr(args, name)
    return options


def _cased(documents, args):
    from keras_hvae.text.case import capitalized

    if not args.capitalize:
        return documents
    return [list(map(capitalized, document)) for document in documents]


def _print_documents(documents, args):
    for document in _cased(documents, args):
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
