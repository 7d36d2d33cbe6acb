"""How fast is it on a GPU, beside a PyTorch peer and a matrix product?

    python benchmarks/accelerator.py dailydialog.npz --out accelerator.json

Needs Keras with JAX or PyTorch and no TensorFlow: the corpus is ids, a file
that `Corpus.save` wrote (see `README.md`). Every row is a process of its own,
which first compiles and warms up, all at once; then they are measured in turn,
several rounds, with no other at work. All rows get the same batches: documents
in random order, padded to one shape, so that JAX compiles once. Real tokens are
counted, pads are not.

float32 rows run without TF32 on both sides (JAX uses it if not told so), tf32
rows with it, bfloat16 rows under `mixed_bfloat16` here and under autocast in
the peer. Training and scoring are `fit` and `evaluate`, from arrays of the host
on. The peer is `peers/torch_hvae.py`, with the packed GRUs of cuDNN.

`--check` compares nll and KL with those of a CPU, `--profile` shows the
kernels of a training step, `--beside` measures another checkout beside this.
`--small` tries the program at toy sizes.
"""

import argparse
import json
import os
import pathlib
import queue
import re
import shlex
import statistics
import subprocess
import sys
import threading
import time
import traceback

import numpy as np

SIZES = {
    "embedding_dim": 256,
    "dropout": 0.0,
    "hidden_dim": 512,
    "decoder_dim": 512,
    "latent_dim": 64,
}
WORDS = 10_000
SHAPE = 10, 30  # sentences, words
STEPS = {32: 20, 512: 10}
# Without it XLA compiles many products of its own to choose from.
XLA_FLAGS = "--xla_gpu_enable_triton_gemm=false"
ROWS = {
    f"{program}, {softmax}, {dtype}, {batch}": {
        "program": program,
        "softmax": softmax,
        "dtype": dtype,
        "batch": batch,
    }
    for batch in STEPS
    for softmax in ("full", "adaptive")
    for dtype in ("float32", "tf32", "bfloat16")
    for program in ("jax", "torch", "peer")
    if (program, softmax) != ("peer", "adaptive")
}
JOBS = "train", "score", "generate", "encode"
FEW_JOBS = "train", "score"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", help=".npz that `Corpus.save` wrote")
    parser.add_argument("--only", default="", help="regular expression of rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", help="rows that only train and score")
    parser.add_argument("--jobs", nargs="*", default=JOBS, choices=JOBS)
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        metavar="NAME=FOLDER=ROWS",
        help="another checkout, and a regular expression of its rows",
    )
    parser.add_argument("--profile", help="regular expression of rows")
    parser.add_argument("--check", help="regular expression of rows")
    parser.add_argument("--patience", type=int, default=600, help="seconds")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--out", default="accelerator.json")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.small:
        make_small()
    if args.worker:
        work(args, json.loads(args.worker))
        return
    results = {
        "command": " ".join(map(shlex.quote, sys.argv)),
        "machine": machine(),
        "sizes": {**SIZES, "words": WORDS, "shape": SHAPE, "steps": STEPS},
        "rows": {},
    }
    try:
        measure(args, results)
    finally:
        text = json.dumps(results, indent=1) + "\n"
        pathlib.Path(args.out).write_text(text)
    table(results["rows"])


def make_small():
    """Toy sizes, to try the program on a CPU."""
    SIZES.update(embedding_dim=16, hidden_dim=16, decoder_dim=16, latent_dim=4)
    STEPS.update({32: 2, 512: 1})


def machine():
    try:
        query = "--query-gpu=name,driver_version,memory.total"
        done = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader"],
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()
    except OSError:
        return "no GPU"


# ---- the processes and their turns ----


class Worker:
    def __init__(self, args, name, row, folder=None):
        self.name = name
        command = [
            sys.executable, __file__, args.corpus, "--worker", json.dumps(row),
        ]  # fmt: skip
        environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        backend = "jax" if row["program"] == "jax" else "torch"
        environment["KERAS_BACKEND"] = backend
        if row["dtype"] == "tf32":
            environment["JAX_DEFAULT_MATMUL_PRECISION"] = "tensorfloat32"
        else:
            environment["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
        environment.setdefault("XLA_FLAGS", XLA_FLAGS)
        if row["program"] == "reference":
            environment["CUDA_VISIBLE_DEVICES"] = ""
        if folder:
            path = [folder, environment.get("PYTHONPATH", "")]
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        if args.small:
            command.append("--small")
        self.log = open(f"{args.out}.{re.sub(r'[^a-z0-9]+', '_', name)}", "w")
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                self.lines.put(json.loads(line))
        self.lines.put({"error": "the process ended"})

    def answer(self, seconds):
        try:
            return self.lines.get(timeout=max(seconds, 0))
        except queue.Empty:
            return {"error": f"nothing for {seconds:.0f} seconds"}

    def ask(self, job, seconds=60):
        try:
            self.process.stdin.write(job + "\n")
            self.process.stdin.flush()
        except OSError as error:
            return {"error": str(error)}
        return self.answer(seconds)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


def measure(args, results):
    workers = []
    jobs = [(name, row, None) for name, row in ROWS.items()]
    jobs = [x for x in jobs if re.search(args.only, x[0])]
    for option in args.beside:
        name, folder, rows = option.split("=", 2)
        jobs += [
            (f"{name}: {key}", row, folder)
            for key, row in ROWS.items()
            if re.search(rows, key)
        ]
    jobs.sort(key=lambda x: x[1]["program"] != "jax")  # these take longest
    for name, row, folder in jobs:
        few = folder or (args.few and re.search(args.few, name))
        wanted = [x for x in args.jobs if not few or x in FEW_JOBS]
        row = {**row, "jobs": wanted, "reference": args.out + ".reference"}
        workers.append(Worker(args, name, row, folder))
    reference = None
    if args.check:
        row = {
            **ROWS["torch, full, float32, 32"],
            "program": "reference",
            "reference": args.out + ".reference",
        }
        reference = Worker(args, "reference", row)
    try:
        turns(args, workers, reference, results["rows"])
    finally:
        for worker in [*workers, *filter(None, [reference])]:
            worker.end()


def turns(args, workers, reference, found):
    end = time.monotonic() + args.patience
    ready = []
    for worker in workers:
        figures = worker.answer(end - time.monotonic())
        found[worker.name] = {"warm_up": figures, "rounds": []}
        print(f"{worker.name:<36} {json.dumps(figures)}", flush=True)
        if "error" in figures:
            worker.process.kill()
        else:
            ready.append(worker)
    if reference:
        try:
            reference.process.wait(max(end - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            print("the reference is not ready", flush=True)
    for number in range(args.rounds):
        for worker in list(ready):
            figures = {}
            for job in found[worker.name]["warm_up"]["jobs"]:
                figures[job] = worker.ask(job)
                if "error" in figures[job]:
                    ready.remove(worker)
                    break
            found[worker.name]["rounds"].append(figures)
            print(
                f"{number + 1}: {worker.name:<36} {line(figures)}", flush=True
            )
    for worker in ready:
        if args.check and re.search(args.check, worker.name):
            found[worker.name]["check"] = figures = worker.ask("check")
            print(f"check: {worker.name:<36} {json.dumps(figures)}", flush=True)
        if args.profile and re.search(args.profile, worker.name):
            figures = worker.ask("profile")
            found[worker.name]["profile"] = figures
            print(f"--- {worker.name}", flush=True)
            print(figures.get("text", figures), flush=True)


def line(figures):
    parts = []
    for job, x in figures.items():
        if "error" in x:
            parts.append(f"{job}: {x['error'][-300:]}")
        else:
            unit = "documents" if job == "encode" else "tokens"
            text = f"{job} {x[unit + '_per_s']:,} {unit}/s"
            if "utilisation" in x:
                text += f" ({x['utilisation']:.2f})"
            parts.append(text)
    return ", ".join(parts)


def table(rows):
    print()
    for name, row in rows.items():
        parts = [f"{name:<40}"]
        for job in JOBS:
            key = f"{'documents' if job == 'encode' else 'tokens'}_per_s"
            x = [r[job][key] for r in row["rounds"] if key in r.get(job, {})]
            parts.append(f"{statistics.median(x) if x else 0:12,.0f}")
        print("".join(parts), flush=True)


# ---- one row, in a process of its own ----


def work(args, row):
    try:
        if row["program"] == "reference":
            write_reference(args, row)
            return
        program = Peer if row["program"] == "peer" else Ours
        program = program(args, **row)
        answer(program.warm_up())
    except Exception:
        answer({"error": traceback.format_exc()})
        return
    for job in sys.stdin:
        try:
            answer(getattr(program, job.strip())())
        except Exception:
            answer({"error": traceback.format_exc()})


def answer(figures):
    print(json.dumps(figures), flush=True)


def read_batches(corpus, batch, steps):
    """Ids of documents, (batch, *SHAPE) each, in random order."""
    import keras_hvae

    documents = keras_hvae.data.load(corpus).train.documents
    order = np.random.default_rng(0).permutation(len(documents))
    order = np.resize(order, steps * batch)
    ids = np.zeros((len(order), *SHAPE), "int32")
    for row, i in zip(ids, order):
        document = documents[i][: SHAPE[0], : SHAPE[1]]
        row[: document.shape[0], : document.shape[1]] = document
    return np.split(ids, steps)


class Program:
    def __init__(self, args, batch, dtype, softmax, jobs, **others):
        self.batch, self.dtype, self.softmax = batch, dtype, softmax
        self.jobs = list(jobs)
        self.batches = read_batches(args.corpus, batch, STEPS[batch])
        self.others = others
        self.set_precision()

    def set_precision(self):
        if self.others["program"] == "jax":
            return
        import torch

        torch.backends.cuda.matmul.allow_tf32 = self.dtype == "tf32"
        torch.backends.cudnn.allow_tf32 = self.dtype == "tf32"

    def figures(self, seconds, batches, flops=None):
        tokens = sum(int((x > 0).sum()) for x in batches)
        figures = {
            "tokens_per_s": round(tokens / seconds),
            "step_ms": round(1000 * seconds / len(batches), 2),
            "real": round(tokens / sum(x.size for x in batches), 3),
            "peak_memory_mib": round(self.peak_memory()),
        }
        if flops:
            rate = self.product_rate()
            figures["product_tflops"] = round(rate / 1e12, 1)
            figures["utilisation"] = round(flops / seconds / rate, 4)
        return figures

    def product_rate(self, size=8192):
        """FLOP/s of a large matrix product, now."""
        from keras import ops, random

        if SIZES["hidden_dim"] < 512:
            size = 128
        dtype = "bfloat16" if self.dtype == "bfloat16" else "float32"
        a = ops.cast(random.normal((size, size)), dtype)
        b = ops.cast(random.normal((size, size)), dtype)

        def once(times):
            start = time.perf_counter()
            for _ in range(times):
                c = ops.matmul(a, b)
            self.wait(c)
            return (time.perf_counter() - start) / times

        once(2)
        return 2 * size**3 / min(once(5) for _ in range(3))

    def generated(self, write, rows, sentences=8, words=24):
        write(rows, sentences, words)
        start = time.perf_counter()
        write(rows, sentences, words)
        seconds = time.perf_counter() - start
        total = rows * sentences * words
        return {
            "tokens_per_s": round(total / seconds),
            "rows": rows,
            "seconds": round(seconds, 4),
        }

    def flops(self, ids, layer=None):
        """Of the real words, forward: GRUs and softmax."""
        emb, hid = SIZES["embedding_dim"], SIZES["hidden_dim"]
        words, sentences = (ids > 0).sum(), (ids > 0).any(-1).sum()
        total = 6 * hid * (words * 2 * (emb + hid) + sentences * hid)
        if not hasattr(layer, "cutoffs"):
            return total + 2 * hid * WORDS * words
        total += 2 * hid * layer.head.units * words
        edges = [*layer.cutoffs, WORDS]
        for i, (start, stop) in enumerate(zip(edges, edges[1:])):
            width = layer.bottlenecks[i].units
            inside = ((ids >= start) & (ids < stop)).sum()
            total += 2 * inside * width * (hid + stop - start)
        return total


class Ours(Program):
    def warm_up(self):
        import keras

        import keras_hvae

        start = time.perf_counter()
        keras.utils.set_random_seed(0)
        if self.dtype == "bfloat16":
            keras.config.set_dtype_policy("mixed_bfloat16")
        self.model = model = keras_hvae.HVAE(
            WORDS, softmax=self.softmax, **SIZES
        )
        model.compile(keras.optimizers.Adam(1e-3, global_clipnorm=5.0))
        seconds = time.perf_counter() - start
        figures = {"backend": keras.config.backend(), "jobs": self.jobs}
        figures["make_s"] = round(seconds, 1)
        print("model", round(seconds, 1), file=sys.stderr, flush=True)
        for job in self.jobs:
            start = time.perf_counter()
            getattr(self, f"warm_{job}")()
            seconds = time.perf_counter() - start
            figures[f"first_{job}_s"] = round(seconds, 1)
            print(job, round(seconds, 1), file=sys.stderr, flush=True)
        figures["parameters"] = model.count_params()
        figures["parameter_bytes"] = sum(
            int(np.prod(w.shape)) * np.dtype(w.dtype).itemsize
            for w in model.weights
        )
        return figures

    def wait(self, x=None):
        if self.others["program"] == "jax":
            import jax

            jax.block_until_ready(x)
        else:
            import torch

            if torch.cuda.is_available():
                torch.cuda.synchronize()

    def peak_memory(self):
        try:
            if self.others["program"] == "jax":
                import jax

                stats = jax.local_devices()[0].memory_stats()
                return stats["peak_bytes_in_use"] / 2**20
            import torch

            return torch.cuda.max_memory_allocated() / 2**20
        except Exception:
            return 0

    def _dataset(self, batches):
        import keras

        class Batches(keras.utils.PyDataset):
            def __len__(self):
                return len(batches)

            def __getitem__(self, i):
                return (batches[i],)

        return Batches()

    def _fit(self, batches):
        import keras

        times = []

        class Clock(keras.callbacks.Callback):
            def on_epoch_begin(clock, *_):
                times.append(time.perf_counter())

            def on_epoch_end(clock, epoch, logs=None):
                float(logs["loss"])
                self.wait(self.model.optimizer.iterations.value)
                times.append(time.perf_counter())

            def on_test_begin(clock, *_):
                times.append(time.perf_counter())

        data = self._dataset(batches)
        self.model.fit(data, shuffle=False, verbose=0, callbacks=[Clock()])
        return times[1] - times[0]

    def _evaluate(self, batches):
        start = time.perf_counter()
        self.model.evaluate(self._dataset(batches), verbose=0)
        self.wait(self.model.optimizer.iterations.value)
        return time.perf_counter() - start

    def warm_train(self):
        self._fit(self.batches[:2])
        self._fit(self.batches[:2])

    def warm_score(self):
        self._evaluate(self.batches[:2])

    def warm_generate(self):
        from keras_hvae.ids import EOS_ID

        head = self.model.emission.token_nll
        head = getattr(head, "head", head)
        bias = np.array(head.bias)
        self.first_bias = bias.copy()
        bias[EOS_ID] = -1e9  # no sentence ends early
        self.endless_bias = bias
        self._write(2 * self.batch, 8, 24)

    def warm_encode(self):
        self._encode()

    def train(self):
        seconds = self._fit(self.batches)
        flops = 3 * sum(
            self.flops(x, self.model.emission.token_nll) for x in self.batches
        )
        return self.figures(seconds, self.batches, flops)

    def score(self):
        seconds = self._evaluate(self.batches)
        flops = sum(
            self.flops(x, self.model.emission.token_nll) for x in self.batches
        )
        return self.figures(seconds, self.batches, flops)

    def generate(self):
        return self.generated(self._write, 2 * self.batch)

    def _write(self, rows, sentences, words):
        head = self.model.emission.token_nll
        head = getattr(head, "head", head)
        now = np.array(head.bias)
        head.bias.assign(self.endless_bias)
        ids = self.model.generate(
            num_documents=rows,
            num_sentences=sentences,
            max_words=words - 1,
            sampler="greedy",
            seed=0,
            batch_size=rows,
        )
        head.bias.assign(now)
        assert (np.asarray(ids) > 0).all()

    def _encode(self):
        documents = np.concatenate(self.batches)[: 4 * self.batch]
        start = time.perf_counter()
        self.model.encode(documents, batch_size=self.batch)
        return len(documents), time.perf_counter() - start

    def encode(self):
        count, seconds = self._encode()
        return {"documents_per_s": round(count / seconds)}

    def check(self):
        """nll + kl of each document, noise off, beside those of a CPU."""
        reference = self.others["reference"]
        self.model.load_weights(reference + ".weights.h5")
        expected = np.load(reference + ".npz")["nats"]
        nats, tokens = self.nats()
        return {
            "nats_per_token": float(nats.sum() / tokens),
            "nats_per_token_cpu": float(expected.sum() / tokens),
            "relative_difference": float(
                abs(nats.sum() - expected.sum()) / expected.sum()
            ),
            "largest_of_a_document": float(
                (abs(nats - expected) / expected).max()
            ),
        }

    def nats(self):
        from keras_hvae.inference import compiled

        x = np.concatenate(self.batches)[:32]
        runner = self.model.runner
        out = runner.run(compiled.score, x=x, noise=runner.no_noise(x))
        nats = (out["nll"] + out["kl"]).astype("float64").sum(axis=1)
        return nats, int((x > 0).sum())

    def profile(self):
        if self.others["program"] == "jax":
            return self._profile_jax()
        import torch

        self._fit(self.batches[:2])
        activities = [torch.profiler.ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=activities) as found:
            seconds = self._fit(self.batches[:3])
        return {"text": torch_summary(found, seconds / 3, 3)}

    def _profile_jax(self):
        import collections
        import glob
        import tempfile

        import jax

        self._fit(self.batches[:2])
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                seconds = self._fit(self.batches[:3])
            (path,) = glob.glob(folder + "/**/*.xplane.pb", recursive=True)
            data = jax.profiler.ProfileData.from_file(path)
            texts = [f"{1000 * seconds / 3:.1f} ms a step"]
            for plane in data.planes:
                if "GPU" not in plane.name:
                    continue
                for ln in plane.lines:
                    counts, spent = collections.Counter(), collections.Counter()
                    for event in ln.events:
                        counts[event.name] += 1
                        spent[event.name] += event.duration_ns
                    total = sum(spent.values()) / 1e6 / 3
                    texts.append(
                        f"{plane.name} {ln.name}: {total:.2f} ms a step in "
                        f"{sum(counts.values()) / 3:.0f}"
                    )
                    for name, ns in spent.most_common(14):
                        texts.append(
                            f"  {ns / 3e6:8.3f} ms {counts[name] / 3:6.0f} x "
                            f"{name[:90]}"
                        )
        return {"text": "\n".join(texts)}


def torch_summary(found, seconds, steps):
    averages = found.key_averages()

    def on_device(x):
        return getattr(x, "self_device_time_total", 0)

    launches = sum(x.count for x in averages if "LaunchKernel" in x.key)
    syncs = sum(
        x.count for x in averages if x.key in ("aten::item", "aten::nonzero")
    )
    kernels = [x for x in averages if x.device_type.name == "CUDA"]
    total = sum(on_device(x) for x in kernels) / 1000 / steps
    lines = [
        f"{1000 * seconds:.1f} ms a step under the profiler, kernels "
        f"{total:.2f} ms; {launches / steps:.0f} launches, "
        f"{syncs / steps:.0f} of item and nonzero"
    ]
    for x in sorted(kernels, key=on_device, reverse=True)[:14]:
        lines.append(
            f"  {on_device(x) / 1000 / steps:8.3f} ms {x.count / steps:6.0f} x "
            f"{x.key[:90]}"
        )
    lines.append("  on the host:")
    host = [x for x in averages if x.device_type.name == "CPU"]
    for x in sorted(host, key=lambda x: -x.self_cpu_time_total)[:14]:
        lines.append(
            f"  {x.self_cpu_time_total / 1000 / steps:8.3f} ms "
            f"{x.count / steps:6.0f} x {x.key[:90]}"
        )
    return "\n".join(lines)


class Peer(Program):
    def warm_up(self):
        import torch

        sys.path.insert(0, str(pathlib.Path(__file__).parent / "peers"))
        import torch_hvae

        self.peer = torch_hvae
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_default_device(self.device)
        torch.manual_seed(0)
        self.model = torch_hvae.HVAE(
            WORDS,
            SIZES["embedding_dim"],
            SIZES["hidden_dim"],
            SIZES["latent_dim"],
        )
        parameters = list(self.model.parameters())
        self.optimizer = torch.optim.Adam(parameters, 1e-3)
        self.jobs = [job for job in self.jobs if job != "encode"]
        self._steps(self.batches[:2])
        self._forward(self.batches[:2])
        return {
            "jobs": self.jobs,
            "parameters": sum(x.numel() for x in parameters),
        }

    def wait(self, x=None):
        import torch

        if self.device == "cuda":
            torch.cuda.synchronize()

    def peak_memory(self):
        import torch

        return torch.cuda.max_memory_allocated() / 2**20

    def _tensor(self, ids):
        import torch

        return torch.from_numpy(ids).to(self.device).long()

    def _steps(self, batches):
        start = time.perf_counter()
        for ids in batches:
            self.peer.training_step(
                self.model,
                self.optimizer,
                self._tensor(ids),
                self.dtype == "bfloat16",
            )
        self.wait()
        return time.perf_counter() - start

    def _forward(self, batches):
        import torch

        start = time.perf_counter()
        with (
            torch.no_grad(),
            self.peer.autocast(self.dtype == "bfloat16", self.device),
        ):
            for ids in batches:
                self.model(self._tensor(ids))
        self.wait()
        return time.perf_counter() - start

    def train(self):
        flops = 3 * sum(map(self.flops, self.batches))
        return self.figures(self._steps(self.batches), self.batches, flops)

    def score(self):
        flops = sum(map(self.flops, self.batches))
        return self.figures(self._forward(self.batches), self.batches, flops)

    def generate(self):
        def write(*sizes):
            with self.peer.autocast(self.dtype == "bfloat16", self.device):
                self.model.generate(*sizes)
            self.wait()

        return self.generated(write, 2 * self.batch)

    def profile(self):
        import torch

        activities = [torch.profiler.ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=activities) as found:
            seconds = self._steps(self.batches[:3])
        return {"text": torch_summary(found, seconds / 3, 3)}


def write_reference(args, row):
    """Weights of a short training on a CPU, and what they give there."""
    path = row["reference"]
    program = Ours(args, **{**row, "program": "torch", "jobs": ()})
    program.warm_up()
    program._fit(program.batches[:1])
    nats, _ = program.nats()
    program.model.save_weights(path + ".weights.h5")
    np.savez(path + ".partial.npz", nats=nats)
    os.replace(path + ".partial.npz", path + ".npz")


if __name__ == "__main__":
    main()
