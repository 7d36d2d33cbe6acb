"""Several devices and processes train the model that one device does."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from keras_hvae.cli import main
from tests.cli.conftest import OPTIONS, write_corpus
from tests.cli.test_resume import contents, end, start, wait_for

WORKER = pathlib.Path(__file__).with_name("train_worker.py")


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus.txt")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for x in sockets:
        x.bind(("127.0.0.1", 0))
    ports = [x.getsockname()[1] for x in sockets]
    for x in sockets:
        x.close()
    return ports


def train(tmp_path, backend, devices=1, processes=1, **settings):
    """Weights of each process behind the training, and its history."""
    settings |= {"devices": devices, "processes": processes}
    settings["ports"] = free_ports(processes)
    env = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    # JAX compiles longer than it trains.
    env["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
    running, outs = [], []
    for process in range(processes):
        name = f"{backend}-{devices}-{processes}-{process}.npz"
        outs.append(tmp_path / name)
        given = json.dumps(
            {**settings, "process": process, "out": str(outs[-1])}
        )
        running.append(
            subprocess.Popen(
                [sys.executable, "-W", "error::UserWarning", WORKER, given],
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    try:
        for x in running:
            text, _ = x.communicate(timeout=900)
            assert x.returncode == 0, text[-5000:]
    finally:
        for x in running:
            x.kill()
    results = []
    for out in outs:
        with np.load(out) as file:
            arrays = [file[f"arr_{i}"] for i in range(len(file.files))]
        history = json.loads(pathlib.Path(f"{out}.json").read_text())
        half = len(arrays) // 2
        results.append((arrays[:half], arrays[half:], history))
    return results


def check_equal(result, expected, padded=("val_loss",), atol=1e-6):
    weights, _, history = result
    others, start, other_history = expected
    moved = max(np.abs(x - y).max() for x, y in zip(others, start))
    assert moved > 1e-2  # it has learned
    for x, y in zip(weights, others, strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=atol)
    assert sorted(history) == sorted(other_history)
    for key, values in history.items():
        # Keras weighs batches by their rows, also those of padding.
        tolerance = 0.1 if key in padded else 1e-5
        np.testing.assert_allclose(
            values, other_history[key], rtol=tolerance, err_msg=key
        )


# All that is summed over the global batch.
MODEL = {
    "kl_weight": 0.5,
    "free_bits": 2.0,
    "free_bits_mode": "batch",
    "bow_weight": 0.3,
    "mean_norm": 0.7,
}
RATE = {"rate": 2.0, "kl_weight": 0.5}
SETTINGS = {
    "jax": {"model": MODEL, "clip": {"clipnorm": 0.1}, "corpus": "npz"},
    "tensorflow": {"model": MODEL, "clip": {"global_clipnorm": 0.5}},
    "jax, rate": {"model": RATE, "clip": {"clipnorm": 0.1}, "corpus": "npz"},
    "tensorflow, rate": {"model": RATE, "clip": {"global_clipnorm": 0.5}},
}


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("name", SETTINGS)
def test_two_devices_and_two_processes_train_as_one_device(name, tmp_path):
    settings, backend = SETTINGS[name], name.partition(",")[0]
    # A rate's sums of log-densities are some 10 nats.
    atol = 1e-5 if "rate" in name else 1e-6
    (expected,) = train(tmp_path, backend, **settings)
    (two_devices,) = train(tmp_path, backend, devices=2, **settings)
    check_equal(two_devices, expected, atol=atol)
    for result in train(tmp_path, backend, processes=2, **settings):
        check_equal(result, expected, atol=atol)


@pytest.mark.slow
@pytest.mark.full
def test_two_processes_share_arrays(tmp_path):
    settings = {**SETTINGS["jax"], "corpus": "arrays", "steps": 2}
    (expected,) = train(tmp_path, "jax", **settings)
    for result in train(tmp_path, "jax", processes=2, **settings):
        check_equal(result, expected, padded=("loss", "val_loss"))


@pytest.mark.slow
@pytest.mark.full
def test_the_shell_trains_on_two_devices_and_goes_on(corpus, tmp_path):
    options = [*OPTIONS, "--checkpoint-every=3", "--devices=2"]
    whole = start(corpus, tmp_path / "whole", common=options)
    assert end(whole)[0] == 0
    process = start(corpus, tmp_path / "m", common=options)
    wait_for(process, tmp_path / "m.unfinished", "checkpoints/epoch-000001*")
    process.kill()
    end(process)
    resumed = start(corpus, tmp_path / "m", "--resume", common=options)
    code, _, error = end(resumed)
    assert code == 0, error
    one, two = contents(tmp_path / "whole"), contents(tmp_path / "m")
    for x, y in zip(one[0], two[0], strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-6)


def test_a_batch_must_be_shared_evenly(corpus, tmp_path, capsys):
    command = ["train", str(corpus), f"--out={tmp_path / 'model'}"]
    assert main([*command, "--devices=3", "--batch-size=8"]) == 1
    assert "a multiple of `--devices`" in capsys.readouterr().err
    assert main([*command, "--devices=0"]) == 1
    assert "`devices` must be an integer >= 1" in capsys.readouterr().err
