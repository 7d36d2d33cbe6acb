"""`keras-hvae train` on a Ray cluster: workers that share each batch."""

import argparse
import contextlib
import os
import pathlib
import socket
from typing import Any

from keras_hvae.cli.cluster import connected
from keras_hvae.cli.work_folder import CHECKPOINTS

# Of bad input, and of a training that diverged: not tried again.
FINAL = (
    ValueError,
    ImportError,
    NotImplementedError,
    FileNotFoundError,
    PermissionError,
)


def train_on_cluster(args: argparse.Namespace, out: pathlib.Path) -> None:
    """Runs `train` by Ray Train, in `--workers` processes.

    If one of them is lost, all end and begin anew, from the last checkpoint.
    The first one writes.

    Args:
        args: of the command.
        out: path of the folder that is written to, which all machines see.
    """
    import keras

    backend = keras.config.backend()
    if backend == "torch":
        raise ValueError(
            "`--cluster` trains on JAX and TensorFlow (KERAS_BACKEND). "
            f"Received: {backend}"
        )
    options = {k: v for k, v in vars(args).items() if k != "run"}
    # Workers have another working directory.
    if os.path.exists(args.corpus):
        options["corpus"] = os.path.abspath(args.corpus)
    with connected(args, log=True) as (ray, has_gpu):
        from ray.train import (
            ControllerError,
            FailureConfig,
            RunConfig,
            ScalingConfig,
            UserCallback,
        )
        from ray.train.tensorflow import TensorflowConfig
        from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

        class FinalErrors(UserCallback):
            def after_exception(self, run_context, worker_exceptions):
                for rank, error in worker_exceptions.items():
                    if isinstance(error, FINAL):
                        raise error
                    print(f"Worker {rank} is lost: {type(error).__name__}.")

        class Trainer(DataParallelTrainer):
            def _register_sigint_handler(self, controller):
                """Leaves Ctrl-C as it is: Ray would exit with 0."""

        trainer = Trainer(
            train_part,
            train_loop_config={"options": options, "out": str(out)},
            # Tells TensorFlow the addresses of all workers, by `TF_CONFIG`.
            backend_config=TensorflowConfig() if backend != "jax" else None,
            scaling_config=ScalingConfig(
                num_workers=args.workers, use_gpu=has_gpu
            ),
            run_config=RunConfig(
                storage_path=str(out / CHECKPOINTS),
                failure_config=FailureConfig(max_failures=args.max_restarts),
                callbacks=[FinalErrors()],
            ),
        )
        try:
            trainer.fit()
        except ControllerError as error:
            raise error.controller_failure from error


def train_part(config: dict) -> None:
    """What each worker does."""
    import keras
    from ray.train import get_context

    from keras_hvae.cli.train import finish, train_model

    args = argparse.Namespace(**config["options"])
    out = pathlib.Path(config["out"])
    rank = get_context().get_world_rank()
    # Before the scope: Keras would have all workers agree on a seed.
    keras.utils.set_random_seed(args.seed)
    with contextlib.ExitStack() as stack:
        if rank:
            nowhere = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        with _one_of(args.workers, rank):
            trained = train_model(args, out, writes=rank == 0)
    if rank == 0:
        finish(args, out, trained)


def _one_of(workers: int, rank: int) -> Any:
    """The scope of a model that processes train together."""
    import keras
    from ray.train.collective import broadcast_from_rank_zero
    from ray.util import get_node_ip_address

    from keras_hvae.data.replicas import many_workers

    if workers == 1:
        return contextlib.nullcontext()
    if keras.config.backend() == "tensorflow":
        return many_workers()
    with socket.socket() as free:
        free.bind(("", 0))
        address = f"{get_node_ip_address()}:{free.getsockname()[1]}"
    address = broadcast_from_rank_zero(address)
    keras.distribution.initialize(address, workers, rank)
    return keras.distribution.DataParallel().scope()
