"""The results table's programs, at toy size."""

import json
import math
import pathlib
import random
import subprocess
import sys

import pytest

import keras_hvae

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"
TOY = ["--steps", "12", "--samples", "4", "--documents", "6"]


@pytest.fixture(scope="module")
def corpora():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import corpora
    finally:
        sys.path.remove(str(BENCHMARKS))
    return corpora


def table(*arguments):
    command = [sys.executable, str(BENCHMARKS / "table.py"), *arguments]
    return subprocess.run(
        [str(x) for x in command], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with toy PTB and DailyDialog."""
    import lzma

    folder, rng = tmp_path_factory.mktemp("data"), random.Random(0)
    words = "the a cat dog sees hears <unk> N runs .".split()

    def sentence():
        return " ".join(rng.choices(words, k=rng.randint(3, 8)))

    for name in ("ptb", "dailydialog"):
        (folder / name).mkdir()
    for split, count in (("train", 120), ("valid", 40), ("test", 40)):
        lines = "".join(f" {sentence()} \n" for _ in range(count))
        with lzma.open(folder / f"ptb/ptb.{split}.txt.xz", "wt") as file:
            file.write(lines)
        path = folder / f"dailydialog/{split}.jsonl.xz"
        with lzma.open(path, "wt") as file:
            for _ in range(count):
                turns = [sentence() for _ in range(rng.randint(2, 12))]
                file.write(json.dumps({"t": turns}) + "\n")
    return folder


@pytest.mark.slow
def test_rows_and_page(data, tmp_path):
    rows = [
        "ptb/gru_lm",
        "ptb/hvae_pretrained",
        "dailydialog/vhcr",
        "dailydialog/hvae_gated_learned",
    ]
    out = tmp_path / "table"
    said = table(*rows, "--data", data, "--out", out, *TOY)
    results = {}
    for row in rows:
        assert f"{row}:" in said
        results[row] = json.loads((out / f"{row}.json").read_text())
        figures = results[row]["figures"]
        assert figures["iwae"]["documents"] == 6
        assert results[row]["steps"] == 12
        assert results[row]["tokens_seen"] > 0
    # The same budget of parameters, the same test split.
    for one, other in (rows[:2], rows[2:]):
        ratio = results[one]["parameters"] / results[other]["parameters"]
        assert 0.9 < ratio < 1.1
        tokens = {results[x]["figures"]["tokens"] for x in (one, other)}
        assert len(tokens) == 1
    page = tmp_path / "RESULTS.md"
    table("--render", "--out", out, "--page", page)
    text = page.read_text()
    assert text.count(" % [") == 1  # hvae_pretrained above gru_lm
    assert "| hvae_pretrained |" in text and "| vhcr |" in text
    assert "AE pre-training + free bits" in text  # published rows beside
    assert (out / "table.png").read_bytes().startswith(b"\x89PNG")


def test_list_names_all_rows():
    said = table("--list").split()
    assert {"ptb/hvae", "cornell/vhred", "dailydialog/hvae_rnn_shared"} <= set(
        said
    )


def test_ptb_is_split_at_spaces(corpora, data):
    corpus = corpora.load("ptb", data, batch_size=16)
    # 9 words and <unk>, [EOS], [BOS], padding.
    assert corpus.vocabulary == 9 + 4
    counts = [sum((ids != 0).sum() for ids in x) for x in corpus[1:]]
    for split, count in zip(("train", "valid", "test"), counts):
        import lzma

        with lzma.open(data / f"ptb/ptb.{split}.txt.xz", "rt") as file:
            lines = file.readlines()
        assert count == sum(len(line.split()) + 1 for line in lines)


def test_golden_counts_of_ptb(corpora, request):
    folder = request.config.getoption("--data")
    if folder is None:
        pytest.skip("needs --data FOLDER with the corpora of the benchmarks")
    corpus = corpora.load("ptb", folder)
    assert corpus.vocabulary == 10_000 + 2  # and padding and [BOS]
    sentences = sum((ids != 0).any(axis=(1, 2)).sum() for ids in corpus.test)
    assert sentences == 3_761
    model = keras_hvae.GRULM(
        corpus.vocabulary, 2, 4, scope="sentence", softmax="adaptive"
    )
    figures = keras_hvae.evaluation.evaluate(model, corpus.test, verbose=0)
    assert figures["sentences"] == 3_761
    assert figures["tokens"] == 82_430
    # 101.92 nats a sentence are a perplexity of 104.61: the table's rule.
    tokens = figures["tokens"] / figures["sentences"]
    assert math.exp(101.92 / tokens) == pytest.approx(104.61, abs=0.01)
