"""The table of models of vectors, at toy size."""

import importlib
import json
import pathlib
import sys

import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"
TOY = "--epochs 2 --orders 2 --samples 3 --documents 5 --verbose 0".split()


@pytest.fixture(scope="module")
def program():
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("generative")
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def data(tmp_path):
    """A folder with a toy set of bits and 30 toy digits."""
    rng = np.random.default_rng(0)
    (tmp_path / "nade_uci").mkdir()
    (tmp_path / "mnist").mkdir()
    bits = rng.integers(0, 2, (20, 12), "uint8")
    packed = np.packbits(bits, axis=1)
    np.savez(
        tmp_path / "nade_uci" / "dna.npz",
        train=packed,
        valid=packed,
        test=packed,
        n=12,
    )
    images = rng.integers(0, 256, (30, 28, 28), "uint8")
    labels = np.arange(30) % 10
    np.savez(
        tmp_path / "mnist" / "mnist.npz",
        x_train=images,
        x_test=images,
        y_train=labels,
        y_test=labels,
    )
    return tmp_path


@pytest.mark.slow
@pytest.mark.eager
def test_rows_pages_and_pictures(program, data, monkeypatch, capsys):
    monkeypatch.setattr(program, "VALID", 10)
    out = data / "results"

    def run(*arguments):
        program.main([str(x) for x in arguments])

    for name, rows in (("dna", program.OF_UCI), ("mnist", ("vae", "vae_2"))):
        run("train", name, *rows, "--data", data, "--out", out, *TOY)
        for row in rows:
            result = json.loads((out / name / f"{row}.json").read_text())
            assert result["row"] == row and result["parameters"] > 0
            for split in ("valid", "test"):
                for figure in result[split].values():
                    assert np.isfinite(figure["mean"]) and figure["rows"] == 5
    # Twelve fair coins, of which two passes learn little.
    nats = json.loads((out / "dna/fvsbn.json").read_text())["test"]
    assert nats["log_prob"]["mean"] == pytest.approx(-12 * np.log(2), rel=0.2)
    bounds = json.loads((out / "mnist/vae.json").read_text())["test"]
    assert bounds["bound"]["num_samples"] == 3
    assert bounds["elbo"]["mean"] < bounds["bound"]["mean"] < 0
    run("draw", "--data", data, "--results", out)
    run("render", "--results", out, "--page", data / "PAGE.md")
    page = (data / "PAGE.md").read_text()
    for row in (*program.OF_UCI, "vae", "vae_2"):
        assert f"\n| {row} | " in page
    assert "nade | " in page and "−84.81 M" in page
    for picture in program.PICTURES:
        assert (out / picture).stat().st_size > 1000
        assert f"(results/{picture})" in page
    capsys.readouterr()
    run("train", "dna", "fvsbn", "--data", data, "--out", out, *TOY)
    assert "is there" in capsys.readouterr().out
    run("list")
    assert "dna: independent mixture" in capsys.readouterr().out


def test_the_page_is_of_the_committed_rows(program, tmp_path):
    page = BENCHMARKS / "GENERATIVE.md"
    copy = BENCHMARKS / f"{tmp_path.name}.md"
    try:
        program.main(["render", "--page", str(copy), "--no-pictures"])
        assert copy.read_text() == page.read_text()
    finally:
        copy.unlink(missing_ok=True)
