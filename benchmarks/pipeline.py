"""How fast are batches made, and how much memory does it take?

    python benchmarks/pipeline.py [--megabytes 10 100 1000] [--from text]

Writes synthetic corpora of these sizes (one text file each, words by Zipf's
law), and reads each in a process of its own: from the text, from the folder
and from the `.npz` that `Corpus.save` writes. Prints the seconds that `load`
takes (it reads all of it), tokens per second of the first batches of an epoch,
and peak memory; writes a JSON file and a picture.
"""

import argparse
import itertools
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

KINDS = "text", "folder", "npz"
BATCHES = 3000


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", nargs="+", type=int, default=[10, 100])
    parser.add_argument("--from", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--out", default="pipeline.json")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(work(*args.worker)))
        return
    kinds = getattr(args, "from")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for size in args.megabytes:
            text = write_text(pathlib.Path(folder) / f"{size}.txt", size)
            for kind in kinds:
                figures = {"megabytes": size, "from": kind, **run(kind, text)}
                results.append(figures)
                print(figures, flush=True)
            text.unlink()
    pathlib.Path(args.out).write_text(json.dumps(results, indent=1) + "\n")
    plot(results, pathlib.Path(args.out).with_suffix(".png"))


def plot(results, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for kind in dict.fromkeys(x["from"] for x in results):
        points = [x for x in results if x["from"] == kind]
        size = [x["megabytes"] for x in points]
        for axis, key in zip(axes, ("tokens_per_s", "peak_memory_mib")):
            axis.plot(size, [x[key] for x in points], "o-", label=kind)
    axes[0].set(ylabel="tokens / s", yscale="log")
    axes[1].set(ylabel="peak memory, MiB", ylim=0)
    for axis in axes:
        axis.set(xlabel="corpus, MB", xscale="log")
        axis.legend()
    figure.savefig(path, dpi=100)


def write_text(path, megabytes):
    rng = np.random.default_rng(0)
    ranks = np.arange(1, 50_001)
    words = np.array([f"w{k:x}" for k in ranks])
    p = 1 / ranks / (1 / ranks).sum()
    written = 0
    with open(path, "w") as file:
        while written < megabytes * 2**20:
            drawn = iter(rng.choice(words, 100_000, p=p))
            lines, left = [], 100_000
            while left > 300:
                for length in rng.integers(3, 28, rng.integers(2, 11)):
                    lines.append(" ".join(next(drawn) for _ in range(length)))
                    left -= length
                lines.append("")
            written += file.write("\n".join(lines) + "\n")
    return path


def run(kind, text):
    command = [sys.executable, __file__, "--worker", kind, str(text)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def work(kind, text):
    import keras_hvae

    start = time.perf_counter()
    source = text
    if kind != "text":
        source = f"{text}.{kind}"
        if not pathlib.Path(source).exists():
            # In a child: its memory is not what is measured.
            program = (
                "import sys, keras_hvae; "
                "keras_hvae.data.load(sys.argv[1]).save(sys.argv[2])"
            )
            subprocess.run(
                [sys.executable, "-c", program, text, source],
                check=True,
                capture_output=True,
            )
        start = time.perf_counter()
    corpus = keras_hvae.data.load(source)
    loaded = time.perf_counter()
    tokens = 0
    for batch in itertools.islice(corpus.train, BATCHES):
        tokens += int(np.sum(np.asarray(batch) > 0))
    seconds = time.perf_counter() - loaded
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "load_s": round(loaded - start, 1),
        "tokens_per_s": round(tokens / seconds),
        "peak_memory_mib": round(memory),
        "tokens": tokens,
    }


if __name__ == "__main__":
    main()
