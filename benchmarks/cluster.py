"""Throughput of `encode` on a Ray cluster: figures of FAULTS.md.

    python benchmarks/cluster.py [--documents 20000] [--rounds 2]

Encodes the same short documents by the plain command, and by `--cluster local`
with 1 and 2 workers, with a tiny model and one of the default size; both are
not trained, which takes as long. A round runs each once; the table has the
fastest of each. What a command takes for 32 documents is its start: the
imports, the model, the compilation and, with `--cluster`, Ray.
"""

import argparse
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

FEW = 32
SIZES = {
    "tiny": {"latent_dim": 4, "embedding_dim": 8, "hidden_dim": 16},
    "default": {},
}
COMMANDS = {
    "plain": [],
    "1 worker": ["--cluster=local", "--workers=1"],
    "2 workers": ["--cluster=local", "--workers=2"],
}


def make_documents(path, words, count):
    rng = random.Random(0)
    with open(path, "w") as file:
        for _ in range(count):
            for _ in range(rng.randint(2, 4)):
                line = rng.choices(words, k=rng.randint(1, 6))
                file.write(" ".join(line) + "\n")
            file.write("\n")


def seconds(model, documents, options, folder):
    out = folder / ("out" if options else "out.jsonl")
    command = [sys.executable, "-m", "keras_hvae.cli", "encode", model]
    command += [documents, "--out", out, *options]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    taken = time.perf_counter() - start
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    return taken


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=SIZES)
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras_hvae

    words = [f"w{i}" for i in range(9_990)]
    print(f"{args.documents:,} documents of 2 to 4 sentences of 1 to 6 words")
    print("| model | command | start, s | rest, s | documents/s | of plain |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        few, many = folder / "few.txt", folder / "many.txt"
        make_documents(few, words, FEW)
        make_documents(many, words, args.documents)
        for size in args.sizes:
            model = folder / f"{size}.keras"
            keras_hvae.HVAE(words, **SIZES[size]).save(model)
            found = {name: ([], []) for name in COMMANDS}
            for _ in range(args.rounds):
                for name, options in COMMANDS.items():
                    for times, documents in zip(found[name], (few, many)):
                        times.append(seconds(model, documents, options, folder))
            for name, (starts, wholes) in found.items():
                start = min(starts)
                rest = min(wholes) - start
                if name == "plain":
                    plain = rest
                rate = (args.documents - FEW) / rest
                print(
                    f"| {size} | {name} | {start:.1f} | {rest:.1f} "
                    f"| {rate:,.0f} | {rest / plain:.2f} |",
                    flush=True,
                )
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    print(f"{os.cpu_count()} processors; mean load of 1, 5, 15 minutes: {load}")


if __name__ == "__main__":
    main()
