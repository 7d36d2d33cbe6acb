import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

from keras_hvae import GRULM, HVAE
from keras_hvae.cli import main
from keras_hvae.evaluation import METRICS
from keras_hvae.presets.preset_files import known_presets
from keras_hvae.text.case import capitalized
from tests.cli.conftest import TINY, write_corpus

pytestmark = pytest.mark.eager
COMMANDS = (
    "demo",
    "train",
    "evaluate",
    "generate",
    "reconstruct",
    "interpolate",
    "encode",
    "score",
    "export",
    "verify",
    "explore",
    "presets",
)


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs a command; returns its exit code, output and errors."""

    def run(*arguments, stdin=b""):
        stream = types.SimpleNamespace(
            buffer=io.BufferedReader(io.BytesIO(stdin))
        )
        monkeypatch.setattr("sys.stdin", stream)
        capsys.readouterr()
        code = main([str(x) for x in arguments])
        out, error = capsys.readouterr()
        return code, out, error

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"example: keras-hvae {command}" in capsys.readouterr().out.replace(
        "cat more.txt | ", ""
    )


def test_no_command_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2


@pytest.mark.slow
@pytest.mark.eager(False)  # as the training has evaluated, to the last bit
def test_evaluate(run, trained, corpus, tmp_path):
    path = tmp_path / "figures.json"
    code, out, _ = run("evaluate", trained, corpus, "--json", path)
    assert code == 0
    figures = json.loads(path.read_text())
    stored = json.loads((trained / "metrics.json").read_text())
    # The same split and the same draws as at the end of the training.
    for key in ("neg_elbo", "kl_by_position", "z_ablation", "tokens"):
        assert figures[key] == stored[key]
    assert f"{figures['z_ablation']:.2f}" in out
    # The file in the folder is as good as the folder.
    model = trained / "model.keras"
    whole = run("evaluate", model, corpus, "--split=all", "--json", path)
    assert whole[0] == 0
    assert json.loads(path.read_text())["documents"] == 40


@pytest.mark.slow
def test_a_file_not_trained_on_is_evaluated_whole(run, trained, tmp_path):
    other = write_corpus(tmp_path / "other.txt", documents=12, seed=9)
    path = tmp_path / "figures.json"
    code, out, _ = run("evaluate", trained, other, "--json", path)
    assert code == 0 and "Evaluating the whole corpus." in out
    assert json.loads(path.read_text())["documents"] == 12


@pytest.mark.slow
def test_a_corpus_is_known_by_its_text(run, trained, corpus, tmp_path):
    stored = json.loads((trained / "metrics.json").read_text())
    path = tmp_path / "figures.json"
    moved = shutil.copy(corpus, tmp_path / "moved.txt")
    code, out, _ = run("evaluate", trained, moved, "--json", path)
    assert code == 0 and "Evaluating the test split." in out
    figures = json.loads(path.read_text())
    assert figures["documents"] == stored["documents"] < 40
    assert figures["neg_elbo"]["per_document"] == pytest.approx(
        stored["neg_elbo"]["per_document"], rel=1e-5
    )
    # Another text in the old place is not what was trained on.
    settings = json.loads((trained / "settings.json").read_text())
    folder = shutil.copytree(trained, tmp_path / "m")
    write_corpus(moved, seed=9)
    del settings["sha256"]
    settings["corpus"] = str(moved)
    (folder / "settings.json").write_text(json.dumps(settings))
    code, out, _ = run("evaluate", folder, moved)
    assert code == 0 and "Evaluating the whole corpus." in out


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"max_sentences": "ten"}',
        '{"max_sentences": 0}',
        '{"max_sentences": true}',
    ],
)
def test_damaged_settings(run, trained, tmp_path, text):
    folder = shutil.copytree(trained, tmp_path / "m")
    (folder / "settings.json").write_text(text)
    code, _, error = run("score", folder, stdin=b"the king sees.\n")
    assert code == 1
    path = folder / "settings.json"
    assert error.startswith(f"keras-hvae: error: {path}: expected ")


def test_usage_errors_show_the_usage_of_the_command(capsys):
    for arguments in (
        ["score", "m", "--no-such"],
        ["score"],
        ["train", "c.txt", "--out", "m", "more"],
    ):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith(f"usage: keras-hvae {arguments[0]} ")


def test_lists_presets(run):
    code, out, _ = run("presets")
    lines = dict(x.split(": ", 1) for x in out.splitlines())
    assert code == 0 and lines.keys() == set(known_presets())
    about = lines["hvae_small_shakespeare_en"]
    # As its model card has it.
    assert about.startswith("3,533,699 parameters, trained on the 37 plays")


@pytest.mark.slow
def test_the_shell_says_nothing_of_tensorflow():
    environment = {
        key: x for key, x in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"
    }
    shell = subprocess.run(
        [sys.executable, "-m", "keras_hvae.cli", "presets"],
        cwd=pathlib.Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert shell.returncode == 0 and shell.stderr == ""
    assert "hvae_small_shakespeare_en: " in shell.stdout


@pytest.mark.slow
def test_evaluate_splits_as_the_training_did(run, corpus, tmp_path):
    options = (*TINY, "--seed=5", "--split-seed=3", "--max-sentences=2")
    code, *_ = run("train", corpus, "--out", tmp_path / "m", *options)
    assert code == 0
    path = tmp_path / "figures.json"
    assert run("evaluate", tmp_path / "m", corpus, "--json", path)[0] == 0
    stored = json.loads((tmp_path / "m" / "metrics.json").read_text())
    assert json.loads(path.read_text())["neg_elbo"] == stored["neg_elbo"]


@pytest.mark.slow
def test_generate(run, trained):
    options = ("--num-documents=2", "--num-sentences=3", "--jsonl")
    first = run("generate", trained, *options, "--seed=3")
    assert first[0] == 0
    documents = [json.loads(x)["sentences"] for x in first[1].splitlines()]
    assert [len(x) for x in documents] == [3, 3]
    assert run("generate", trained, *options, "--seed=3")[1] == first[1]
    assert run("generate", trained, *options, "--seed=4")[1] != first[1]
    capital = run("generate", trained, *options, "--seed=3", "--capitalize")
    for line, document in zip(capital[1].splitlines(), documents):
        assert json.loads(line)["sentences"] == [
            capitalized(x) for x in document
        ]
    text = run("generate", trained, *options[:2], "--seed=3")[1]
    assert text == "".join("\n".join(x) + "\n\n" for x in documents)


@pytest.mark.slow
def test_generate_goes_on_with_documents(run, trained, corpus):
    options = ("--num-sentences=1", "--jsonl", "--seed=1", "--max-words=5")
    code, out, _ = run("generate", trained, "--continue", corpus, *options)
    assert code == 0 and len(out.splitlines()) == 40
    # A stream gives the same whatever the batches are.
    code, again, _ = run(
        "generate",
        trained,
        "--continue=-",
        *options,
        "--batch-size=7",
        stdin=corpus.read_bytes(),
    )
    assert code == 0 and again == out


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [(), ("--sampler=beam", "--num-beams=2"), ("--sampler=top_k",)]
)
def test_reconstruct(run, trained, options):
    text = b"the king sees.\na dog.\n\nthe cat.\n"
    code, out, _ = run("reconstruct", trained, *options, "--jsonl", stdin=text)
    assert code == 0
    lengths = [len(json.loads(x)["sentences"]) for x in out.splitlines()]
    assert lengths == [2, 1]


@pytest.mark.slow
def test_interpolate(run, trained):
    text = b"the king sees.\n\nthe cat.\na dog.\n"
    options = ("--steps=4", "--jsonl", "--seed=0")
    code, out, _ = run("interpolate", trained, *options, stdin=text)
    assert code == 0 and len(out.splitlines()) == 4
    code, _, error = run("interpolate", trained, stdin=b"one\n")
    assert code == 1 and "two documents. Received: 1" in error


@pytest.mark.slow
def test_encode_as_lines_and_arrays(run, trained, corpus, tmp_path):
    code, out, _ = run("encode", trained, corpus, "--batch-size=16")
    assert code == 0
    lines = [json.loads(x) for x in out.splitlines()]
    assert len(lines) == 40 and len(lines[0]["mean"][0]) == 3
    path = tmp_path / "latents.npz"
    assert run("encode", trained, corpus, "--out", path)[0] == 0
    arrays = np.load(path)
    assert arrays["lengths"].tolist() == [len(x["mean"]) for x in lines]
    assert arrays["unknown"].tolist() == [x["unknown"] for x in lines]
    for key in ("mean", "log_var"):
        rows = np.concatenate([x[key] for x in lines])
        np.testing.assert_allclose(arrays[key], rows, atol=1e-5)
    path = tmp_path / "latents.jsonl"
    assert run("encode", trained, corpus, "--out", path)[0] == 0
    assert len(path.read_text().splitlines()) == 40


@pytest.mark.slow
def test_score_reads_a_stream(run, trained, corpus):
    outputs = []
    for batch_size in (16, 40):
        code, out, _ = run(
            "score",
            trained,
            "--num-samples=2",
            f"--batch-size={batch_size}",
            stdin=corpus.read_bytes(),
        )
        assert code == 0
        outputs.append([json.loads(x) for x in out.splitlines()])
    for line, other in zip(*outputs, strict=True):
        assert line["elbo"] == pytest.approx(other["elbo"], abs=1e-3)
        assert line["unknown"] == other["unknown"] <= line["tokens"]
        assert line["elbo"] == pytest.approx(
            sum(x["elbo"] for x in line["sentences"]), abs=1e-3
        )


@pytest.mark.slow
def test_a_failing_stream_leaves_nothing_half_written(run, trained, tmp_path):
    for name in ("latents.npz", "latents.jsonl"):
        text = b"the king sees.\n\n" * 40 + b"\xff\n"
        out = tmp_path / name
        code, _, error = run("encode", trained, "--out", out, stdin=text)
        assert code == 1 and ":81" in error
        assert list(tmp_path.iterdir()) == []


LONG = b"the king sees.\n" * 25 + b"\na dog.\n"


@pytest.mark.slow
def test_long_documents_become_several(run, trained, tmp_path):
    places = [(0, 0), (0, 1), (0, 2), (1, 0)]
    code, out, _ = run("score", trained, stdin=LONG)
    lines = [json.loads(x) for x in out.splitlines()]
    assert code == 0
    assert [(x["index"], x["window"]) for x in lines] == places
    assert [len(x["sentences"]) for x in lines] == [10, 10, 5, 1]
    for command in (("reconstruct", "--jsonl"), ("encode",)):
        code, out, _ = run(command[0], trained, *command[1:], stdin=LONG)
        lines = [json.loads(x) for x in out.splitlines()]
        assert [(x["index"], x["window"]) for x in lines] == places
    path = tmp_path / "latents.npz"
    assert run("encode", trained, "--out", path, stdin=LONG)[0] == 0
    arrays = np.load(path)
    assert list(zip(arrays["index"], arrays["window"])) == places
    # As text a blank line stands behind a document, not behind a window.
    code, out, _ = run("reconstruct", trained, "--max-words=3", stdin=LONG)
    assert out.count("\n") == 25 + 1 + 1 + 1


@pytest.mark.slow
def test_the_shell_has_the_numbers_of_python(run, trained):
    model = keras.saving.load_model(trained / "model.keras")
    document = ["the king sees."] * 25
    documents = [document, ["a dog."]]
    scores = model.score(documents, num_samples=2, seed=4)
    options = ("--seed=4", "--num-samples=2")
    _, out, _ = run("score", trained, *options, "--whole", stdin=LONG)
    lines = [json.loads(x) for x in out.splitlines()]
    for line, elbo in zip(lines, scores["elbo"], strict=True):
        assert line["elbo"] == pytest.approx(elbo, abs=2e-3)
    # A window is a document of its own, and the next document as before.
    _, out, _ = run("score", trained, *options, stdin=LONG)
    lines = [json.loads(x) for x in out.splitlines()]
    assert lines[-1]["elbo"] == pytest.approx(scores["elbo"][1], abs=1e-3)
    window = model.score(document[:10], num_samples=2, seed=4)
    assert lines[0]["elbo"] == pytest.approx(window["elbo"], abs=1e-3)
    # Windows do not share their draws.
    assert lines[0]["elbo"] != lines[1]["elbo"]
    means = model.encode(documents)["mean"]
    _, out, _ = run("encode", trained, "--whole", stdin=LONG)
    lines = [json.loads(x) for x in out.splitlines()]
    np.testing.assert_allclose(lines[0]["mean"], means[0], atol=1e-5)
    texts = model.reconstruct(documents, sampler="top_k", seed=3)
    options = ("--whole", "--jsonl", "--seed=3", "--sampler=top_k")
    _, out, _ = run("reconstruct", trained, *options, stdin=LONG)
    assert [json.loads(x)["sentences"] for x in out.splitlines()] == texts


@pytest.mark.slow
def test_progress_does_not_run_into_results(run, trained, monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", screen)
    code, out, _ = run("score", trained, stdin=LONG)
    assert code == 0 and screen.getvalue() == "\r4 documents\n"
    for line in out.splitlines():
        json.loads(line)


@pytest.mark.slow
def test_score_is_that_of_the_model(run, trained):
    text = b"the king sees.\na dog.\n\nthe cat.\n"
    _, out, _ = run("score", trained, "--seed=4", stdin=text)
    model = keras.saving.load_model(trained / "model.keras")
    scores = model.score([["the king sees.", "a dog."], ["the cat."]], seed=4)
    for line, elbo in zip(out.splitlines(), scores["elbo"]):
        assert json.loads(line)["elbo"] == pytest.approx(elbo, abs=1e-3)


@pytest.mark.slow
def test_unwritable_outputs_are_told_at_once(run, trained, corpus, tmp_path):
    missing = tmp_path / "none" / "x.npz"
    for arguments in (
        ("encode", trained, corpus, "--out", missing),
        ("evaluate", trained, corpus, "--json", missing),
    ):
        code, out, error = run(*arguments)
        assert code == 1 and out == ""
        assert str(missing.parent) in error


@pytest.mark.slow
def test_jsonl_stream(run, trained):
    text = b'{"turns": ["the king.", "a dog."]}\n'
    options = ("--format=jsonl", "--key=turns")
    assert run("score", trained, *options, stdin=text)[0] == 0
    explicit = run("score", trained, *options, "--seed=1", stdin=text)
    told = run("score", trained, "--key=turns", "--seed=1", stdin=text)
    assert told == explicit
    code, _, error = run("score", trained, "--format=jsonl", stdin=text)
    assert code == 1 and "turns" in error


@pytest.mark.slow
def test_no_document(run, trained):
    code, _, error = run("score", trained, stdin=b"\n\n")
    assert code == 1 and error.startswith("keras-hvae: error: ")


@pytest.mark.slow
def test_a_long_sentence_is_cut(run, trained):
    text = b"the king " * 50_000
    code, out, _ = run("score", trained, stdin=text)
    assert code == 0 and json.loads(out)["tokens"] == 9  # 8 words and [EOS]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate", "--temperature=-1"), "`temperature`"),
        (("generate", "--top-p=1.5"), "`top_p`"),
        (("generate", "--sampler=greedy", "--top-k=3"), "top_k"),
        (("generate", "--num-documents=0"), "`num_documents`"),
        (("generate", "--seed=-1"), "`seed`"),
        (("score", "missing.txt"), "missing.txt"),
        (("score", "--batch-size=0"), "`batch_size`"),
        (("interpolate", "--steps=1"), "`steps`"),
    ],
)
def test_bad_options(run, trained, arguments, message):
    command, *options = arguments
    code, _, error = run(command, trained, *options, stdin=b"a\n\nb\n")
    assert code == 1 and message in error and "Traceback" not in error


@pytest.mark.slow
def test_bad_models(run, trained, tmp_path):
    code, _, error = run("generate", tmp_path / "none.keras")
    assert code == 1 and "none.keras" in error
    whole = (trained / "model.keras").read_bytes()
    truncated = tmp_path / "truncated.keras"
    truncated.write_bytes(whole[: len(whole) // 2])
    code, _, error = run("generate", truncated)
    assert code == 1 and "truncated.keras: expected a whole model" in error
    ids = tmp_path / "ids.keras"
    HVAE(9, latent_dim=2, embedding_dim=2, hidden_dim=2).save(ids)
    code, _, error = run("generate", ids)
    assert code == 1 and "Received: a model of 9 ids" in error
    other = tmp_path / "other.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(other)
    code, _, error = run("generate", other)
    assert code == 1 and "Received: a Sequential" in error


@pytest.mark.slow
def test_evaluate_all_metrics(run, trained, corpus, tmp_path):
    path, vectors = tmp_path / "figures.json", tmp_path / "vectors.txt"
    vectors.write_text("king 1 0\nqueen 0 1\ndog 1 1\n")
    arguments = [
        *("evaluate", trained, corpus, "--split", "test", "--json", path),
        *("--num-samples", 8, "--num-sentences", 20, "--vectors", vectors),
        *("--metrics", *METRICS),
    ]
    code, out, error = run(*arguments)
    assert code == 0, error
    figures = json.loads(path.read_text())
    for name in METRICS[2:]:
        assert figures[name], name
    assert "IWAE-8" in out and "particles-8" in out
    for name in ("reconstruction", "samples", "responses"):
        assert f"{name}:" in out
    assert "embedding_average" in figures["responses"]
    assert "copied" in figures["samples"]  # there was a train split


@pytest.mark.slow
def test_uses_presets(run, trained, tmp_path):
    model = keras.saving.load_model(trained / "model.keras")
    model.save_to_preset(tmp_path / "preset")
    text = b"the king sees.\na dog.\n"
    expected = run("score", trained, "-", stdin=text)[1]
    assert run("score", tmp_path / "preset", "-", stdin=text)[1] == expected
    (tmp_path / "preset" / "vocabulary.txt").write_text("other\n")
    code, _, error = run("score", tmp_path / "preset", "-", stdin=text)
    assert code == 1 and "vocabulary.txt" in error


@pytest.mark.slow
def test_a_method_that_a_model_lacks(run, tmp_path):
    path = tmp_path / "lm.keras"
    GRULM(["a", "b"], embedding_dim=2, hidden_dim=4).save(path)
    code, out, error = run("encode", path, "-", stdin=b"a b\n")
    assert code == 1 and not out
    assert "`encode` needs a model with latents" in error


@pytest.mark.slow
@pytest.mark.eager(False)
def test_export_and_verify(run, trained, tmp_path, caplog):
    folder = tmp_path / "saved" / "m"
    options = "--signatures", "encode", "--max-sentences", 4
    code, out, error = run("export", trained, folder, *options)
    assert (code, error) == (0, "")
    assert not caplog.records  # TensorFlow's warnings of gradients
    assert out.startswith(f"{folder / '1'}: ") and out.endswith(" MiB\n")
    about = json.loads((folder / "1" / "keras_hvae.json").read_text())
    assert about["caps"]["max_sentences"] == 4
    assert set(about["signatures"]) == {"encode", "serving_default"}
    code, out, _ = run("verify", folder)
    assert code == 0 and out.startswith(f"{folder / '1'}: whole; ")
    for arguments, message in (
        (("--version", 1), "`version` must be new"),
        (("--version", 0), "`version` must be an integer >= 1"),
        (("--signatures", "sing"), "`signatures` must be one of"),
        (("--max-words", 10_000), "`max_words` must be at most"),
    ):
        code, _, error = run("export", trained, folder, *arguments)
        assert code == 1 and message in error and "Traceback" not in error
    (folder / "1" / "keras_hvae.json").write_text("{}")
    code, _, error = run("verify", folder)
    assert code == 1 and "keras_hvae.json: expected the SHA-256" in error
    assert [x.name for x in folder.iterdir()] == ["1"]


@pytest.mark.slow
def test_explore_needs_an_hvae_of_words(run, tmp_path):
    GRULM(["yes", "no"], 4, 6).save(tmp_path / "lm.keras")
    code, _, error = run("explore", tmp_path / "lm.keras", "--no-browser")
    assert code == 1 and "and a vocabulary of words" in error
