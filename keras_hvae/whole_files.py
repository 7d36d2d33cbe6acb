"""Checks of files and folders that may come from anyone.

It needs the standard library only: `examples/serving/whole_files.py` is a copy
for servers on which this package is not installed, and a test compares both.
"""

import errno
import hashlib
import json
import os
import pathlib
import re
import stat
from collections.abc import Callable, Collection
from typing import Any

SUMS_FILE = "SHA256SUMS"
LARGEST_SUMS = 2**20  # bytes
SAVED_MODEL = "saved_model.pb"
SIDECAR = "keras_hvae.json"
LARGEST_SIDECAR = 2**24  # bytes
# Operations that reach files, other processes or Python. No export has them.
OUTSIDE = re.compile(
    "ReadFile|WriteFile|MatchingFiles|(Eager)?PyFunc(Stateless)?|Print(V2)?"
    "|InitializeTableFromTextFile(V2)?|Save|SaveSlices|Restore(Slice)?"
    "|.*Dataset(V[0-9]+)?|.*Reader(V[0-9]+)?|Reader.*|.*DataService.*|_?Recv"
    "|_?Send|Debug.*|.*Summary.*|TPU.*"
)
# Those of the functions that write and read the variables.
SAVER = ("SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename")


class DamagedFileError(ValueError):
    """A file or folder does not hold what it should.

    Args:
        path: of the file, with `:` and the line where there is one.
        expected: what should have been there.
        received: what was there instead.

    Attributes:
        path, expected, received: the arguments, as strings.

    Example:

    >>> print(DamagedFileError("a.npz", "a zip file", "an empty file"))
    a.npz: expected a zip file. Received: an empty file
    """

    def __init__(
        self, path: str | os.PathLike, expected: str, received: object
    ) -> None:
        self.path = str(path)
        self.expected = str(expected)
        self.received = str(received)
        super().__init__(
            printable(
                f"{self.path}: expected {self.expected}. "
                f"Received: {self.received}"
            )
        )

    def __reduce__(self):
        return type(self), (self.path, self.expected, self.received)


def printable(text: str) -> str:
    """`text` with its control characters escaped: no terminal obeys it.

    Example:

    >>> print(printable("a\\x1b[31mb"))
    a\\x1b[31mb
    """
    return "".join(
        char
        if char.isprintable()
        else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def check_regular(path: str | os.PathLike) -> None:
    """Raises unless `path` is a regular file, or a link to one.

    To open a pipe waits for its writer, and a device may have no end.

    Raises:
        FileNotFoundError: if there is nothing.
        DamagedFileError: if it is a folder, a pipe, a socket or a device, or
            a link to itself.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise DamagedFileError(
            path, "a regular file", "a link that leads to itself"
        ) from error
    if not stat.S_ISREG(mode):
        kinds = {
            stat.S_IFDIR: "a folder",
            stat.S_IFIFO: "a pipe",
            stat.S_IFSOCK: "a socket",
        }
        kind = kinds.get(stat.S_IFMT(mode), "a device")
        raise DamagedFileError(path, "a regular file", kind)


def check_inside(path: str | os.PathLike, folder: str | os.PathLike) -> None:
    """Raises `DamagedFileError` if `path`, a link, leads out of `folder`.

    Whoever sends a folder must not decide what else of this machine is read.
    What does not exist is inside.
    """
    try:
        real = pathlib.Path(os.path.realpath(path))
        inside = real.is_relative_to(os.path.realpath(folder))
    except (OSError, RuntimeError):  # a link to itself, before Python 3.13
        inside = False
    if not inside:
        raise DamagedFileError(
            path, "a file of this folder", "a link that leads out of it"
        )


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sums(
    folder: str | os.PathLike, within: str | os.PathLike | None = None
) -> set[str]:
    """Compares the files of `folder` with its `SHA256SUMS`.

    The sums protect against damage, not against an attacker: who can change
    a file can change its sum, too.

    Args:
        folder: path.
        within: the folder out of which no link may lead; default: `folder`.

    Returns:
        The names of the files in the list. No other file is to be read.

    Raises:
        DamagedFileError: if there is no list, if it cannot be read, or if a
            file in it is missing, another, no regular file, or a link that
            leads out of the folder.
    """
    folder = pathlib.Path(folder)
    within = folder if within is None else within
    path = folder / SUMS_FILE
    if not os.path.lexists(path):
        raise DamagedFileError(
            folder, f"a folder with a {SUMS_FILE}", "one without"
        )
    text = _read_small(path, within, LARGEST_SUMS)
    names = set()
    for line in text.decode(errors="replace").splitlines():
        match = re.fullmatch(r"([0-9a-f]{64}) [ *]([^/\\][^\\]*)", line)
        # Not `./x`, `x//y` or `x/../y`: one name for a file.
        if (
            match is None
            or match[2] != pathlib.PurePosixPath(match[2]).as_posix()
            or ".." in match[2].split("/")
            or match[2] in names
        ):
            raise DamagedFileError(
                path,
                "a SHA-256, two spaces and the name of a file of this folder, "
                "each once",
                repr(line[:100]),
            )
        expected, name = match.groups()
        names.add(name)
        check_inside(folder / name, within)
        try:
            check_regular(folder / name)
            received = sha256(folder / name)
        except FileNotFoundError:
            received = "no such file"
        except NotADirectoryError:
            received = "a file in the place of its folder"
        if received == expected:
            continue
        if len(received) == len(expected):
            received += f", of {(folder / name).stat().st_size} bytes"
        raise DamagedFileError(
            folder / name, f"the SHA-256 {expected}", received
        )
    return names


def check_listed(
    folder: pathlib.Path, names: Collection[str], *required: str
) -> None:
    """Raises `DamagedFileError` unless all `required` are in `names`."""
    for name in required:
        if name not in names:
            listed = ", ".join(sorted(names)) or "an empty file"
            raise DamagedFileError(
                folder / SUMS_FILE, f"a line for {name}", f"only {listed:.200}"
            )


def check_version(
    folder: str | os.PathLike,
    parse: Callable[[bytes], Any],
    model: str | os.PathLike | None = None,
) -> dict:
    """Checks an exported version before any of its files is loaded.

    `SHA256SUMS` must name every file, and every file must be what it was.
    There are regular files and folders only: an export writes no links. The
    graph has no operation that reaches files or runs Python.

    Args:
        folder: of the version.
        parse: makes TensorFlow's protocol buffer `SavedModel` of bytes.
        model: the folder of the model, out of which `folder` must not lead.

    Returns:
        The sidecar, a dict.

    Raises:
        DamagedFileError: if the version is not whole, or has something else.
    """
    folder = pathlib.Path(folder)
    if model is not None:
        check_inside(folder, model)
    files = set(_walk(folder))
    names = check_sums(folder)
    check_listed(folder, names, SAVED_MODEL, SIDECAR)
    for name in sorted(files - names - {SUMS_FILE}):
        raise DamagedFileError(
            folder / SUMS_FILE, "a line for every file", f"none for {name}"
        )
    path = folder / SIDECAR
    try:
        about = json.loads(_read_small(path, folder, LARGEST_SIDECAR))
        kinds = {"parameters": int, "keras_hvae": str, "signatures": dict}
        for key, kind in kinds.items():
            if not isinstance(about[key], kind):
                raise TypeError(f"`{key}` is no {kind.__name__}")
    except DamagedFileError:
        raise
    # Raised by what is no JSON, deep nesting, another kind of value.
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise DamagedFileError(
            path, "what an export tells of itself, in JSON", repr(error)[:200]
        ) from error
    _check_graph(folder / SAVED_MODEL, parse)
    return about


def _check_graph(path, parse):
    try:
        saved = parse(path.read_bytes())
    except Exception as error:  # DecodeError is of another class each year
        raise DamagedFileError(path, "a SavedModel", error) from error
    for graph in saved.meta_graphs:
        for wrong in _outside(graph):
            raise DamagedFileError(
                path, "a graph that reaches nothing outside", wrong
            )


def _outside(graph):
    """What in a graph reaches files, but for those of its variables."""
    functions = {
        x.signature.name: x.node_def for x in graph.graph_def.library.function
    }
    nodes = graph.graph_def.node
    savers = {
        name
        for name, body in functions.items()
        if any(node.op in SAVER for node in body)
    }
    for name, body in [*functions.items(), ("the graph", nodes)]:
        for node in body:
            if OUTSIDE.fullmatch(node.op):
                yield f"{node.op} in {name}"
    # They are called once each, and nothing depends on them.
    saver = graph.saver_def
    ends = {saver.save_tensor_name.partition(":")[0], saver.restore_op_name}
    for name, body in functions.items():
        for node in body:
            if savers & _called(node):
                yield f"a call of {savers & _called(node)} in {name}"
    for node in nodes:
        if node.op in SAVER or (
            savers & _called(node) and node.name not in ends
        ):
            yield f"{node.op}, which saves or restores, at {node.name}"
        for source in node.input:
            if source.lstrip("^").partition(":")[0] in ends:
                yield f"{node.name}, which waits for {source}"
    for name in savers & set(graph.object_graph_def.concrete_functions):
        yield f"the function {name} for anyone"
    for name, signature in graph.signature_def.items():
        for tensor in signature.outputs.values():
            if tensor.name.partition(":")[0] in ends:
                yield f"the signature {name}, which saves or restores"


def _called(node):
    """The names of the functions that a node may call."""
    names = {node.op}
    for value in node.attr.values():
        names |= {value.func.name, *(x.name for x in value.list.func)}
    return names


def _walk(folder):
    """The names of all files below a folder, which are regular ones."""
    for place, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(place, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                raise DamagedFileError(
                    path, "a file of this version", "a link to another"
                )
            if not stat.S_ISDIR(mode):
                check_regular(path)
                yield pathlib.Path(path).relative_to(folder).as_posix()


def _read_small(path, within, largest):
    """The bytes of a file that must not be large."""
    check_inside(path, within)
    check_regular(path)
    size = os.path.getsize(path)
    if size > largest:
        raise DamagedFileError(
            path, f"at most {largest:,} bytes", f"{size:,} bytes"
        )
    with open(path, "rb") as file:
        return file.read(largest)
