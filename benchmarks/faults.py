"""Kills trainings, and compares what they end with: figures of FAULTS.md.

    python benchmarks/faults.py resume --kills 20 --writes 10 [--backend jax]
    python benchmarks/faults.py cost

`resume` trains a small model of each kind of corpus without a stop, and then
again: processes are killed with SIGKILL, at random batches or while they
write a checkpoint, and the next one goes on. `cost` measures what the
checkpoints of a training take of its time, with the model and the corpus of
the preset and the default interval. `train` is one process of `resume`.
"""

import argparse
import hashlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

WORDS = "the a king queen sees loves hates dog cat old".split()
CORPORA = ("text", "npz", "records")


def make_corpora(folder):
    """The same documents as text, as an npz file and as TFRecords."""
    rng = random.Random(0)
    documents = [
        [
            " ".join(rng.choices(WORDS, k=rng.randint(1, 6)))
            for _ in range(rng.randint(2, 4))
        ]
        for _ in range(100)
    ]
    text = folder / "corpus.txt"
    text.write_text("\n\n".join("\n".join(x) for x in documents) + "\n")
    from keras_hvae.data import load

    corpus = load(text, batch_size=8)
    corpus.save(folder / "corpus.npz")
    corpus.save(folder / "records")


def train(args):
    """One process: trains to the end, or to its death; prints what it has."""
    import keras

    import keras_hvae

    class Killer(keras.callbacks.Callback):
        """SIGKILL after a number of batches of this process."""

        seen = 0

        def on_train_batch_end(self, batch, logs=None):
            self.seen += 1
            if self.seen == args.kill_after:
                os.kill(os.getpid(), args.signal)

    folder = pathlib.Path(args.folder)
    if args.kill_write:
        threading.Thread(
            target=kill_in_a_write, args=(folder, args.kill_write), daemon=True
        ).start()
    keras.utils.set_random_seed(1)
    names = {"text": "corpus.txt", "npz": "corpus.npz"}
    corpus = keras_hvae.data.load(
        folder.parent / names.get(args.corpus, args.corpus), batch_size=8
    )
    model = keras_hvae.HVAE(
        corpus.vocabulary, 3, 6, 8, dropout=0.2, word_dropout=0.2, seed=1
    )
    folder.mkdir(exist_ok=True)
    plan = keras_hvae.training.recipe(
        corpus,
        epochs=args.epochs,
        best_model=folder / "best.keras",
        verbose=0,
    )
    model.compile(plan.optimizer)
    log = keras.callbacks.CSVLogger(folder / "log.csv")
    checkpoint = keras_hvae.training.Checkpoint(
        folder / "checkpoints", every=args.every
    )
    # Its figures take most of the time of such a small model.
    slow = keras_hvae.callbacks.LatentDiagnostics
    callbacks = [x for x in plan.callbacks if not isinstance(x, slow)]
    history = model.fit(
        corpus.train,
        validation_data=corpus.valid,
        epochs=plan.epochs,
        callbacks=[*callbacks, log, Killer(), checkpoint],
        shuffle=False,
        verbose=0,
    ).history
    best = keras_hvae.load_model(folder / "best.keras")
    result = {
        "variables": digest([*model.variables, *model.optimizer.variables]),
        "best": digest(best.weights),
        "log": hashlib.sha256((folder / "log.csv").read_bytes()).hexdigest(),
        "history": {k: [float(x) for x in v] for k, v in history.items()},
        "batches": int(model.optimizer.iterations),
    }
    print(json.dumps(result))


def digest(variables):
    """SHA-256 of the values of variables."""
    from keras import ops

    sums = hashlib.sha256()
    for variable in variables:
        sums.update(ops.convert_to_numpy(variable).tobytes())
    return sums.hexdigest()


def kill_in_a_write(folder, number):
    """Kills this process while its `number`th checkpoint is written."""
    seen = set()
    while True:
        try:
            names = os.listdir(folder / "checkpoints")
        except FileNotFoundError:
            names = []
        seen.update(x for x in names if x.startswith(".epoch-"))
        if len(seen) >= number:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.0001)


def start(folder, corpus, backend, *options):
    """Runs `train`; returns its exit code and what it has printed."""
    done = subprocess.run(
        [sys.executable, __file__, "train", folder, "--corpus", corpus]
        + [str(x) for x in options],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            # Each process would compile the same programs again.
            "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "jax"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        },
    )
    if done.returncode not in (0, -signal.SIGKILL):
        sys.exit(f"A training failed:\n{done.stdout}{done.stderr}")
    warned = "the one before" in done.stderr
    return done.returncode, done.stdout, warned


def resume(args):
    """Compares trainings that were killed with one that was not."""
    rng = random.Random(args.seed)
    kills = {"batch": args.kills, "write": args.writes}
    with tempfile.TemporaryDirectory() as temporary:
        temporary = pathlib.Path(temporary)
        make_corpora(temporary)
        for index, corpus in enumerate(args.corpora):
            begin = time.perf_counter()
            _, out, _ = start(
                temporary / f"{corpus}-whole", corpus, args.backend
            )
            whole = json.loads(out.splitlines()[-1])
            row = {
                "backend": args.backend,
                "corpus": corpus,
                "batches": whole["batches"],
            }
            for kind, total in kills.items():
                share = len(range(index, total, len(args.corpora)))
                done = killed(
                    temporary / f"{corpus}-{kind}", args, kind, share, rng
                )
                row[kind] = {
                    "kills": done["kills"],
                    "processes": done["processes"],
                    "fallbacks": done["fallbacks"],
                    "same": done["result"] == whole,
                }
            row["seconds"] = round(time.perf_counter() - begin)
            print(json.dumps(row), flush=True)


def killed(folder, args, kind, total, rng):
    """A training whose processes are killed `total` times in all."""
    corpus = folder.name.partition("-")[0]
    kills = processes = fallbacks = round_ = 0
    while True:
        options = ()
        if kills < total:
            option = "--kill-after" if kind == "batch" else "--kill-write"
            most = 7 if kind == "batch" else 3
            options = (option, rng.randint(1, most))
        code, out, warned = start(folder, corpus, args.backend, *options)
        processes += 1
        fallbacks += warned
        if code:
            kills += 1
        elif kills < total:
            # It ended before it was killed: another training is.
            result = json.loads(out.splitlines()[-1])
            round_ += 1
            folder = folder.with_name(f"{corpus}-{kind}-{round_}")
        else:
            result = json.loads(out.splitlines()[-1])
            return {
                "kills": kills,
                "processes": processes,
                "fallbacks": fallbacks,
                "result": result,
            }


def cost(args):
    """The share of a training's time that its checkpoints take."""
    import keras

    import keras_hvae

    class Timed(keras_hvae.training.Checkpoint):
        spent, files, size = 0.0, 0, 0

        def _save(self, epoch, step):
            begin = time.perf_counter()
            path = super()._save(epoch, step)
            self.spent += time.perf_counter() - begin
            self.files += 1
            self.size = path.stat().st_size
            return path

    keras.utils.set_random_seed(0)
    corpus = keras_hvae.data.load("shakespeare_scenes", batch_size=32)
    model = keras_hvae.HVAE(corpus.vocabulary, seed=0)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        checkpoint = Timed(folder)
        plan = keras_hvae.training.recipe(corpus, steps=args.steps)
        model.compile(plan.optimizer)
        model.fit(
            corpus.train,
            epochs=plan.epochs,
            steps_per_epoch=plan.steps_per_epoch,
            callbacks=[
                x
                for x in plan.callbacks
                if not isinstance(x, keras_hvae.callbacks.LatentDiagnostics)
            ]
            + [checkpoint],
            shuffle=False,
            verbose=0,
        )
    each = checkpoint.spent / checkpoint.files
    row = {
        "backend": keras.config.backend(),
        "parameters": model.count_params(),
        "megabytes": round(checkpoint.size / 1e6, 1),
        "batches": plan.steps,
        "checkpoints": checkpoint.files,
        "seconds_each": round(each, 3),
        "training_seconds": round(checkpoint.seconds, 1),
        # One every so many batches, in the long run.
        "share": round(
            each * plan.steps / checkpoint.every / checkpoint.seconds, 4
        ),
    }
    print(json.dumps(row))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("resume")
    command.set_defaults(run=resume)
    command.add_argument("--backend", default="tensorflow")
    command.add_argument("--kills", type=int, default=20)
    command.add_argument("--writes", type=int, default=10)
    command.add_argument("--corpora", nargs="+", default=CORPORA)
    command.add_argument("--seed", type=int, default=0)
    command = commands.add_parser("cost")
    command.set_defaults(run=cost)
    command.add_argument("--steps", type=int, default=500)
    command.add_argument("--folder", help="on the disk to measure")
    command = commands.add_parser("train")
    command.set_defaults(run=train)
    command.add_argument("folder")
    command.add_argument("--corpus", choices=CORPORA, default="text")
    command.add_argument("--epochs", type=int, default=4)
    command.add_argument("--every", type=int, default=3)
    command.add_argument("--kill-after", type=int, default=0)
    command.add_argument("--kill-write", type=int, default=0)
    command.add_argument("--signal", type=int, default=signal.SIGKILL)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
