"""How much faster do two processes train, each on a core of its own?

    python benchmarks/scaling.py [--backend jax|tensorflow] [--rounds 2]

Trains a model of the default size on the same global batches, by one process
pinned to a core and by two pinned to a core each, in turn. Prints a line for
each, with the real tokens per second behind the first epoch, and the ratio.
Random documents, 10,000 words: only the speed is looked at.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time

import numpy as np

SENTENCES, WORDS, VOCABULARY = 8, 20, 10_000


def work(args):
    """One process; the first one prints its speed."""
    import keras

    import keras_hvae

    addresses = [f"127.0.0.1:{port}" for port in args.ports]
    count = len(addresses)
    if count == 1:
        scope = keras_hvae.training.many_devices(1)
    elif args.backend == "jax":
        keras.distribution.initialize(addresses[0], count, args.work)
        scope = keras.distribution.DataParallel().scope()
    else:
        task = {"type": "worker", "index": args.work}
        os.environ["TF_CONFIG"] = json.dumps(
            {"cluster": {"worker": addresses}, "task": task}
        )
        import tensorflow as tf

        scope = tf.distribute.MultiWorkerMirroredStrategy().scope()
    keras.utils.set_random_seed(0)
    shape = args.steps * args.batch_size, SENTENCES, WORDS
    ids = np.random.default_rng(0).integers(4, VOCABULARY, shape)
    ids[..., -1] = keras_hvae.ids.EOS_ID

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.perf_counter(), time.process_time()

        def on_epoch_end(self, epoch, logs=None):
            self.wall = time.perf_counter() - self.began[0]
            self.busy = (time.process_time() - self.began[1]) / self.wall

    with scope:
        model = keras_hvae.HVAE(VOCABULARY, seed=0)
        model.compile("adam", jit_compile=args.backend == "jax")
        model.fit(
            ids,
            batch_size=args.batch_size,
            epochs=2,
            shuffle=False,
            verbose=0,
            callbacks=[clock := Clock()],
        )
    if args.work == 0:
        speed = {
            "backend": args.backend,
            "processes": count,
            "parameters": model.count_params(),
            "tokens_per_second": round(ids.size / clock.wall),
            "processor_share": round(clock.busy, 2),
        }
        print(json.dumps(speed))


def run(count, args):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(x.getsockname()[1]) for x in sockets]
    for x in sockets:
        x.close()
    running = []
    for index in range(count):
        command = ["taskset", "-c", str(index), sys.executable, __file__]
        command += ["--work", str(index), "--ports", *ports]
        for name in ("backend", "steps", "batch_size"):
            command += [f"--{name.replace('_', '-')}={getattr(args, name)}"]
        running.append(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                text=True,
                env={
                    **os.environ,
                    "KERAS_BACKEND": args.backend,
                    "TF_CPP_MIN_LOG_LEVEL": "3",
                },
            )
        )
    outs = [x.communicate()[0] for x in running]
    if any(x.returncode for x in running):
        sys.exit("A process failed: see above.")
    print(outs[0].strip(), flush=True)
    return json.loads(outs[0].splitlines()[-1])["tokens_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backend", default="jax")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--ports", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work is not None:
        return work(args)
    for _ in range(args.rounds):
        one, two = (run(count, args) for count in (1, 2))
        print(f"ratio {two / one:.2f}", flush=True)


if __name__ == "__main__":
    main()
