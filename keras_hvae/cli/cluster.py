"""Commands on a Ray cluster.

Ray, because it does both in one: bulk inference (Ray Data) and training in
several processes (Ray Train), and restarts workers that are lost.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import socket
from collections.abc import Iterator
from typing import Any

from keras_hvae.arguments import check_positive_int

SECONDS = 5.0  # for an answer of the cluster
# What a client of gRPC says first: HTTP/2, and no settings of its own. The
# server answers with its settings, a frame of this type.
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4] + [0] * 5)
SETTINGS = 4
# Of this process's environment, what workers are told.
VARIABLES = "JAX_COMPILATION_CACHE_DIR", "TF_CPP_MIN_LOG_LEVEL", "XLA_FLAGS"
# Ray Train would print again what workers print, and pages of its own.
QUIET = {
    f"RAY_TRAIN_ENABLE_{name}": "0"
    for name in (
        "CONTROLLER_STRUCTURED_LOGGING",
        "PRINT_PATCH",
        "WORKER_STRUCTURED_LOGGING",
    )
}


@contextlib.contextmanager
def connected(args: argparse.Namespace, log: bool = False) -> Iterator[tuple]:
    """Connects to the cluster `args.cluster`, for `args.workers` workers.

    Args:
        args: of the command.
        log: whether what workers print is printed here.

    Yields:
        The module `ray`, and whether each worker has a GPU.

    Raises:
        ConnectionError: if no cluster answers.
        ImportError: without Ray.
        ValueError: if the cluster has fewer GPUs or processors than workers.
    """
    check_positive_int(workers=args.workers)
    _check_address(args.cluster)
    try:
        import ray
        import ray.data
        import ray.train
    except ImportError as error:
        raise ImportError(
            "`--cluster` needs Ray: pip install 'keras-hvae[cluster]'. "
            f"Received: {error}"
        ) from error
    import keras

    variables = {x: os.environ[x] for x in VARIABLES if x in os.environ}
    variables |= {**QUIET, "KERAS_BACKEND": keras.config.backend()}
    options: dict[str, Any] = {
        "address": args.cluster,
        "runtime_env": {"env_vars": variables},
        "log_to_driver": log,
        "logging_config": ray.LoggingConfig(log_level="ERROR"),
    }
    if args.cluster == "local":
        # More workers than processors are slow, but do run.
        options["num_cpus"] = max(args.workers, os.cpu_count() or 1)
        options["include_dashboard"] = False
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**options)
        # Ray has one of its own.
        signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)
        there = ray.cluster_resources()
        kind = "GPU" if there.get("GPU") else "CPU"
        if there.get(kind, 0) < args.workers:
            raise ValueError(
                f"`--workers` must be at most {there.get(kind, 0):.0f}, the "
                f"number of {kind}s of the cluster. Received: {args.workers}"
            )
        yield ray, kind == "GPU"
    finally:
        ray.shutdown()


def _check_address(address):
    """Raises an error within seconds: Ray itself waits for minutes."""
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise ValueError(
            f"`--cluster` must be HOST:PORT, auto or local. Received: {address}"
        )
    try:
        with socket.create_connection((host, int(port)), SECONDS) as server:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                server.sendall(GREETING)
                answer = server.recv(9)
                if answer[3:4] != bytes([SETTINGS]):
                    raise OSError(f"no answer of Ray: {answer!r}")
    except OSError as error:
        raise ConnectionError(
            "`--cluster` must be the address of a Ray cluster that runs, such "
            "as `ray start --head` prints. "
            f"Received: {address}, and {error}"
        ) from error


def on_cluster(verb: str, args: argparse.Namespace) -> None:
    """Runs `encode`, `score` or `generate` by Ray Data, part by part.

    One task reads each file; each worker has a model and writes parts.
    """
    from keras_hvae.cli import bulk

    check_positive_int(workers=args.workers, batch_size=args.batch_size)
    files = bulk.start(verb, args)
    out = pathlib.Path(args.out).resolve()
    args = argparse.Namespace(
        **{k: v for k, v in vars(args).items() if k != "run"}
    )
    args.out = str(out)

    def read(row):
        path = pathlib.Path(row["path"])
        for part in bulk.parts(path, row["number"], args.key):
            if not (out / part.name).exists():
                yield {"part": json.dumps(part)}

    class Worker:
        def __init__(self):
            self.worker = bulk.Worker(verb, args)

        def __call__(self, batch):
            parts = [bulk.Part(*json.loads(x)) for x in batch["part"]]
            for part in parts:
                self.worker.do(part)
            return {"name": [part.name for part in parts]}

    items = [
        {"path": str(x.resolve()), "number": i} for i, x in enumerate(files)
    ]
    with connected(args) as (ray, has_gpu):
        # A block a part: Ray gives a worker no less than a block.
        ray.data.DataContext.get_current().target_max_block_size = 1
        done = (
            ray.data.from_items(items, override_num_blocks=len(items))
            # Readers are not to wait for workers that hold all processors.
            .flat_map(read, num_cpus=0, concurrency=args.workers)
            .map_batches(
                Worker,
                batch_size=1,
                num_gpus=int(has_gpu),
                compute=ray.data.ActorPoolStrategy(size=args.workers),
            )
        )
        for _ in done.iter_rows():
            pass
    counts = bulk.finish(args)
    text = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    print(f"{args.out}/: {text}")
