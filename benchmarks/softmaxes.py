"""What does each softmax cost, and what does it learn from as many words?

    python benchmarks/softmaxes.py ptb.train.txt.xz ptb.valid.txt.xz
        [--vocabulary-size 10000] [--tokens 2000000]

"before" is the full softmax without fast paths: all logits of all positions at
once, GRUs over pads. "bfloat16" is the policy "mixed_bfloat16".

Trains the default model once with each softmax: the same documents in the
same order, for as many words. Prints words per second in training and, for
validation at beta = 1 with the exact softmax, -ELBO in nats a word (with its
perplexity) beside that of the first row. Every row is a process of its own.

The SVD-softmax approximates the logits of the trained full softmax when words
are written: for several widths, how often its most probable word is the exact
one, what the approximation costs in nats a word, and greedy words per second.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import plain

ROWS = (
    "full",
    "full, tied",
    "adaptive",
    "class",
    "sampled",
    "sampled, tied",
    "nce",
    "one_vs_each",
    "full, bfloat16",
    "adaptive, bfloat16",
    "before",
)
# Fractions of the width and of the vocabulary.
SVD = ((8, 20), (4, 100), (8, 1000))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("train")
    parser.add_argument("valid")
    parser.add_argument("--key", default="sentences", help="of .jsonl files")
    parser.add_argument("--vocabulary-size", type=int, default=10_000)
    parser.add_argument("--valid-documents", type=int, default=500)
    parser.add_argument("--max-words", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=2_000_000)
    parser.add_argument("--only", nargs="*", choices=ROWS, default=ROWS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="softmaxes.json")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(work(args, *args.worker)))
        return
    results = {
        "train": pathlib.Path(args.train).name,
        "valid": pathlib.Path(args.valid).name,
        "vocabulary_size": args.vocabulary_size,
        "max_words": args.max_words,
        "seed": args.seed,
        "rows": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        corpus = pathlib.Path(folder) / "corpus.npz"
        read(args).save(corpus)
        for name in args.only:
            results["rows"][name] = run(name, corpus)
            print_row(name, results["rows"])
    text = json.dumps(results, indent=1) + "\n"
    pathlib.Path(args.out).write_text(text)


def print_row(name, rows):
    row = rows[name]
    first = next(iter(rows.values()))
    print(
        f"{name:<18} {row['tokens_per_s']:7.0f} words/s "
        f"({row['tokens_per_s'] / first['tokens_per_s']:4.2f}), "
        f"-ELBO {row['neg_elbo']:.3f} "
        f"({100 * row['neg_elbo'] / first['neg_elbo'] - 100:+5.1f} %), "
        f"perplexity {row['perplexity']:.1f}, KL {row['kl']:.1f}, "
        f"greedy {row['generation']['exact']} words/s",
        flush=True,
    )
    for svd in row.get("svd", ()):
        print("   SVD", svd, flush=True)


def read(args):
    import keras_hvae

    splits = {
        split: list(keras_hvae.data.read_documents(path, key=args.key))
        for split, path in (("train", args.train), ("valid", args.valid))
    }
    splits["valid"] = splits["valid"][: args.valid_documents]
    corpus = keras_hvae.data.load(
        splits, vocabulary_size=args.vocabulary_size, max_words=args.max_words
    )
    print(corpus.report)
    return corpus


def run(name, corpus):
    command = [sys.executable, *sys.argv, "--worker", name, str(corpus)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def work(args, name, path):
    import keras

    import keras_hvae

    keras.utils.set_random_seed(args.seed)
    softmax, *options = name.split(", ")
    if "bfloat16" in options:
        keras.config.set_dtype_policy("mixed_bfloat16")
    corpus = keras_hvae.data.load(path)
    if softmax == "before":
        plain.do_not_pack()
        softmax = plain.PlainSoftmax(len(corpus.vocabulary), name="token_nll")
    model = keras_hvae.HVAE(
        corpus.vocabulary,
        embedding_dim=128,
        hidden_dim=256,
        decoder_dim=256,
        dropout=0.0,
        word_dropout=0.5,
        free_bits=6.0,
        softmax=softmax,
        tie_embeddings="tied" in options,
        seed=args.seed,
    )
    model.compile(keras.optimizers.Adam(1e-3, global_clipnorm=5.0))
    tokens, rate = fit(model, corpus.train, args.tokens)
    figures = model.evaluate(corpus.valid, verbose=0, return_dict=True)
    row = {
        "backend": keras.config.backend(),
        "parameters": model.count_params(),
        "tokens": tokens,
        "tokens_per_s": round(rate),
        "neg_elbo": round(float(np.log(figures["perplexity"])), 4),
        **{
            key: round(float(figures[key]), 3)
            for key in ("perplexity", "kl", "nll")
        },
        "generation": {"exact": generation_rate(model)},
    }
    if name == "full":
        row["svd"] = [svd(model, corpus, width, words) for width, words in SVD]
    return row


def fit(model, train, tokens):
    """Trains until there were so many words; these, and words per second."""
    import keras

    batches, sizes, times = [], [], []
    while sum(sizes) < tokens:
        batches += map(np.asarray, train)
        sizes = [int((x > 0).sum()) for x in batches]
    steps = 1 + int(np.searchsorted(np.cumsum(sizes), tokens))

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return steps

        def __getitem__(self, index):
            return batches[index]

    def tick(batch, logs):
        float(logs["loss"])  # until it is there
        times.append(time.perf_counter())

    model.fit(
        Batches(),
        shuffle=False,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=tick)],
    )
    # Not the first steps, in which it is traced or compiled.
    first = len(times) // 5
    rate = sum(sizes[first + 1 : steps]) / (times[-1] - times[first])
    return sum(sizes[:steps]), rate


def generation_rate(model, rows=64, **options):
    """Greedy words per second."""
    from keras_hvae import samplers
    from keras_hvae.ids import EOS_ID

    banned = np.where(np.arange(model.vocabulary_size) == EOS_ID, -1e9, 0.0)

    class Endless(samplers.Greedy):
        """No sentence ends early: of all softmaxes as many words."""

        def compute_probabilities(self, logits):
            return logits + banned.astype("float32")

    z = np.random.default_rng(0).standard_normal((rows, 4, model.latent_dim))
    sampler = Endless()

    def once():
        start = time.perf_counter()
        model.decode(
            z, max_words=20, batch_size=rows, sampler=sampler, **options
        )
        return rows * 4 * 21 / (time.perf_counter() - start)

    once()
    return round(max(once() for _ in range(3)))


def svd(model, corpus, width, words):
    """The approximation beside the exact softmax, over validation words."""
    from keras import ops

    from keras_hvae.layers import SVDSoftmax

    hidden_dim = model.emission.word_decoder.units
    fast = SVDSoftmax.of(
        model.emission.token_nll,
        hidden_dim // width,
        model.vocabulary_size // words,
    )
    exact_nll = fast_nll = same = count = 0
    for ids in list(corpus.valid)[:3]:
        ids = np.asarray(ids)
        contexts = model.infer(ids)["context"]
        hidden = ops.convert_to_numpy(model.emission.states(ids, contexts))
        hidden = hidden[ids > 0]
        rows, targets = np.arange(256), ids[ids > 0]
        for start in range(0, len(targets) - 256, 256):
            part = hidden[start : start + 256]
            target = targets[start : start + 256]
            logits = [
                ops.convert_to_numpy(
                    ops.log_softmax(x.logits(ops.convert_to_tensor(part)))
                )
                for x in (model.emission.token_nll, fast)
            ]
            exact_nll -= logits[0][rows, target].sum()
            fast_nll -= logits[1][rows, target].sum()
            same += (logits[0].argmax(-1) == logits[1].argmax(-1)).sum()
            count += 256
    return {
        "width": fast.width,
        "candidates": fast.num_candidates,
        "same_word": round(float(same / count), 4),
        "nats_a_word_more": round(float(fast_nll - exact_nll) / count, 4),
        "generation": {
            f"{rows} x 4 rows, {name}": generation_rate(model, rows, softmax=x)
            for rows in (1, 64)
            for name, x in (("exact", None), ("svd", fast))
        },
    }


if __name__ == "__main__":
    main()
