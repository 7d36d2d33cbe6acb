"""Every public function and method says what it takes and returns."""

import ast
import pathlib

import pytest

import keras_hvae

PACKAGE = pathlib.Path(keras_hvae.__file__).parent
# Of these Keras sets what they take and return.
OF_KERAS = {
    "call",
    "build",
    "compute_mask",
    "compute_output_spec",
    "from_config",
    "get_config",
}


def public_functions(node, prefix=""):
    for child in getattr(node, "body", []):
        if isinstance(child, ast.ClassDef):
            if not child.name.startswith("_"):
                yield from public_functions(child, f"{child.name}.")
        elif isinstance(child, ast.FunctionDef):
            special = child.name in ("__init__", "__call__")
            if special or not child.name.startswith("_"):
                yield prefix + child.name, child


def unannotated(source):
    for name, function in public_functions(ast.parse(source)):
        if name.partition(".")[2] in OF_KERAS:
            continue
        of = function.args
        for argument in (*of.posonlyargs, *of.args, *of.kwonlyargs):
            untyped = argument.annotation is None
            if untyped and argument.arg not in ("self", "cls"):
                yield f"{name}: {argument.arg}"
        if function.returns is None:
            yield f"{name}: what it returns"


@pytest.mark.parametrize(
    "source, expected",
    [
        ("def f(x: int) -> None: ...", []),
        ("def f(x, *y, **z) -> None: ...", ["f: x"]),
        ("def f(): ...", ["f: what it returns"]),
        ("def _f(x): ...", []),
        ("class A:\n def __init__(self, *, x) -> None: ...", ["A.__init__: x"]),
        ("class A:\n def call(self, x): ...", []),
        ("class _A:\n def f(self, x): ...", []),
    ],
)
def test_what_counts(source, expected):
    assert list(unannotated(source)) == expected


@pytest.mark.parametrize(
    "path",
    sorted(PACKAGE.rglob("*.py")),
    ids=lambda x: str(x.relative_to(PACKAGE)),
)
def test_annotated(path):
    assert list(unannotated(path.read_text("utf-8"))) == []
