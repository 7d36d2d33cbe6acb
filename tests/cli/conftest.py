import random

import pytest

from keras_hvae.cli import main

WORDS = "the a king queen sees loves hates dog cat old".split()


def write_corpus(path, documents=40, seed=0):
    rng = random.Random(seed)
    lines = []
    for _ in range(documents):
        for _ in range(rng.randint(2, 4)):
            words = (rng.choice(WORDS) for _ in range(rng.randint(1, 6)))
            lines.append(" ".join(words) + ".")
        lines.append("")
    path.write_text("\n".join(lines) + "\n")
    return path


TINY = [
    "--epochs=2",
    "--batch-size=8",
    "--max-words=8",
    "--hidden-dim=8",
    "--latent-dim=3",
    "--embedding-dim=6",
]
OPTIONS = [*TINY, "--initial-prior=empirical", "--kl-annealing=linear"]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.txt")


@pytest.fixture(scope="session")
def trained(corpus, tmp_path_factory):
    """The folder of a tiny trained model."""
    out = tmp_path_factory.mktemp("trained") / "model"
    assert main(["train", str(corpus), "--out", str(out), *OPTIONS]) == 0
    return out
