"""The results table's programs, at toy size."""

import importlib
import json
import math
import pathlib
import random
import re
import sys

import pytest

import keras_hvae

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"
TOY = [
    *("--epochs", "2", "--batch-size", "16"),
    *("--samples", "2", "--documents", "6"),
    *("--set", "embedding_dim=32", "hidden_dim=128"),
]
TOYS = "ptb", "dailydialog"


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
        return " ".join(rng.choices(words, k=rng.randint(2, 4)))

    for name in ("ptb", "dailydialog"):
        (folder / name).mkdir()
    for split, count in (("train", 32), ("valid", 16), ("test", 16)):
        lines = "".join(f" {sentence()} \n" for _ in range(count))
        with lzma.open(folder / f"ptb/ptb.{split}.txt.xz", "wt") as file:
            file.write(lines)
        path = folder / f"dailydialog/{split}.jsonl.xz"
        with lzma.open(path, "wt") as file:
            for _ in range(count):
                turns = [sentence() for _ in range(rng.randint(2, 3))]
                file.write(json.dumps({"t": turns}) + "\n")
    return folder


@pytest.fixture(scope="module")
def arrays(program, data):
    """Of both corpora, what `prepare` writes."""
    for corpus in TOYS:
        out = data / f"{corpus}.npz"
        command = ["prepare", corpus, "--data", data, "--out", out]
        program("table").main([str(x) for x in command])
    return data


@pytest.mark.slow
@pytest.mark.eager
def test_every_row_and_the_page(table, program, arrays, tmp_path):
    out, results, first = tmp_path / "table", {}, {}
    for corpus in TOYS:
        rows = program("table").CORPORA[corpus][0]
        rows = [row for row in rows if row not in results]
        first[corpus] = rows[0]
        command = ["train", arrays / f"{corpus}.npz", *rows, *TOY]
        command += ["--out", out]
        said = table(*command)
        for row in rows:
            assert f"{corpus}/{row}, valid:" in said
            path = out / corpus / f"{row}.json"
            results[row] = json.loads(path.read_text())
    assert {*results} == {*program("table").MODELS}
    assert "is there" in table(*command)  # and is not trained again
    again = ["evaluate", arrays / "ptb.npz", "--split", "test", "--out", out]
    assert "ptb/vae, test:" in table(*again, *TOY[2:8])
    for result in results.values():
        assert result["figures"]["iwae"]["documents"] == 6
        assert result["epochs"] == len(result["history"]["val_nll"]) == 2
        assert not [*(out / result["corpus"]).glob("*.checkpoints")]
        # As many parameters as the others of the corpus, the same split.
        other = results[first[result["corpus"]]]
        for key in ("tokens_seen", "valid_tokens"):
            assert result[key] == other[key]
        tokens = {x["figures"]["tokens"] for x in (result, other)}
        assert len(tokens) == 1
    assert results["hvae_pretrained"]["options"]["pretraining"] == 0.25
    assert "mutual_information" in results["hvae_aggressive"]["history"]
    assert results["hvae_text"]["options"]["past"] == "text"
    page = tmp_path / "RESULTS.md"
    table("render", "--results", out, "--page", page)
    text = page.read_text()
    assert text.count(" % [") == 5 + 3  # above gru_lm, above hred
    assert all(f"| {row} |" in text for row in results)
    assert "AE pre-training + free bits" in text  # published rows beside
    for picture in ("table.png", "curves.png"):
        assert (out / picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.eager
def test_a_row_that_was_stopped_goes_on(table, program, arrays, tmp_path):
    """In its second epoch, or behind it: it ends as one that was not."""

    def run(out):
        command = ["train", arrays / "ptb.npz", "hvae", *TOY, "rate=1.0"]
        table(*command, "--out", out)
        row = json.loads((out / "ptb/hvae.json").read_text())
        return row["history"], row["figures"]["neg_elbo"]

    whole = run(tmp_path / "whole")
    converge = program("converge")
    evaluate = keras_hvae.models.DocumentModel.evaluate
    calls = []

    class Stopped(Exception):
        pass

    def stop(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise Stopped
        return evaluate(self, *args, **kwargs)

    def stop_at_all(*args, **kwargs):
        raise Stopped

    for place, name, stand_in in (
        (keras_hvae.models.DocumentModel, "evaluate", stop),
        (keras_hvae.evaluation, "evaluate", stop_at_all),  # it is trained then
    ):
        out = tmp_path / place.__name__
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(converge, "EVERY", 1)
            patch.setattr(place, name, stand_in)
            with pytest.raises(Stopped):
                run(out)
        assert not (out / "ptb/hvae.json").exists()
        assert run(out) == whole
        assert not [*out.glob("*/*.checkpoints")]


@pytest.mark.slow
@pytest.mark.eager
def test_the_curve_of_rate_and_distortion(program, arrays, tmp_path, capsys):
    out = tmp_path / "points"
    command = [
        "train",
        arrays / "ptb.npz",
        "rate0",
        "rate2",
        "autoencoder",
        "gru_lm",
    ]
    command += ["--epochs", 2, "--samples", 2, "--documents", 4, "--out", out]
    command += ["--set", "embedding_dim=32", "hidden_dim=128"]
    curve = program("rate_distortion")
    curve.main([str(x) for x in command])
    out = out / "ptb"
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


def test_list_names_all_rows(table):
    said = table("list")
    assert "cornell: gru_lm hred vhred vhcr hvae hvae_text" in said
    assert all(f"{corpus}: " in said for corpus in TOYS)


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
        "split": "valid",
        "batch_size": 64,
        "epochs": 2,
        "of_epochs": 2,
        "best_epoch": 1,
        "valid_documents": 3,
        "valid_tokens": 35,
        "history": {"val_nll": [50.0, 60.0]},
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


def test_rows_of_other_settings_are_not_compared(program, tmp_path):
    (tmp_path / "ptb").mkdir()
    for name, epochs in (("gru_lm", 2), ("hvae", 3)):
        row = a_row(name, [40.0, 80.0, 20.0]) | {"of_epochs": epochs}
        (tmp_path / f"ptb/{name}.json").write_text(json.dumps(row))
    page = tmp_path / "RESULTS.md"
    with pytest.raises(ValueError, match="one of_epochs. Received: .*: 3}"):
        program("render").write_page(
            tmp_path, page, {"ptb": ("gru_lm", "hvae")}
        )
    assert not page.exists()


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
    assert render.paid(new["figures"]) == "0.69 (25%)"
    head, _, *lines = render.table([old, new]).splitlines()
    assert "information / sentence" in head and "of the same length" in head
    columns = head.split(" | ")
    cells = [x.split(" | ") for x in lines]
    place = columns.index("information / sentence")
    assert [x[place] for x in cells] == ["", "0.69 (25%)"]
    assert [x[-1] for x in cells] == [" |", "0.13 |"]
    # Of the training documents, which are more; two of ten positions.
    new["on_train"] = {
        "information": 1.8,
        "mismatch": 0.2,
        "information_by_position": [1.9, 1.6, None],
        "kl_by_position": [2.0, 2.0, 0.0],
    }
    said = render.table([new])
    assert "1.80 (90%) | 80% |" in said
    # Not known: a decoder of the text before, positions of one document.
    new["figures"] |= {"information": None, "z_ablation_length_matched": None}
    assert render.paid(new["figures"]) == render.matched(new) == ""
