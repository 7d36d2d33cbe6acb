import os
import pathlib
import subprocess
import sys

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


def test_quickstart_is_short():
    lines = (ROOT / "examples" / "quickstart.py").read_text().split('"""')[::2]
    code = [x for x in "".join(lines).splitlines() if x.strip()]
    assert len(code) <= 60
