"""The results table's programs, at toy size."""

import importlib
import json
import math
import pathlib
import random
import re
import subprocess
import sys

import keras
import pytest

import keras_hvae

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"
TOY = [
    *("--steps", "4", "--valid-batches", "2"),
    *("--samples", "4", "--documents", "6"),
]


@pytest.fixture(scope="module")
def program():
    """A program of the benchmarks, as a module."""
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def corpora(program):
    return program("corpora")


@pytest.fixture
def table(program, capsys):
    """Runs `table.py`; returns what it prints."""

    def run(*arguments):
        program("table").main([str(x) for x in arguments])
        return capsys.readouterr().out

    return run


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
@pytest.mark.eager
def test_rows_and_page(table, data, tmp_path):
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
        assert results[row]["steps"] == 4
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


@pytest.mark.slow
@pytest.mark.eager
def test_the_curve_of_rate_and_distortion(program, data, tmp_path, capsys):
    arrays = tmp_path / "ptb.arrays.npz"
    converge = program("converge").make_parser()
    command = ["prepare", "ptb", "--data", data, "--out", arrays]
    parsed = converge.parse_args([str(x) for x in command])
    parsed.run(parsed)
    out = tmp_path / "points"
    command = ["train", arrays, "rate0", "rate2", "autoencoder", "gru_lm"]
    command += ["--epochs", 2, "--samples", 2, "--documents", 4, "--out", out]
    command += ["--set", "embedding_dim=8", "hidden_dim=16"]
    curve = program("rate_distortion")
    curve.main([str(x) for x in command])
    points = curve.read(out)
    assert list(points) == ["rate0", "rate2", "autoencoder", "gru_lm"]
    assert points["rate2"]["figures"]["rate"] == 2
    assert "rate" in points["rate2"]["history"]
    assert set(points["autoencoder"]["history"]["kl_weight"]) == {0.0}
    capsys.readouterr()
    picture = tmp_path / "curve.png"
    curve.main(["draw", str(out), "--out", str(picture)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| rate0 |") and len(lines) == 6
    assert picture.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="rateR, .* Received: vae"):
        curve.point("vae")


@pytest.mark.slow
def test_list_names_all_rows():
    said = subprocess.run(
        [sys.executable, BENCHMARKS / "table.py", "--list"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
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


def a_row(name, nll, seed=0, exact=True, conditional="bound", crc32=(1, 2, 3)):
    """As `table.py` writes it: three documents, the last of one sentence."""
    iwae = {
        "exact": exact,
        "num_samples": 1,
        "documents": 3,
        "ess": 4.0,
        "gap": 0.0 if exact else 0.25,
        "gap_standard_error": 0.01,
        "conditional": {"estimate": conditional, "nll": {"per_token": 3.0}},
        "by_document": {
            "crc32": list(crc32),
            "nll": nll,
            "tokens": [10, 20, 5],
            "conditional_nll": [nll[0] / 2, nll[1] / 2, 0.0],
            "conditional_tokens": [5, 10, 0],
        },
    }
    figures = {
        "neg_elbo": {"per_token": 4.0, "per_sentence": 40.0},
        "kl": {"per_sentence": 0.0 if exact else 3.0},
        "conditional": None,
        "iwae": iwae,
    }
    if not exact:
        figures |= {
            "active_units": 4,
            "active_units_by_position": [2, 4],
            "latent_dim": 4,
            "mi_full": 1.0,
            "mi_full_by_position": [0.5, 1.0],
            "z_ablation": 0.5,
        }
    return {
        "corpus": "ptb",
        "row": name,
        "seed": seed,
        "machine": "toy",
        "parameters": 1_000_000,
        "tokens_seen": 2_000_000,
        "minutes": 1.0,
        "figures": figures,
    }


def test_by_how_much_a_row_is_above_another(program):
    render = program("render")
    reference = a_row("gru_lm", [40.0, 80.0, 20.0])
    # 10 % more on every document: whichever are drawn, it is 10 %.
    row = a_row("hred", [44.0, 88.0, 22.0])
    assert render.above(row, reference) == "+10.0 % [+10.0, +10.0]"
    said = render.above(row, reference, "conditional_")
    assert said == "+10.0 % [+10.0, +10.0]"
    bound = a_row("hvae", [44.0, 88.0, 22.0], exact=False, conditional="diff")
    assert render.above(bound, reference).startswith("≤+10.0 %")
    assert render.above(bound, reference, "conditional_").startswith("~+10.0")
    assert render.above(bound, None) == render.above(bound, bound) == ""
    # (4 + 32 + 0) / 140 nats; of the documents alone 10, 40 and 0 %.
    uneven = a_row("hred", [44.0, 112.0, 20.0])
    value, low, high = re.findall(
        r"[-+][0-9.]+", render.above(uneven, reference)
    )
    assert float(value) == pytest.approx(25.7)
    assert 0 <= float(low) < float(value) < float(high) <= 40


def test_rows_of_other_documents_are_not_compared(program):
    rows = a_row("a", [1.0] * 3), a_row("b", [1.0] * 3, crc32=(1, 2, 4))
    with pytest.raises(ValueError, match="3 and 3 documents, 2 of them the"):
        program("render").above(*rows)


def test_page_of_rows_and_seeds(program, tmp_path):
    (tmp_path / "ptb").mkdir()
    rows = {
        "gru_lm": a_row("gru_lm", [40.0, 80.0, 20.0]),
        "hvae": a_row("hvae", [41.0, 82.0, 20.5], exact=False),
        "hvae_seed1": a_row("hvae", [41.0] * 3, seed=1, exact=False),
        "gru_lm_seed1": a_row("gru_lm", [40.0] * 3, seed=1),
    }
    rows["hvae_seed1"]["figures"]["iwae"]["gap"] = 0.15
    for name, row in rows.items():
        (tmp_path / f"ptb/{name}.json").write_text(json.dumps(row))
    page = tmp_path / "RESULTS.md"
    program("render").write_page(tmp_path, page, {"ptb": ("gru_lm", "hvae")})
    text = page.read_text()
    # −ELBO less the gap; sample standard deviation of 3.75 and 3.85.
    assert "| 3.750 ± 0.010 | 42.5 |" in text and "| 4.000 | 54.6 |" in text
    assert "with seeds 0, 1, mean (std): NLL / token 3.800 (0.071)" in text
    assert "`gru_lm` with seeds 0, 1" in text
    assert "| 0.75 (1.00) |" in text  # MI
    table = next(x for x in text.splitlines() if x.startswith("| row |"))
    assert "ESS" in table and "with particles" not in table  # empty


def test_rows_of_other_budgets_are_left_out(program, tmp_path):
    (tmp_path / "ptb").mkdir()
    tokens = {"gru_lm": 1_700_000, "vae": 1_850_000, "hvae": 2_000_000}
    for name, seen in tokens.items():
        row = a_row(name, [40.0, 80.0, 20.0]) | {"tokens_seen": seen}
        (tmp_path / f"ptb/{name}.json").write_text(json.dumps(row))
    page = tmp_path / "RESULTS.md"
    program("render").write_page(tmp_path, page, {"ptb": tuple(tokens)})
    text = page.read_text()
    assert "| vae |" in text and "| hvae |" in text
    assert "| gru_lm |" not in text and "above gru_lm |" not in text


def test_rows_from_before_information_was_measured(program):
    render = program("render")
    old = a_row("hvae", [41.0, 82.0, 20.5], exact=False)
    assert "information" not in render.table([old])
    new = a_row("hvae_seed1", [41.0, 82.0, 20.5], exact=False)
    new["figures"] |= {
        "information": 0.69,
        "mismatch": 2.07,
        "z_ablation_length_matched": 0.13,
    }
    assert render.paid(new) == "0.69 (25%)"
    head, _, *lines = render.table([old, new]).splitlines()
    assert "information / sentence" in head and "of the same length" in head
    columns = head.split(" | ")
    cells = [x.split(" | ") for x in lines]
    place = columns.index("information / sentence")
    assert [x[place] for x in cells] == ["", "0.69 (25%)"]
    assert [x[-1] for x in cells] == [" |", "0.13 |"]
    # Not known: a decoder of the text before, positions of one document.
    new["figures"] |= {"information": None, "z_ablation_length_matched": None}
    assert render.paid(new) == render.matched(new) == ""


def test_the_weights_that_are_kept(program, make_hvae, make_ids, monkeypatch):
    """Of the last three of six validations the best, unless it is no number."""
    budget = program("budget").Budget(60, [make_ids(2, 3, 4)], steps=6)
    model = make_hvae()
    model.compile("sgd")
    budget.set_model(model)
    budget.on_train_begin()
    bounds = iter([1.0, 2.0, 3.0, math.nan, 5.0, 6.0])
    figures = {"kl": {"per_sentence": 1.0}}
    monkeypatch.setattr(
        keras_hvae.evaluation,
        "evaluate",
        lambda *args, **kwargs: {
            **figures,
            "neg_elbo": {"per_token": next(bounds)},
        },
    )
    for step in range(6):
        model.kl_weight.assign(step)
        budget.on_train_batch_begin(step)
        budget.on_train_batch_end(step)
    assert [x[1] for x in budget.history] == [1, 2, 3, 4, 5, 6]
    assert budget.best[0] == 5.0 and model.stop_training
    model.set_weights(budget.best[1])
    assert float(keras.ops.convert_to_numpy(model.kl_weight)) == 4.0
