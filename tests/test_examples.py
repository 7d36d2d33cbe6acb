import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]


def run(name, folder, *arguments):
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_quickstart_and_latent_walk(tmp_path):
    out = run("quickstart.py", tmp_path, "2")
    assert "z-ablation" in out and "Continued: [" in out
    out = run("latent_walk.py", tmp_path, "quickstart.keras", "walk.png")
    assert "6/6" in out
    assert (tmp_path / "walk.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_own_dialogues(tmp_path):
    path = tmp_path / "mine.jsonl"
    line = '{"talk": ["Good morning.", "Good night.", "Who is there?"]}\n'
    path.write_text(line * 30)
    out = run("own_dialogues.py", tmp_path, path, "talk", "1")
    assert "Answer:" in out and "Least probable:" in out


def test_variational_em(tmp_path):
    # It stops by itself where an identity fails.
    out = run("variational_em.py", tmp_path, "--out", "em.png")
    rows = [x.split() for x in out.splitlines() if x[:4].strip().isdigit()]
    figures = np.array(rows, "float64")
    np.testing.assert_allclose(
        figures[:, 1], figures[:, 2] + figures[:, 3], atol=2e-4
    )
    assert (np.diff(figures[:, 2]) > 0).all() and (figures[:, 3] > 0).all()
    assert (tmp_path / "em.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_linear_vae(tmp_path):
    out = run("linear_vae.py", tmp_path, "--out", "vae.png")
    figures = {
        line[:20].strip(" ,"): float(line[20:].split()[0])
        for line in out.splitlines()
        if line.startswith(("ELBO", "20 draws", "pPCA"))
    }
    best = figures["pPCA, exact"]
    for name in ("ELBO at the end", "20 draws, weighted"):
        assert figures[name] == pytest.approx(best, rel=0.01)
    assert (tmp_path / "vae.png").read_bytes().startswith(b"\x89PNG")


def test_quickstart_is_short():
    lines = (ROOT / "examples" / "quickstart.py").read_text().split('"""')[::2]
    code = [x for x in "".join(lines).splitlines() if x.strip()]
    assert len(code) <= 60
