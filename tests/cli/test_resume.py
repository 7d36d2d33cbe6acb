"""Trainings of the shell that are stopped, killed, and go on."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_hvae.cli import main
from keras_hvae.files import lock_file
from tests.cli.conftest import TINY, write_corpus

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).parents[2]
OPTIONS = [*TINY, "--checkpoint-every=3", "--initial-prior=empirical"]


def start(corpus, out, *options, common=OPTIONS):
    # Shells let background jobs ignore it, and so all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command = [sys.executable, "-m", "keras_hvae.cli", "train", corpus]
    return subprocess.Popen(
        [*command, "--out", out, *common, *options],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process, folder, pattern, count=1):
    deadline = time.monotonic() + 900
    while len(list(folder.glob(pattern))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def end(process):
    out, error = process.communicate(timeout=900)
    return process.returncode, out, error


def contents(out):
    """What a training ends with, but for the time it took."""
    model = keras.saving.load_model(out / "model.keras")
    weights = [*model.weights, *model.optimizer.variables]
    metrics = json.loads((out / "metrics.json").read_text())
    del metrics["training_seconds"]
    settings = json.loads((out / "settings.json").read_text())
    del settings["out"]
    return (
        [keras.ops.convert_to_numpy(x) for x in weights],
        metrics,
        settings,
        (out / "log.csv").read_text(),
        sorted(x.name for x in out.iterdir()),
    )


def test_killed_trainings_go_on(corpus, tmp_path):
    whole = start(corpus, tmp_path / "whole")
    assert end(whole)[0] == 0
    out = tmp_path / "m"
    unfinished = tmp_path / "m.unfinished"
    options = ()
    # At the first checkpoint, then with two more.
    for count in (1, 2):
        process = start(corpus, out, *options)
        wait_for(process, unfinished, "checkpoints/epoch-*", count)
        process.send_signal(signal.SIGKILL)
        assert end(process)[0] == -signal.SIGKILL
        options = ("--resume",)
    assert not out.exists()
    # The corpus may have moved.
    moved = write_corpus(tmp_path / "moved.txt")
    code, said, error = end(start(moved, out, "--resume"))
    assert code == 0, error
    assert not unfinished.exists()
    one, two = contents(tmp_path / "whole"), contents(out)
    for x, y in zip(one[0], two[0], strict=True):
        np.testing.assert_array_equal(x, y)
    for settings in (one[2], two[2]):  # of which that is the digest
        del settings["corpus"], settings["sha256"]
    assert one[1:] == two[1:]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_stops_in_time(corpus, tmp_path, number, code):
    out, unfinished = tmp_path / "m", tmp_path / "m.unfinished"
    process = start(corpus, out, "--epochs=9999")
    wait_for(process, unfinished, "checkpoints/epoch-*", 2)
    # Another one into the same folder is refused while this one lives.
    other = start(corpus, out, "--epochs=9999", "--resume")
    assert end(other)[0] == 1
    assert process.poll() is None
    begin = time.monotonic()
    process.send_signal(number)
    found, said, error = end(process)
    assert time.monotonic() - begin < 10.5
    assert found == code
    # Under load the process may have been ended before it could say so.
    assert "--resume" in said or "Interrupted." not in error
    checkpoints = sorted(unfinished.glob("checkpoints/*"))
    assert len(checkpoints) == 2
    assert not out.exists()


def test_what_is_refused(corpus, tmp_path, capsys):
    out, unfinished = tmp_path / "m", tmp_path / "m.unfinished"
    arguments = ["train", str(corpus), "--out", str(out), *OPTIONS]
    assert main([*arguments, "--resume"]) == 1
    assert f"no {unfinished}" in capsys.readouterr().err
    process = start(corpus, out)
    wait_for(process, unfinished, "checkpoints/epoch-*", 2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = {x: x.read_bytes() for x in unfinished.glob("checkpoints/*")}

    def refused(message, *options):
        assert main([*arguments, *options]) == 1
        assert message in capsys.readouterr().err

    refused("go on with it by `--resume`")
    refused("`hidden_dim` must be 8, ", "--resume", "--hidden-dim=9")
    refused("`seed` must be 0, ", "--resume", "--seed=5")
    other = write_corpus(tmp_path / "other.txt", seed=1)
    arguments[1] = str(other)
    refused("`corpus` must be ", "--resume")
    arguments[1] = str(corpus)
    with lock_file(unfinished / "lock", "This test"):
        refused(f"process {os.getpid()}", "--resume")
    assert {x: x.read_bytes() for x in unfinished.glob("checkpoints/*")} == kept
    (unfinished / "notes.txt").write_text("mine")
    refused("Received: notes.txt", "--resume")
