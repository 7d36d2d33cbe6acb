"""What an exported model stands in service.

    python benchmarks/serving.py saved_models/hvae_small_shakespeare_en

Prints and writes (`--out`): the latency of `encode` over that of the bare
forward pass; memory over many requests of random shapes, and at the peak of
large ones, each in a process of its own; and, through the REST server of
`examples/serving` on loopback, requests a second and latencies of mixed
requests of 16 clients, a tenth of them malformed, with the count of answers
that differ from the direct call; and the same while a new version is put in
place. `--parts` runs some of it; the figures of others stay in the file.
"""

import argparse
import concurrent.futures
import gc
import json
import multiprocessing
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import keras
import numpy as np
import tensorflow as tf

PARTS = "encode", "memory", "large", "load"
SERVING = pathlib.Path(__file__).parents[1] / "examples" / "serving"
WORDS = (
    "the king is dead . long live my lord , good morrow cousin what news ? "
    "thou art a villain ! love and honour speak zounds"
).split()
MALFORMED = (
    b"{",
    b"",
    {"instances": []},
    {"instances": [{"document": "no seed"}]},
    {"signature_name": "encode", "instances": [3]},
    {"signature_name": "sing", "instances": ["a"]},
    {"signature_name": "encode", "instances": [["a", "b"]]},
    {
        "instances": [
            {"document": "a", "seed": 1, "temperature": -1, "top_p": 1}
        ]
    },
)


def document(rng, sentences=8, words=12):
    return "\n".join(
        " ".join(rng.choices(WORDS, k=rng.randint(1, words)))
        for _ in range(rng.randint(1, sentences))
    )


def request(rng):
    """Name and rows of a request of one to three documents."""
    name = rng.choice(("reply", "encode", "score", "reconstruct", "generate"))
    rows = []
    for _ in range(rng.choice((1, 1, 1, 3))):
        row = {} if name == "generate" else {"document": document(rng)}
        if name in ("reply", "generate", "score"):
            row["seed"] = rng.randrange(1000)
        if name in ("reply", "generate"):
            row |= {"temperature": 0.8, "top_p": 0.9}
        rows.append(row)
    return name, rows


def resident(what="VmRSS"):
    """MiB of memory that this process has now, or has had (`VmHWM`)."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024


def milliseconds(times):
    times = 1000 * np.array(times)
    return {
        "p50": round(float(np.percentile(times, 50)), 2),
        "p99": round(float(np.percentile(times, 99)), 2),
    }


def timed(call, count):
    times = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def against_the_forward_pass(signatures, preset, count=300):
    """`encode` of one short document, and of its ids by the model."""
    import keras_hvae
    from keras_hvae.inference import compiled

    model = keras_hvae.HVAE.from_preset(preset)
    text = "good morrow, cousin.\nis the day so young?"
    ids = model.preprocessor([text.split("\n")])
    noise = tf.zeros([1, 2, model.latent_dim])
    bare = tf.function(lambda ids: compiled.encode(model, ids, noise))
    ids, given = tf.constant(ids), tf.constant([text])
    calls = {
        "encode": lambda: signatures["encode"](document=given),
        "forward": lambda: bare(ids),
    }
    times = {name: [] for name in calls}
    for call in calls.values():
        timed(call, 50)
    for _ in range(10):  # in turn: the machine may change
        for name, call in calls.items():
            times[name] += timed(call, count // 10)
    figures = {name: milliseconds(x) for name, x in times.items()}
    ratio = figures["encode"]["p50"] / figures["forward"]["p50"]
    return {**figures, "ratio of p50": round(ratio, 2)}


def memory(served, count, warmup=1000):
    """Resident MiB after a warm-up and after so many random requests."""
    rng = random.Random(1)
    start = None
    bar = keras.utils.Progbar(count + warmup)
    for i in range(count + warmup):
        bar.update(i)
        if i == warmup:
            gc.collect()
            start = resident()
        ask_directly(served, *request(rng))
    bar.update(count + warmup)
    gc.collect()
    end = resident()
    return {
        "MiB after warm-up": round(start, 1),
        "MiB in the end": round(end, 1),
        "growth, %": round(100 * (end / start - 1), 2),
    }


def large_requests(path):
    """MiB more at the peak of a large request than after a small one."""
    # About 41 KB each, of the shapes that padding makes large.
    large = {
        "20,000 words and 500 sentences": ["a " * 20_000, "a\n" * 500],
        "16 rows, one long and one of many": [
            "a " * 10_000,
            "a\n" * 10_000,
            *["a"] * 14,
        ],
    }
    peaks = {}
    for signature in ("encode", "reply", "score", "reconstruct", "interpolate"):
        for name, documents in large.items():
            with multiprocessing.get_context("spawn").Pool(1) as fresh:
                peaks[f"{signature}, {name}"] = fresh.apply(
                    peak, (path, signature, documents)
                )
    return peaks


def peak(path, signature, documents):
    """Of one request in this process, in MiB more than before."""
    sys.path.insert(0, str(SERVING))
    from served_model import ServedModel

    def columns(documents):
        rows = len(documents)
        if signature == "interpolate":
            return {"a": documents, "b": documents, "weight": [0.5] * rows}
        columns = {"document": documents}
        if signature in ("reply", "score"):
            columns["seed"] = [1] * rows
        if signature == "reply":
            columns |= {"temperature": [0.8] * rows, "top_p": [0.9] * rows}
        return columns

    served = ServedModel(path)
    for _ in range(3):
        served.predict(signature, columns(["good morrow , cousin ."]))
    # The peak is that from here on.
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = resident()
    served.predict(signature, columns(documents))
    return round(resident("VmHWM") - before, 1)


def ask_directly(served, name, rows):
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    return served.predict(name, columns)[0]


def post(url, body):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = urllib.request.Request(
        f"{url}:predict", data, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


def load(url, served, count, clients, swap=None):
    """Mixed requests of several clients; what came back."""
    rng = random.Random(2)
    jobs = [
        (None, rng.choice(MALFORMED)) if rng.random() < 0.1 else request(rng)
        for _ in range(count)
    ]
    expected = [
        None if name is None else ask_directly(served, name, rows)
        for name, rows in jobs
    ]

    def ask(job):
        name, rows = job
        body = rows
        if name is not None:
            body = {"signature_name": name, "instances": rows}
        start = time.perf_counter()
        status, answer = post(url, body)
        return time.perf_counter() - start, status, answer

    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        pending = [pool.submit(ask, job) for job in jobs]
        if swap is not None:
            time.sleep(1)
            swap()
        bar = keras.utils.Progbar(count)
        for x in concurrent.futures.as_completed(pending):
            x.result()
            bar.add(1)
    answers = [x.result() for x in pending]
    seconds = time.perf_counter() - start
    statuses = {}
    differing = refused = 0
    for (name, _), answer, right in zip(jobs, answers, expected):
        _, status, body = answer
        statuses[status] = statuses.get(status, 0) + 1
        if name is None:
            refused += 400 <= status < 500 and len(body.get("error", "")) > 10
        else:
            differing += status != 200 or not same(
                body["predictions"], right, exactly=name != "encode"
            )
    return {
        "requests": count,
        "clients": clients,
        "malformed": sum(name is None for name, _ in jobs),
        "of these refused with a sentence": refused,
        "answers by status": statuses,
        "answers that differ from the direct call": differing,
        "requests a second": round(count / seconds, 1),
        "milliseconds": milliseconds([x[0] for x in answers]),
    }


def same(predictions, columns, exactly):
    sizes = {len(x) for x in columns.values()}
    if sizes != {len(predictions)}:
        return False
    for i, row in enumerate(predictions):
        if row.keys() != columns.keys():
            return False
        for key, x in row.items():
            expected = columns[key][i]
            if columns[key].dtype == object:
                flat = np.ravel(expected)
                texts = [x] if isinstance(x, str) else x
                if [y.decode() for y in flat] != texts:
                    return False
            elif exactly and not np.array_equal(x, expected):
                return False
            elif not np.allclose(x, expected, atol=1e-5):
                return False
    return True


def start_server(folder, log):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = subprocess.Popen(
        [
            *(sys.executable, SERVING / "rest_server.py", folder),
            *("--name", "m", "--http_port", str(port)),
        ],
        stdout=log,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/v1/models/m"
    while server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5)
            return server, url
        except OSError:
            time.sleep(0.5)
    raise RuntimeError("rest_server.py ended; run it alone to see why")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path", help="folder of a model's versions")
    parser.add_argument("--preset", help="of the model (default: its name)")
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--shapes", type=int, default=16_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", help="JSON file to write or to add to")
    args = parser.parse_args()
    sys.path.insert(0, str(SERVING))
    from served_model import ServedModel

    path = pathlib.Path(args.path)
    served = ServedModel(path)
    figures = {}
    if args.out and pathlib.Path(args.out).exists():
        figures = json.loads(pathlib.Path(args.out).read_text())

    def show(name, value):
        figures[name] = value
        print(f"{name}: {json.dumps(value, indent=1)}", flush=True)
        if args.out:
            text = json.dumps(figures, indent=1) + "\n"
            pathlib.Path(args.out).write_text(text)

    preset = args.preset or path.resolve().name
    if "encode" in args.parts:
        show(
            "encode in process, milliseconds",
            against_the_forward_pass(served.current[1], preset),
        )
    if "memory" in args.parts:
        show("memory", memory(served, args.shapes))
    if "large" in args.parts:
        show("MiB more at the peak of a request", large_requests(path))
    if "load" in args.parts:
        run_server(path, served, args, show)


def run_server(path, served, args, show):
    """Mixed requests to the REST server, and a new version meanwhile."""
    with tempfile.TemporaryDirectory() as work:
        folder = pathlib.Path(work, "m")
        first = path / str(served.current[0])
        shutil.copytree(first, folder / "1")
        log = pathlib.Path(work, "log")
        with open(log, "w") as file:
            server, url = start_server(folder, file)
        try:
            show("load", load(url, served, args.requests, args.clients))

            def swap():
                shutil.copytree(first, folder / ".2-new")
                (folder / ".2-new").rename(folder / "2")

            show(
                "load, a new version meanwhile",
                load(url, served, args.requests // 4, args.clients, swap),
            )
            if "version 2" not in log.read_text():
                raise RuntimeError(
                    "the server has not changed over: ask for more --requests"
                )
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
