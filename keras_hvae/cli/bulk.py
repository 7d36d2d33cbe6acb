"""Work on many documents in parts, each written once.

A part is a run of documents of one file. It is a parquet file of its own,
`part-FILE-NUMBER.parquet`, that appears whole, so a job that was killed goes
on with the parts that are missing. What is in a part depends on its documents
alone, in whatever order and by whichever worker the parts are done.
"""

import argparse
import collections
import json
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from keras_hvae.cli import use
from keras_hvae.cli.model_folder import load_model, trained_with
from keras_hvae.cli.windows import cut
from keras_hvae.data.lines import file_lines
from keras_hvae.data.reading import corpus_suffix, open_documents, take
from keras_hvae.files import (
    DamagedFileError,
    check_regular,
    read_json,
    write_json,
    write_whole,
)

JOB, COUNTS = "job.json", "counts.json"
SUFFIXES = (".txt", ".jsonl", ".parquet")
# Documents of a part.
PART = 1000
LINES = {
    "encode": use.encode_lines,
    "score": use.score_lines,
    "generate": use.generate_lines,
}


class Part(NamedTuple):
    """Documents of a file, from number `first` on.

    A document that cannot be read is the reason why, a string.
    """

    file: str
    name: str
    first: int  # type: ignore[assignment]
    documents: list


def files_of(source: str) -> list[pathlib.Path]:
    """The file, or those of a folder, in the order of their names."""
    path = pathlib.Path(source)
    paths = [path]
    if path.is_dir():
        paths = sorted(x for x in path.iterdir() if x.is_file())
    wrong = [x for x in paths if corpus_suffix(x) not in SUFFIXES]
    if wrong or not paths:
        raise ValueError(
            "FILE must be a file or a folder of files that end in .txt, .jsonl "
            "or .parquet, the first two compressed or not. Received: "
            f"{wrong[0] if wrong else f'{source}, an empty folder'}"
        )
    for x in paths:
        check_regular(x)
    return paths


def start(verb: str, args: argparse.Namespace) -> list[pathlib.Path]:
    """Makes the folder of a job, or goes on with it; returns its files.

    Raises:
        ValueError: if the folder is that of another job, or of none.
    """
    if args.out is None:
        raise ValueError(
            "`--cluster` needs `--out`, the folder to write. Received: none"
        )
    files = files_of(args.documents or "-")
    ignored = "cluster", "workers", "out", "run", "debug"
    job = {
        "command": verb,
        "options": {
            key: value
            for key, value in sorted(vars(args).items())
            if key not in ignored
        },
        "files": [_state(x) for x in files],
        "model": _model_state(pathlib.Path(args.model)),
    }
    job = json.loads(json.dumps(job, default=str))
    out = pathlib.Path(args.out)
    if (out / JOB).is_file():
        before = read_json(out / JOB)
        differs = sorted(key for key in job if before.get(key) != job[key])
        if differs:
            raise ValueError(
                f"{out} must be a new folder, or that of the same job. "
                f"Received: one with other {', '.join(differs)}"
            )
        return files
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(
            f"`--out` must be a new folder, or one of `--cluster`. Received: "
            f"{out}"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / JOB, job)
    return files


def _state(path):
    """What changes if a file does."""
    stat = path.stat()
    return [str(path), stat.st_size, stat.st_mtime_ns]


def _model_state(path):
    """Of the files of a model; nothing of a preset's name."""
    files = [path]
    if path.is_dir():
        files = sorted(x for x in path.iterdir() if x.is_file())
    return [_state(x) for x in files if x.exists()]


def parts(path: pathlib.Path, number: int, key: str) -> Iterator[Part]:
    """The parts of a file: the same ones whenever it is read."""
    documents: list = []
    first = count = 0
    for document in _read(path, key):
        documents.append(document)
        if len(documents) == PART:
            yield Part(str(path), _name(number, count), first, documents)
            first, count = first + PART, count + 1
            documents = []
    if documents:
        yield Part(str(path), _name(number, count), first, documents)


def _name(number, count):
    return f"part-{number:05d}-{count:07d}.parquet"


def _read(path, key):
    """Documents, or why one is none."""
    suffix = corpus_suffix(path)
    if suffix == ".txt":
        yield from open_documents(path)
        return
    rows = _parquet(path, key) if suffix == ".parquet" else _objects(path)
    for place, value in rows:
        try:
            yield take(value, key, place)
        except DamagedFileError as error:
            yield str(error)


def _objects(path):
    for number, line in file_lines(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = {}
        yield f"{path}:{number}", value if isinstance(value, dict) else {}


def _parquet(path, key):
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowException as error:
        raise DamagedFileError(path, "a whole parquet file", error) from error
    if key not in file.schema_arrow.names:
        raise DamagedFileError(
            path,
            f"a column {key!r} (`--key` names another)",
            ", ".join(file.schema_arrow.names),
        )
    row = 0
    for batch in file.iter_batches(columns=[key]):
        for value in batch.column(0).to_pylist():
            row += 1
            yield f"{path}: row {row}", {key: value}


class Worker:
    """Does parts, with one model.

    Args:
        verb: `"encode"`, `"score"` or `"generate"`.
        args: of the command.
    """

    def __init__(self, verb: str, args: argparse.Namespace) -> None:
        self.verb, self.args = verb, args
        self.model = load_model(args.model)
        self.longest: int | None = trained_with(
            args.model, "max_sentences", 10, lowest=1
        )
        if getattr(args, "whole", False):
            self.longest = None

    def do(self, part: Part) -> None:
        """Writes the part's file."""
        counts: dict[str, int] = collections.Counter(read=len(part.documents))
        windows = []
        for place, document in enumerate(part.documents):
            if not document or isinstance(document, str):
                counts["blank" if not document else "not a document"] += 1
                continue
            counts["written"] += 1
            windows += cut(
                document,
                part.first + place,
                self.longest,
                ends=self.verb == "generate",
            )
        lines: list[dict[str, Any]] = []
        size = self.args.batch_size
        for start in range(0, len(windows), size):
            batch = windows[start : start + size]
            lines += LINES[self.verb](self.model, batch, self.args)
        self._write(part, lines, counts)

    def _write(self, part, lines, counts):
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.Table.from_pylist(
            [{"file": part.file, **line} for line in lines],
            _schema(self.verb),
        )
        counts = {"keras_hvae": json.dumps(counts)}
        table = table.replace_schema_metadata(counts)
        with write_whole(pathlib.Path(self.args.out, part.name)) as temporary:
            pyarrow.parquet.write_table(table, temporary)


def _schema(verb):
    """The columns of all parts, whatever documents are in them."""
    import pyarrow as pa

    number, count = pa.float64(), pa.int64()
    figures = {"nll": number, "kl": number, "elbo": number}
    columns = {
        "encode": {
            "mean": pa.list_(pa.list_(number)),
            "log_var": pa.list_(pa.list_(number)),
            "document": pa.list_(number),
            "unknown": count,
        },
        "score": {
            **figures,
            "tokens": count,
            "unknown": count,
            "sentences": pa.list_(pa.struct(list(figures.items()))),
        },
        "generate": {"sentences": pa.list_(pa.string())},
    }[verb]
    places = {"file": pa.string(), "index": count, "window": count}
    return pa.schema({**places, **columns})


def finish(args: argparse.Namespace) -> dict[str, int]:
    """Adds up what the parts say they hold; writes it, too."""
    import pyarrow.parquet

    out = pathlib.Path(args.out)
    counts: dict[str, int] = collections.Counter()
    for path in sorted(out.glob("part-*.parquet")):
        schema = pyarrow.parquet.read_schema(path)
        counts.update(json.loads(schema.metadata[b"keras_hvae"]))
    if counts["read"] != sum(counts.values()) - counts["read"]:
        raise ValueError(
            f"{out}: expected that all documents read were written or skipped. "
            f"Received: {dict(counts)}"
        )
    write_json(out / COUNTS, dict(counts))
    return counts
