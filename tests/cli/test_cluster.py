"""Trainings on a Ray cluster of two nodes, whose workers are killed."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import pytest

from keras_hvae.cli import cluster, main
from tests.cli.test_resume import contents, end, start, wait_for
from tests.training.test_many_devices import free_ports

ENVIRONMENT = {
    # Ray lets in who has the token.
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
    "RAY_USAGE_STATS_ENABLED": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
ROOT = pathlib.Path(__file__).parents[2]
# The model that JAX compiles in the shortest time.
OPTIONS = ["--model=gru_lm", "--hidden-dim=8", "--embedding-dim=6"]
OPTIONS += ["--dropout=0.2", "--epochs=4", "--batch-size=8", "--workers=2"]
OPTIONS += ["--checkpoint-every=3"]


def children(process):
    """The programs that a process has started, and theirs: ids and names."""
    found, parents = {}, {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            name = (path / "cmdline").read_text().replace("\0", " ")
        except OSError:  # it has ended
            continue
        parents[int(path.name)] = int(fields[1])
        found[int(path.name)] = name

    def is_child(number):
        while number in parents:
            number = parents[number]
            if number == process.pid:
                return True
        return False

    return {number: name for number, name in found.items() if is_child(number)}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """Address and nodes, with a processor each: one worker a node."""
    pytest.importorskip("ray")
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("jax")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(ROOT),
    }
    common = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    common += ["--num-cpus=1", "--object-store-memory=100000000"]
    # Short, for the sockets in it.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        head = ["--head", f"--port={port}", "--node-ip-address=127.0.0.1"]
        head += ["--include-dashboard=false", f"--temp-dir={folder}"]
        running = []
        try:
            for own in (head, [f"--address={address}"]):
                running.append(
                    subprocess.Popen(
                        [*common, *own],
                        env=environment,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                        text=True,
                    )
                )
                said = ""
                while "--block" not in said:
                    line = running[-1].stdout.readline()
                    assert line, said  # it has ended
                    said += line
            yield address, running
        finally:
            numbers = [x for node in running for x in children(node)]
            for number in [*(node.pid for node in running), *numbers]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            for node in running:
                node.communicate()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Model doesn.t support `jit_compile=True`")
@pytest.mark.full
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_a_worker_that_was_killed_changes_nothing(
    backend, nodes, corpus, tmp_path, monkeypatch
):
    for name, value in (ENVIRONMENT | {"KERAS_BACKEND": backend}).items():
        monkeypatch.setenv(name, value)
    address, running = nodes
    options = [*OPTIONS, f"--cluster={address}"]
    process = start(corpus, tmp_path / "m", common=options)
    wait_for(process, tmp_path / "m.unfinished", "checkpoints/epoch-000001*")
    (worker,) = (
        number
        for number, name in children(running[1]).items()
        if "RayTrainWorker" in name
    )
    os.kill(worker, signal.SIGKILL)
    code, said, error = end(process)
    assert code == 0, error
    assert "is lost" in said + error
    whole = start(corpus, tmp_path / "whole", common=options)
    code, said, error = end(whole)
    assert code == 0, error
    assert "is lost" not in said + error
    one, two = contents(tmp_path / "m"), contents(tmp_path / "whole")
    for x, y in zip(one[0], two[0], strict=True):
        np.testing.assert_array_equal(x, y)
    # TensorFlow adds up the metrics of processes, which a checkpoint has the
    # sums of, in another order.
    logs = [x[1].pop("history") for x in (one, two)]
    for name, values in logs[0].items():
        np.testing.assert_allclose(values, logs[1][name], rtol=1e-6)
    for place in (1, 2, 4):
        assert one[place] == two[place]


def refused(capsys, arguments, message):
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


def test_what_a_cluster_refuses(corpus, tmp_path, capsys, monkeypatch):
    out = tmp_path / "m"
    command = ["train", str(corpus), f"--out={out}", "--cluster=local"]
    refused(capsys, [*command, "--workers=0"], "integer >= 1. Received: 0")
    refused(capsys, [*command, "--devices=2"], "`--devices` must be 1")
    refused(capsys, [*command, "--workers=3"], "multiple of `--workers`")
    message = "`--workers` needs `--cluster`"
    refused(capsys, [*command[:-1], "--workers=2"], message)
    # As it is where Ray is not installed.
    monkeypatch.setitem(sys.modules, "ray", None)
    refused(capsys, command, "pip install 'keras-hvae[cluster]'")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("says", [b"HTTP/1.0 400 Bad Request", b""])
def test_an_address_without_a_cluster_is_an_error(
    says, corpus, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(cluster, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def answer():
            with server.accept()[0] as client:
                if says:
                    client.recv(99)
                    client.sendall(says)
                time.sleep(0.5)

        thread = threading.Thread(target=answer)
        thread.start()
        command = ["train", str(corpus), f"--out={tmp_path / 'm'}"]
        message = "address of a Ray cluster that runs, such as `ray start "
        message += f"--head` prints. Received: {address}"
        refused(capsys, [*command, f"--cluster={address}"], message)
        thread.join()
    # Now nobody is there.
    refused(capsys, [*command, f"--cluster={address}"], message)
    refused(capsys, [*command, "--cluster=ray://a:1"], "must be HOST:PORT")
    assert not list(tmp_path.iterdir())
