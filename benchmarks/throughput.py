"""How fast is it, beside a PyTorch peer and beside a matrix product?

    python benchmarks/throughput.py train.jsonl.xz --key t
        [--peer benchmarks/peers/torch_hvae.py
         --peer-python .venv-torch/bin/python]

Every row is a process of its own; the rows run in turn, several rounds, and
medians over the rounds are compared, since machines are noisy. Each process
first times a large matrix product, of bfloat16 if that is what the row
multiplies: utilisation is the model FLOPs that the real tokens need, over the
FLOPs that this product reached. Beside a ratio of two rows stands that of
their products: where both are the same, one library (or one number format)
multiplies faster, and neither program is better. Writes a JSON file and, with
`--sweep`, a picture of how speed and memory grow.

Batches are those of the corpus as they come: documents in random order, padded
to the longest of the batch.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import resource
import shlex
import statistics
import subprocess
import sys
import time

import numpy as np
import plain

SIZES = {
    "embedding_dim": 256,
    "dropout": 0.0,
    "hidden_dim": 512,
    "decoder_dim": 512,
    "latent_dim": 64,
}
ADAPTIVE = {"softmax": "adaptive"}
BFLOAT16 = {"dtype": "mixed_bfloat16"}
ROWS = {
    f"{name}{text}": {"job": job, **options}
    for name, job in (
        ("training", "train"),
        ("scoring", "score"),
        ("generation", "generate"),
    )
    for text, options in (
        ("", {}),
        (", adaptive softmax", ADAPTIVE),
        (", bfloat16", BFLOAT16),
        (", adaptive softmax, bfloat16", {**ADAPTIVE, **BFLOAT16}),
    )
}
PEERS = {
    "peer, packed": [],
    "peer, naive": ["--naive"],
    "peer, packed, bfloat16": ["--bfloat16"],
    "peer, generation": ["--generate"],
    "peer, generation, bfloat16": ["--generate", "--bfloat16"],
}
RATIOS = [
    ("training", "peer, packed"),
    ("training, adaptive softmax", "peer, packed"),
    ("training, adaptive softmax", "peer, naive"),
    ("training, bfloat16", "training"),
    ("training, bfloat16", "peer, packed, bfloat16"),
    ("training, adaptive softmax, bfloat16", "training, adaptive softmax"),
    ("training, adaptive softmax, bfloat16", "peer, packed"),
    ("training, adaptive softmax, bfloat16", "peer, packed, bfloat16"),
    ("scoring, bfloat16", "scoring"),
    ("scoring, adaptive softmax, bfloat16", "scoring, adaptive softmax"),
    ("generation, bfloat16", "generation"),
    (
        "generation, adaptive softmax, bfloat16",
        "generation, adaptive softmax",
    ),
    ("generation", "peer, generation"),
    ("generation, bfloat16", "peer, generation, bfloat16"),
    ("generation, adaptive softmax", "peer, generation"),
    ("generation, adaptive softmax, bfloat16", "peer, generation"),
    ("generation, adaptive softmax, bfloat16", "peer, generation, bfloat16"),
]
# Steps that are not measured: shapes are traced, memory is taken.
WARM_UP = 4
SOFTMAXES = "full", "adaptive", "plain"  # plain: see plain.py
SWEEPS = {
    "vocabulary": (2_000, 10_000, 50_000),
    "words": (10, 30, 60),
    "batch": (8, 32, 128),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", help=".jsonl or .txt, for all rows")
    parser.add_argument("--key", default="sentences")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", help="the peer's script")
    parser.add_argument("--peer-python", default=sys.executable)
    every = [*ROWS, *PEERS]
    parser.add_argument("--only", nargs="*", choices=every, default=every)
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--out", default="throughput.json")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only != every and not args.peer and set(args.only) & set(PEERS):
        parser.error("expected --peer for rows of the peer. Received: none")
    if not args.peer:
        args.only = [name for name in args.only if name not in PEERS]
    if args.worker:
        print(json.dumps(work(args, **json.loads(args.worker))))
        return
    results = {
        "command": " ".join(map(shlex.quote, sys.argv)),
        "processor": processor(),
        "steps": args.steps,
        "rounds": args.rounds,
    }
    results["rows"] = rounds(args)
    results["ratios"] = ratios(results["rows"])
    results["import_s"] = imports()
    if args.sweep:
        results["sweep"] = sweep(args)
        plot(results["sweep"], pathlib.Path(args.out).with_suffix(".png"))
    text = json.dumps(results, indent=1) + "\n"
    pathlib.Path(args.out).write_text(text)


def processor():
    """What /proc/cpuinfo calls it, and how many cores there are."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    match = re.search(r"model name\s*: (.*)", text)
    name = match[1] if match else platform.processor()
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def rounds(args):
    """Each row in turn, several times over: lists of figures by name."""
    found = {}
    for number in range(args.rounds):
        for name in args.only:
            if name in ROWS:
                figures = run(args, ROWS[name])
            else:
                figures = run_peer(args, PEERS[name])
            found.setdefault(name, []).append(figures)
            text = f"round {number + 1}: {name:<36} {line(figures)}"
            print(text, flush=True)
    print()
    for name, figures in found.items():
        rate = statistics.median(x["tokens_per_s"] for x in figures)
        print(f"{name:<36} median {rate:9.0f} tokens/s")
    return found


def line(figures):
    parts = [f"{figures['tokens_per_s']:9.0f} tokens/s"]
    for key, text in (
        ("model_flops_utilisation", "utilisation {:.2f}"),
        ("real_of_computed", "{:.0%} of computed positions real"),
        ("peak_memory_mib", "{:.0f} MiB"),
    ):
        if key in figures:
            parts.append(text.format(figures[key]))
    return ", ".join(parts)


def ratios(rows):
    """Medians over the rounds of the ratios within each round."""
    found = {}
    for ours, peer in RATIOS:
        if ours not in rows or peer not in rows:
            continue
        ratio = {
            key: statistics.median(
                a[key] / b[key] for a, b in zip(rows[ours], rows[peer])
            )
            for key in ("tokens_per_s", "product_gflops")
        }
        found[f"{ours} / {peer}"] = {k: round(x, 2) for k, x in ratio.items()}
        print(
            f"{ours} / {peer}: {ratio['tokens_per_s']:.2f}, of the products "
            f"{ratio['product_gflops']:.2f}"
        )
    return found


def imports(rounds=5):
    """Seconds that the two imports take, in turn, each in a new process."""
    found = {"keras": [], "keras_hvae": []}
    for _ in range(rounds + 1):
        for name, seconds in found.items():
            start = time.perf_counter()
            command = [sys.executable, "-c", f"import {name}"]
            subprocess.run(command, check=True, capture_output=True)
            seconds.append(time.perf_counter() - start)
    # The first ones read from disk.
    found = {key: statistics.median(x[1:]) for key, x in found.items()}
    found["ratio"] = found["keras_hvae"] / found["keras"]
    found = {key: round(x, 3) for key, x in found.items()}
    print(f"import: {found}")
    return found


def run(args, job):
    command = [
        sys.executable, __file__, args.corpus, "--key", args.key,
        "--steps", str(args.steps), "--worker", json.dumps(job),
    ]  # fmt: skip
    return _last_json(command)


def run_peer(args, options):
    command = [
        args.peer_python, args.peer, args.corpus, "--key", args.key,
        "--steps", str(args.steps), *options,
    ]  # fmt: skip
    return _last_json(command)


def _last_json(command):
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command)} failed:\n{done.stderr[-2000:]}"
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


# ---- one row, in a process of its own ----


def work(
    args, job, softmax="full", vocabulary=10_000, words=30, batch=32, dtype=None
):
    import keras

    import keras_hvae

    keras.utils.set_random_seed(0)
    if dtype is not None:
        keras.config.set_dtype_policy(dtype)
    product = product_rate(keras.config.dtype_policy().compute_dtype)
    if softmax == "plain":
        plain.do_not_pack()
        softmax = plain.PlainSoftmax(vocabulary, name="token_nll")
    model = keras_hvae.HVAE(vocabulary, softmax=softmax, **SIZES)
    model.compile(keras.optimizers.Adam(1e-3, global_clipnorm=5.0))
    before = peak_memory()  # libraries and weights
    if job == "generate":
        figures = generate(model)
    else:
        spent, tokens, positions, computed, flops = [], 0, 0, 0, 0
        batches = list(read_batches(args, vocabulary, words, batch))
        for ids, seconds in zip(batches, timed(model, job, batches)):
            if seconds is not None:
                spent.append(seconds)
                tokens += int((ids > 0).sum())
                positions += ids.size
                flops += gru_flops(ids)
                flops += softmax_flops(model.emission.token_nll, ids)
                packs = model.emission.word_decoder.gru.packs
                computed += computed_positions(ids) if packs else ids.size
        rate = tokens / sum(spent)
        # Forward and back; scoring needs a third.
        passes = 3 if job == "train" else 1
        needed = passes * flops
        figures = {
            "tokens_per_s": round(rate),
            "real_in_batch": round(tokens / positions, 3),
            "real_of_computed": round(tokens / computed, 3),
        }
        utilisation = needed / sum(spent) / product
        figures["model_flops_utilisation"] = round(float(utilisation), 3)
    return {
        "backend": keras.config.backend(),
        **figures,
        "product_gflops": round(product / 1e9, 1),
        "memory_before_mib": round(before),
        "peak_memory_mib": round(peak_memory()),
    }


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def computed_positions(ids):
    """How many entries the word GRUs compute of a batch."""
    import keras
    from keras import ops

    from keras_hvae.layers.recurrent.block_recurrence import Blocks
    from keras_hvae.layers.recurrent.packed_recurrence import Packing

    lengths = ops.cast((ids > 0).sum(-1).ravel(), "int32")
    if keras.config.backend() == "jax":
        blocks = Blocks(lengths, ids.shape[-1])
        return int(blocks.count) * blocks.block
    return len(Packing(lengths, ids.shape[-1]).by_time)


def timed(model, job, batches):
    """Seconds that each batch took in `fit` or `evaluate`."""
    import keras
    import tensorflow as tf

    dataset = tf.data.Dataset.from_generator(
        lambda: batches,
        output_signature=tf.TensorSpec([None, None, None], tf.int32),
    ).prefetch(2)
    times = [time.perf_counter()]

    def tick(batch, logs):
        float(logs["loss"])  # until it is there
        times.append(time.perf_counter())

    if job == "train":
        callback = keras.callbacks.LambdaCallback(on_train_batch_end=tick)
        model.fit(dataset, shuffle=False, verbose=0, callbacks=[callback])
    else:
        callback = keras.callbacks.Callback()
        callback.on_test_batch_end = tick
        model.evaluate(dataset, verbose=0, callbacks=[callback])
    # What is traced or compiled for a new shape is not what is measured: on
    # JAX each of them, else the first ones.
    on_jax = keras.config.backend() == "jax"
    seen = set()
    for k, (ids, seconds) in enumerate(zip(batches, np.diff(times))):
        new = ids.shape not in seen if on_jax else k < WARM_UP
        seen.add(ids.shape)
        yield None if new else seconds


def generate(model, rows=64, sentences=8, words=24):
    """Greedy, from the prior, like the peer: every sentence of full length."""
    from keras_hvae.ids import EOS_ID

    dense = getattr(model.emission.token_nll, "head", model.emission.token_nll)

    def end_sentences(logit):
        bias = np.array(dense.bias)
        bias[EOS_ID] = logit
        dense.bias.assign(bias)

    def once():
        start = time.perf_counter()
        ids = model.generate(
            num_documents=rows,
            num_sentences=sentences,
            max_words=words - 1,  # and the place of [EOS]
            sampler="greedy",
            seed=0,
            batch_size=rows,
        )
        return time.perf_counter() - start, np.asarray(ids)

    end_sentences(-1e9)  # none ends early
    assert (once()[1] > 0).all()
    spent = min(once()[0] for _ in range(3))
    end_sentences(1e9)  # all end at once
    assert (once()[1] > 0).sum() == rows * sentences
    stopped = min(once()[0] for _ in range(3))
    return {
        "tokens_per_s": round(rows * sentences * words / spent),
        "time_if_all_stop_at_once": round(stopped / spent, 3),
    }


def read_batches(args, vocabulary, words, batch):
    """Ids of documents as they come, each batch padded to its longest."""
    import keras_hvae

    documents = []
    for document in keras_hvae.data.read_documents(args.corpus, key=args.key):
        documents.append(document[:10])
        if len(documents) >= (args.steps + WARM_UP) * batch:
            break
    corpus = keras_hvae.data.load(
        {"train": documents}, vocabulary_size=vocabulary, max_words=words - 1
    )
    ids = np.asarray(corpus.vocabulary(documents))
    order = np.random.default_rng(0).permutation(len(ids))
    for start in range(0, len(ids), batch):
        padded = ids[order[start : start + batch]]
        real = padded > 0
        sentences = real.any((0, 2)).sum()
        yield padded[:, :sentences, : real.any((0, 1)).sum()]


def product_rate(dtype):
    """FLOP/s of a large matrix product on this backend, now."""
    from keras import ops, random

    a, b = random.normal((2560, 1024)), random.normal((1024, 2048))
    a, b = ops.cast(a, dtype), ops.cast(b, dtype)

    def once():
        start = time.perf_counter()
        ops.convert_to_numpy(ops.cast(ops.matmul(a, b)[0, 0], "float32"))
        return time.perf_counter() - start

    once()
    return 2 * 2560 * 1024 * 2048 / min(once() for _ in range(8))


def gru_flops(ids, emb=256, hid=512):
    """All words of a batch in word encoder and decoder, forward.

    What the decoder makes of a sentence's context is needed once a sentence.
    """
    words, sentences = (ids > 0).sum(), (ids > 0).any(-1).sum()
    return 2 * 3 * hid * (words * 2 * (emb + hid) + sentences * hid)


def softmax_flops(layer, ids, hid=512):
    """All tokens of a batch in the softmax, forward."""
    tokens = ids[ids > 0]
    if not hasattr(layer, "cutoffs"):
        return 2 * hid * layer.vocabulary_size * tokens.size
    total = 2 * hid * layer.head.units * tokens.size
    edges = [*layer.cutoffs, layer.vocabulary_size]
    for i, (start, stop) in enumerate(zip(edges, edges[1:])):
        width = layer.bottlenecks[i].units
        inside = ((tokens >= start) & (tokens < stop)).sum()
        total += 2 * inside * width * (hid + stop - start)
    return total


def sweep(args):
    found = {}
    for axis, values in SWEEPS.items():
        for softmax in SOFTMAXES if axis == "vocabulary" else SOFTMAXES[:2]:
            key = f"{axis}, {softmax}"
            for value in values:
                job = {"job": "train", "softmax": softmax, axis: value}
                figures = {axis: value, **run(args, job)}
                found.setdefault(key, []).append(figures)
                print(f"{key} {value}: {line(figures)}", flush=True)
    return found


def plot(found, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        2, len(SWEEPS), figsize=(4 * len(SWEEPS), 6), layout="constrained"
    )
    for column, axis in zip(axes.T, SWEEPS):
        for softmax in SOFTMAXES:
            points = found.get(f"{axis}, {softmax}")
            if points is None:
                continue
            x = [p[axis] for p in points]
            for plot, key in zip(column, ("tokens_per_s", "peak_memory_mib")):
                plot.plot(x, [p[key] for p in points], "o-", label=softmax)
        column[0].set_title(f"training, by {axis}")
        column[0].set_ylabel("real tokens / s")
        column[1].set_ylabel("peak memory, MiB")
        for plot in column:
            plot.set_xscale("log")
            plot.set_xticks(SWEEPS[axis], map(str, SWEEPS[axis]))
            plot.minorticks_off()
            plot.set_ylim(0)
            plot.legend()
        column[1].set_xlabel(axis)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
