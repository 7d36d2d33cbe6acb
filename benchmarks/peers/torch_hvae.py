"""The same hierarchical VAE, as a PyTorch user would write it.

    python -m venv .venv-torch
    .venv-torch/bin/pip install torch==2.13.0 numpy
    .venv-torch/bin/python benchmarks/peers/torch_hvae.py \
        train.jsonl.xz --key t --steps 10 [--naive] [--bfloat16]
    .venv-torch/bin/python benchmarks/peers/torch_hvae.py --generate

What `throughput.py --peer` runs beside the package: the architecture of `HVAE`
(transition "rnn", shared prior) with `nn.GRU` over packed sequences, logits of
real tokens only, and Adam. `--naive` pads to the longest sentence and computes
logits of pads, too; `--generate` writes greedily, in a loop of Python;
`--bfloat16` runs the model under PyTorch's own autocast.

Prints JSON: real tokens a second, the rate of a large matrix product in this
process just before (of bfloat16 with `--bfloat16`), and the utilisation: the
model FLOPs that the real tokens need, over the FLOPs that this product reached.
"""

import argparse
import collections
import json
import lzma
import re
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

PAD, UNK, BOS, EOS = 0, 1, 2, 3
# Steps that are not measured.
WARM_UP = 4


def read_corpus(path, key, vocabulary, max_turns, max_words, limit):
    documents = []
    opener = lzma.open if str(path).endswith(".xz") else open
    with opener(path, "rt", encoding="utf-8") as file:
        for line in file:
            turns = json.loads(line)[key][:max_turns]
            documents.append(
                [
                    re.findall(r"\w+|[^\w\s]", turn.lower())[: max_words - 1]
                    for turn in turns
                ]
            )
            if len(documents) >= limit:
                break
    counts = collections.Counter(w for d in documents for t in d for w in t)
    words = counts.most_common(vocabulary - 4)
    ids = {word: i + 4 for i, (word, _) in enumerate(words)}
    return [
        [[ids.get(w, UNK) for w in turn] + [EOS] for turn in document]
        for document in documents
    ]


def batches(documents, size, seed=0):
    order = np.random.RandomState(seed).permutation(len(documents))
    for start in range(0, len(order) - size, size):
        chunk = [documents[i] for i in order[start : start + size]]
        n, m = max(map(len, chunk)), max(len(s) for d in chunk for s in d)
        x = np.zeros((size, n, m), "int64")
        for b, document in enumerate(chunk):
            for i, sentence in enumerate(document):
                x[b, i, : len(sentence)] = sentence
        yield torch.from_numpy(x)


def pack(values, lengths):
    return pack_padded_sequence(
        values, lengths.cpu(), batch_first=True, enforce_sorted=False
    )


class HVAE(nn.Module):
    def __init__(
        self, vocabulary, embedding=256, hidden=512, latent=64, naive=False
    ):
        super().__init__()
        self.naive, self.hidden, self.latent = naive, hidden, latent
        self.embed = nn.Embedding(vocabulary, embedding, padding_idx=PAD)
        self.word_encoder = nn.GRU(embedding, hidden, batch_first=True)
        self.forward_gru = nn.GRU(hidden, hidden, batch_first=True)
        self.backward_gru = nn.GRU(hidden, hidden, batch_first=True)
        self.state = nn.Linear(latent, hidden)
        self.cell = nn.GRUCell(hidden, hidden)
        self.stats = nn.Linear(hidden, 2 * latent)
        self.lat2dec = nn.Linear(latent, hidden)
        self.word_decoder = nn.GRU(embedding + hidden, hidden, batch_first=True)
        self.out = nn.Linear(hidden, vocabulary)

    def forward(self, x):
        """Ids (B, n, m) to the sums of nll and KL, nats."""
        batch, n, m = x.shape
        lengths = (x > 0).sum(-1)  # (B, n)
        real = lengths > 0
        flat, lengths = x[real], lengths[real]  # (S, m), (S,)
        embedded = self.embed(flat)
        if self.naive:
            states, _ = self.word_encoder(embedded)
            read = states[torch.arange(len(flat)), lengths - 1]
        else:
            _, last = self.word_encoder(pack(embedded, lengths))
            read = last[0]
        h = torch.zeros(batch, n, self.hidden)
        h = h.masked_scatter(real[..., None], read.float())
        c, _ = self.forward_gru(h)
        sizes = real.sum(1)
        place = (sizes[:, None] - 1 - torch.arange(n)).clamp(min=0)
        turned = c.gather(1, place[..., None].expand_as(c))
        states, _ = self.backward_gru(turned)
        t = states[torch.arange(batch), sizes - 1]
        kl, contexts, z = 0.0, [], None
        mean_p = log_var_p = torch.zeros(batch, self.latent)
        for i in range(n):
            if i:
                state = self.state(z)
                t = self.cell(c[:, i], state)
                prior = self.stats(self.cell(contexts[-1], state))
                mean_p, log_var_p = prior.chunk(2, -1)
            mean, log_var = self.stats(t).chunk(2, -1)
            z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
            nats = 0.5 * (
                log_var_p
                - log_var
                - 1
                + torch.exp(log_var - log_var_p)
                + (mean - mean_p) ** 2 * torch.exp(-log_var_p)
            ).sum(-1)
            kl = kl + (nats * real[:, i]).sum()
            contexts.append(torch.tanh(self.lat2dec(z)))
        d = torch.stack(contexts, 1)[real]  # (S, H)
        before = F.pad(flat[:, :-1], (1, 0), value=BOS)
        beside = d[:, None].expand(-1, m, -1)
        inputs = torch.cat([self.embed(before), beside], -1)
        if self.naive:
            states, _ = self.word_decoder(inputs, d[None])
            logits = self.out(states).transpose(1, 2)
            nll = F.cross_entropy(
                logits, flat, ignore_index=PAD, reduction="sum"
            )
        else:
            d = d.to(inputs.dtype)
            states, _ = self.word_decoder(pack(inputs, lengths), d[None])
            targets = pack(flat, lengths).data
            logits = self.out(states.data)
            nll = F.cross_entropy(logits, targets, reduction="sum")
        return nll, kl

    @torch.no_grad()
    def generate(self, rows, sentences, words):
        """Writes greedily, all sentences of full length, all at once."""
        z = torch.randn(rows, self.latent)
        contexts = [torch.tanh(self.lat2dec(z))]
        for _ in range(sentences - 1):
            prior = self.stats(self.cell(contexts[-1], self.state(z)))
            mean, log_var = prior.chunk(2, -1)
            z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
            contexts.append(torch.tanh(self.lat2dec(z)))
        d = torch.cat(contexts)  # (sentences · rows, H)
        state, word = d[None], torch.full((len(d), 1), BOS)
        for _ in range(words):
            inputs = torch.cat([self.embed(word), d[:, None]], -1)
            states, state = self.word_decoder(inputs, state)
            word = self.out(states).argmax(-1)


def autocast(bfloat16, device="cpu"):
    return torch.autocast(device, torch.bfloat16, enabled=bfloat16)


def timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def product_rate(dtype):
    """FLOP/s of a large matrix product, now."""
    a, b = torch.randn(2560, 1024), torch.randn(1024, 2048)
    a, b = a.to(dtype), b.to(dtype)
    timed(lambda: a @ b)
    best = min(timed(lambda: a @ b) for _ in range(8))
    return 2 * 2560 * 1024 * 2048 / best


def flops_per_token(vocabulary, embedding=256, hidden=512):
    """Of training: word encoder, decoder, softmax, forward and back.

    As packed sequences have it, each word multiplies its sentence's context.
    """
    gates = 3 * hidden * (embedding + hidden)
    gates += 3 * hidden * (embedding + 2 * hidden)
    return 6 * (gates + hidden * vocabulary)


def training_step(model, optimizer, x, bfloat16=False):
    with autocast(bfloat16, x.device.type):
        nll, kl = model(x)
    optimizer.zero_grad()
    ((nll + kl) / len(x)).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    return nll, kl


def train(args, rate):
    limit = (args.steps + WARM_UP) * args.batch + 1
    documents = read_corpus(
        args.corpus, args.key, args.vocabulary, 10, 30, limit
    )
    model = HVAE(args.vocabulary, naive=args.naive)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    tokens, spent = 0, []
    for step, x in enumerate(batches(documents, args.batch)):
        start = time.perf_counter()
        nll, _ = training_step(model, optimizer, x, args.bfloat16)
        if step >= WARM_UP:
            spent.append(time.perf_counter() - start)
            tokens += int((x > 0).sum())
        if step + 1 == args.steps + WARM_UP:
            break
    speed = tokens / sum(spent)
    needed = speed * flops_per_token(args.vocabulary)
    return {
        "peer": "torch naive" if args.naive else "torch packed",
        "tokens_per_s": round(speed),
        "model_flops_utilisation": round(needed / rate, 3),
        "nll_per_token": round(nll.item() / int((x > 0).sum()), 3),
    }


def generate(args):
    model = HVAE(args.vocabulary)
    with autocast(args.bfloat16):
        model.generate(64, 1, 4)
        spent = min(timed(lambda: model.generate(64, 8, 24)) for _ in range(3))
    return {
        "peer": "torch greedy",
        "tokens_per_s": round(64 * 8 * 24 / spent),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", nargs="?", help=".jsonl or .jsonl.xz")
    parser.add_argument("--key", default="sentences")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--vocabulary", type=int, default=10_000)
    parser.add_argument("--naive", action="store_true")
    parser.add_argument("--generate", action="store_true")
    parser.add_argument("--bfloat16", action="store_true")
    args = parser.parse_args()
    if args.corpus is None and not args.generate:
        parser.error("expected a corpus to train on. Received: none")
    torch.manual_seed(0)
    rate = product_rate(torch.bfloat16 if args.bfloat16 else torch.float32)
    figures = generate(args) if args.generate else train(args, rate)
    print(json.dumps({**figures, "product_gflops": round(rate / 1e9, 1)}))


if __name__ == "__main__":
    main()
