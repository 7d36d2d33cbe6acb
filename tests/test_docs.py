"""What the documentation names is there: modules, arguments, files, options."""

import ast
import functools
import importlib
import inspect
import pathlib
import re
import shlex

import pytest

import keras_hvae
from keras_hvae.cli.parser import build_parser

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [
    *ROOT.glob("*.md"),
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / "benchmarks").glob("*.md"),
    ROOT / "saved_models/README.md",
    ROOT / "examples/serving/README.md",
]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def fences(name, language):
    text = (ROOT / name).read_text()
    return [code for kind, code in FENCE.findall(text) if kind == language]


@pytest.mark.parametrize("name", NAMES)
def test_no_line_is_a_place_holder(name):
    text = FENCE.sub("", (ROOT / name).read_text())
    assert not re.findall(r"^[A-Z0-9_]{4,}$", text, re.MULTILINE)


def resolve(dotted):
    """The object of a dotted name; `None` if it does not start with ours."""
    first, *rest = dotted.split(".")
    if first != "keras_hvae":
        return None
    found = keras_hvae
    for k, part in enumerate(rest):
        if inspect.isfunction(found):  # it hides the module of its name
            found = importlib.import_module(".".join([first, *rest[:k]]))
        if inspect.ismodule(found) and not hasattr(found, part):
            found = importlib.import_module(f"{found.__name__}.{part}")
        else:
            found = getattr(found, part)
    return found


def dotted_name(node):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])


def check_keywords(call, function):
    signature = inspect.signature(function)
    kinds = {x.kind for x in signature.parameters.values()}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        given = {x.arg for x in call.keywords if x.arg}
        assert given <= set(signature.parameters), (function, given)


def check_code(code, model):
    tree = ast.parse(code)
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith(
            "keras_hvae"
        ):
            for alias in node.names:
                imported[alias.name] = resolve(f"{node.module}.{alias.name}")
    for node in ast.walk(tree):
        called = isinstance(node, ast.Call)
        name = dotted_name(node.func if called else node)
        if model is not None and name.startswith("model."):
            parts = name.split(".")[1:]
            found = functools.reduce(getattr, parts, model)
        else:
            found = imported.get(name) or resolve(name)
        if called and found is not None:
            check_keywords(node, found)


@pytest.fixture(scope="module")
def model():
    return keras_hvae.HVAE(["yes", "no"], 2, 4, 8)


@pytest.mark.eager
@pytest.mark.parametrize("name", NAMES)
def test_python_names_what_there_is(name, model):
    # Later blocks of a page use what the earlier ones have made.
    code = "\n".join(fences(name, "python"))
    check_code(code, model if "keras_hvae" in code else None)


@pytest.mark.eager
@pytest.mark.parametrize(
    "code",
    [
        "keras_hvae.nowhere",
        "from keras_hvae.layers import Nothing",
        "keras_hvae.data.load('x', keys=1)",
        "model.generat()",
        "model.encode([], sead=1)",
        "model.generate(",
    ],
)
def test_other_names_are_found(code, model):
    with pytest.raises(
        (AssertionError, AttributeError, ImportError, SyntaxError)
    ):
        check_code(code, model)


@pytest.mark.parametrize("name", NAMES)
def test_the_shell_knows_the_options(name):
    lines = "\n".join(fences(name, "")).replace("\\\n", " ").splitlines()
    for line in lines:
        _, found, command = line.partition("keras-hvae ")
        if found:
            build_parser().parse_args(shlex.split(command, comments=True))


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files(name):
    page = ROOT / name
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if not re.match(r"https?:|#", target):
            path = page.parent / target.partition("#")[0]
            assert path.exists(), target


def test_the_reference_has_all_public_names():
    text = "".join(x.read_text() for x in (ROOT / "docs/api").glob("*.md"))
    listed = set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    for name in listed:
        assert resolve(name) is not None
    for room in (
        "applications",
        "callbacks",
        "data",
        "emissions",
        "export",
        "generative",
        "layers",
        "optimizers",
        "samplers",
        "text",
    ):
        module = getattr(keras_hvae, room)
        public = {x for x in module.__all__ if callable(getattr(module, x))}
        assert {f"keras_hvae.{room}.{x}" for x in public} <= listed
    assert {"keras_hvae.evaluation", "keras_hvae.distributions"} <= listed
    # Of those, functions that have the name of their module have lines of
    # their own: the reference takes the name for the module.
    room = keras_hvae.evaluation
    for name in room.__all__:
        module = f"{room.__name__}.{name}"
        if getattr(getattr(room, name), "__module__", None) == module:
            assert f"{module}.{name}" in listed


def test_the_navigation_has_all_pages():
    text = (ROOT / "mkdocs.yml").read_text()
    listed = set(re.findall(r": (\S+\.md)$", text, re.MULTILINE))
    docs = ROOT / "docs"
    assert listed == {
        page.relative_to(docs).as_posix() for page in docs.rglob("*.md")
    }


def test_readme_has_its_two_commands():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert "pip install . && keras-hvae demo" in lines
    assert 'pip install ".[test]" && pytest' in lines
