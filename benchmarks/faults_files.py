"""What becomes of damaged files, files made to harm, full disks and kills.

    python benchmarks/faults_files.py flips|hostile|memory|diskfull|kill|all

`flips`: 200 flipped bits, 50 cuts, an empty and a missing file, for each kind
of file. `hostile`: the set of `tests/hostile.py`. `memory`: the peak of a
process that reads a bomb, beside one that reads a whole file. `diskfull`:
each writer on a tmpfs that is too small (needs root). `kill`: SIGKILL while a
preset is replaced. Each prints the table that stands in FAULTS.md.
"""

import argparse
import collections
import ctypes
import gc
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from keras_hvae.files import (  # noqa: E402
    DamagedFileError,
    write_json,
    write_whole,
)
from tests import hostile  # noqa: E402

FLIPS, CUTS = 200, 50
# Without a checksum: a flipped bit is another text.
PLAIN = ("documents.txt", "documents.jsonl", "vectors.txt")
BOMBS = (
    ("model.keras", "an array that is not stored"),
    ("model.keras", "a chunk much larger than its array"),
    ("model.keras", "an array of zeros, compressed"),
    ("model.keras", "weights compressed a thousandfold"),
    ("model.keras", "thousands of members"),
    ("preset", "an array of zeros, compressed"),
    ("corpus.npz", "ids compressed a thousandfold"),
    ("corpus.npz", "thousands of members"),
    ("records", "a record of 2^60 bytes"),
    ("documents.jsonl.gz", "a bomb"),
    ("documents.jsonl.xz", "a bomb"),
    ("documents.jsonl.xz", "4 GiB to unpack"),
    ("documents.jsonl", "deep JSON"),
    ("vectors.txt", "a line of 17 MiB"),
    ("exported", "a sidecar without end"),
    ("checkpoint", "an array of zeros, compressed"),
    ("checkpoint", "an array of 2^50 numbers"),
)


def table(*rows):
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def outcome(kind, path, expected):
    try:
        value = hostile.WHOLE[kind][1](path)
    except (DamagedFileError, FileNotFoundError):
        return "refused"
    except Exception as error:
        print(f"  {kind}: {type(error).__name__}: {error!s:.150}", flush=True)
        return "another error"
    return "same" if value == expected else "silent"


def parts(path):
    """The files of an artefact, with their bytes."""
    files = [path]
    if path.is_dir():
        files = sorted(x for x in path.rglob("*") if x.is_file())
        files = [x for x in files if x.name != "x.txt"]
    return {x: x.read_bytes() for x in files}


def damages(data, rng, flips, cuts):
    """File, bytes (`None`: missing): spread over the files by their size."""
    sizes = np.array([len(x) for x in data.values()])
    names = list(data)
    for make, count in ((hostile.flips, flips), (hostile.cuts, cuts)):
        chosen = rng.multinomial(count, sizes / sizes.sum())
        for name, n in zip(names, chosen):
            n = min(n, len(data[name]))
            for changed in make(data[name], n, rng):
                yield name, changed
    for name in names:
        yield name, b""
        yield name, None


def flips(folder, args):
    rng = np.random.default_rng(args.seed)
    paths = hostile.write_all(folder)
    paths["exported"] = real_export(folder / "real")
    table(
        ("kind", "tried", "refused", "same", "silent", "another error"),
        ("---",) * 6,
    )
    for kind, path in paths.items():
        expected = hostile.WHOLE[kind][1](path)
        data, found = parts(path), collections.Counter()
        if kind in PLAIN:
            continue
        if kind == "trained":  # the model in it was tried by itself
            data = {x: y for x, y in data.items() if x.suffix == ".json"}
        for file, changed in damages(data, rng, args.flips, args.cuts):
            if changed is None:
                file.unlink()
            else:
                file.write_bytes(changed)
            found[outcome(kind, path, expected)] += 1
            file.write_bytes(data[file])
        names = ("refused", "same", "silent", "another error")
        table((kind, found.total(), *(found[x] for x in names)))


def real_export(folder):
    from keras_hvae.export import export_savedmodel

    export_savedmodel(hostile.model(), folder, signatures=["encode"])
    return folder


def attacks(folder, args):
    paths = hostile.write_all(folder)
    found = collections.defaultdict(collections.Counter)
    for i, (kind, name) in enumerate(hostile.HOSTILE):
        path = hostile.copy(paths[kind], folder / f"copy{i}")
        hostile.ATTACKS[kind][name](path)
        result = outcome(kind, path, None)
        found[kind][result] += 1
        if result != "refused":
            print(f"  {kind}, {name}: {result}")
        shutil.rmtree(folder / f"copy{i}")
    table(("kind", "hostile", "refused"), ("---",) * 3)
    for kind, counts in found.items():
        table((kind, counts.total(), counts["refused"]))


def memory(folder, args):
    """In one process, whose highest mark is set back before each."""
    paths = hostile.write_all(folder)
    kinds = dict.fromkeys(kind for kind, _ in BOMBS)
    table(
        ("kind", "bomb", "peak, MiB", "of a whole one", "ratio"),
        ("---",) * 5,
    )
    for kind in kinds:  # what is imported at the first use
        outcome(kind, paths[kind], None)
    usual = {kind: peak(kind, paths[kind]) for kind in kinds}
    for i, (kind, name) in enumerate(BOMBS):
        path = hostile.copy(paths[kind], folder / f"copy{i}")
        hostile.ATTACKS[kind][name](path)
        used = peak(kind, path)
        shutil.rmtree(folder / f"copy{i}")
        ratio = f"{used / usual[kind]:.2f}"
        table((kind, name, f"{used:.0f}", f"{usual[kind]:.0f}", ratio))


def peak(kind, path):
    """The most memory that the process has while it reads, MiB (Linux)."""
    gc.collect()
    # Gives back what making the bomb has left with the C library.
    ctypes.CDLL(None).malloc_trim(0)
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    outcome(kind, path, None)
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if "VmHWM" in x) / 1024


def diskfull(folder, args):
    """On a tmpfs of 8 MiB, of which a file takes what is left but 256 KiB."""
    import keras_hvae
    from keras_hvae.data import load
    from keras_hvae.export import export_savedmodel

    small = hostile.model()
    large = keras_hvae.HVAE(hostile.WORDS, 64, 256, 256)
    rng = np.random.default_rng(0)
    words = [f"w{x}" for x in rng.integers(0, 10**6, 400_000)]
    many = [
        [" ".join(words[i : i + 25]) for i in range(start, start + 250, 25)]
        for start in range(0, len(words), 250)
    ]
    few = load(hostile.DOCUMENTS, batch_size=4)
    more = load(many, batch_size=4, vocabulary_size=100_000, min_count=1)

    def keras_file(model, path):  # as `train` and its best model do
        with write_whole(path) as temporary:
            model.save(temporary)

    def lines(count, path):  # as `encode --out` does
        with write_whole(path) as temporary:
            temporary.write_text("x" * count)

    writers = {
        "model.keras": (keras_file, small, large, hostile.read_model),
        "preset": (
            lambda model, path: model.save_to_preset(path),
            *(small, large, hostile.read_model),
        ),
        "corpus.npz": (
            lambda corpus, path: corpus.save(path),
            *(few, more, hostile.read_corpus),
        ),
        "records": (
            lambda corpus, path: corpus.save(path),
            *(None, more, None),
        ),
        "exported": (
            lambda model, path: export_savedmodel(
                model, path, signatures=["encode"]
            ),
            *(small, large, hostile.read_version),
        ),
        "figures.json": (
            lambda count, path: write_json(path, {"x": "y" * count}),
            *(5, 4 << 20, pathlib.Path.read_text),
        ),
        "lines.jsonl": (lines, 5, 4 << 20, pathlib.Path.read_text),
    }
    table(
        ("writer", "error", "what was there", "left over"),
        ("---",) * 4,
    )
    for name, (write, before, after, read) in writers.items():
        disk = folder / "disk"
        disk.mkdir()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True
        )
        try:
            path = disk / name
            if before is not None:
                write(before, path)
            value = read(path) if read else None
            free = shutil.disk_usage(disk).free
            (disk / "filler").write_bytes(bytes(max(free - 2**18, 0)))
            there = sorted(disk.rglob("*"))
            error = "none"
            try:
                write(after, path)
            except Exception as raised:
                error = type(raised).__name__
            whole = "nothing"
            if read:
                whole = "whole" if read(path) == value else "another"
            left = set(disk.rglob("*")) - set(there)
            table((name, error, whole, len(left)))
        finally:
            subprocess.run(["umount", disk], check=True)
            disk.rmdir()


KILLED = """
import itertools, os, signal, sys
from keras_hvae import files
from tests import hostile
folder, aim = sys.argv[1:]
one, other = hostile.model(), hostile.model()
if aim == "renames":
    # Where folders cannot change places: stopped between the two renames.
    files._exchange = lambda *_: False
    rename = files.pathlib.Path.rename
    def stopped(self, target):
        rename(self, target)
        os.kill(os.getpid(), signal.SIGKILL)
    files.pathlib.Path.rename = stopped
if not os.path.exists(folder):
    one.save_to_preset(folder)
print("ready", flush=True)
for model in itertools.cycle((other, one)):
    model.save_to_preset(folder)
"""


def kill(folder, args):
    """Real processes; the preset must load after each."""
    import warnings

    rng = random.Random(args.seed)
    hostile.model().save_to_preset(folder / "preset")
    found = collections.Counter()
    for aim in ["random"] * args.kills + ["renames"] * 2:
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, folder / "preset", aim],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert child.stdout.readline() == "ready\n"
        if aim == "random":
            time.sleep(rng.uniform(0.05, 0.6))
            child.send_signal(signal.SIGKILL)
        assert child.wait(120) == -signal.SIGKILL
        child.stdout.close()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            result = outcome("preset", folder / "preset", None)
        loads = "loads" if result == "silent" else "does not load"
        if any("a stop has left" in str(x.message) for x in told):
            loads += " from .old, with a warning"
        found[aim, loads] += 1
        if not (folder / "preset").exists():
            shutil.rmtree(folder / "preset.old")
            hostile.model().save_to_preset(folder / "preset")
    table(("SIGKILL", "outcome", "times"), ("---",) * 3)
    for (aim, loads), count in found.items():
        aims = {"random": "at a random time", "renames": "between two renames"}
        table((aims[aim], loads, count))


COMMANDS = {
    "flips": flips,
    "hostile": attacks,
    "memory": memory,
    "diskfull": diskfull,
    "kill": kill,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=[*COMMANDS, "all"])
    parser.add_argument("--flips", type=int, default=FLIPS)
    parser.add_argument("--cuts", type=int, default=CUTS)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name, run in COMMANDS.items():
        if args.command in (name, "all"):
            print(f"\n### {name}\n", flush=True)
            start = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                run(pathlib.Path(folder), args)
            print(f"\n{time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
