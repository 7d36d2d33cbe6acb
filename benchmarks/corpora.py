"""The corpora of the results table, read from a folder of folders."""

import collections
import io
import pathlib
import zipfile

import numpy as np

import keras_hvae
from keras_hvae.data import read_documents
from keras_hvae.data.buckets import Buckets
from keras_hvae.data.id_batches import IdBatches
from keras_hvae.data.npz import Documents, sum_shapes
from keras_hvae.ids import EOS_ID, SPECIAL_TOKENS, UNK_ID

MAX_SENTENCES, MAX_TOKENS = 10, 30  # of dialogues, `[EOS]` counted
SPLITS = ("train", "valid", "test")

Corpus = collections.namedtuple("Corpus", ("vocabulary", *SPLITS))


def load(name, folder, vocabulary_size=10_000, batch_size=32):
    """A corpus with `vocabulary`, `train`, `valid` and `test`.

    Args:
        name: `"ptb"`, `"dailydialog"`, `"cornell"`, `"chitchat"`,
            `"movie_reviews"` or `"shakespeare"` (which needs no folder).
        folder: where the folders of the corpora are.
        vocabulary_size: number of ids; not for PTB, which has its own.
        batch_size: documents; of PTB sentences.
    """
    if name == "ptb":
        return load_ptb(pathlib.Path(folder) / "ptb", batch_size)
    options = {
        "batch_size": batch_size,
        "vocabulary_size": vocabulary_size,
        "max_sentences": MAX_SENTENCES,
        "max_words": MAX_TOKENS - 1,
    }
    if name == "shakespeare":
        return keras_hvae.data.load("shakespeare_scenes", **options)
    if name == "movie_reviews":
        path = pathlib.Path(folder) / "movie_reviews_nltk/movie_reviews.zip"
        return keras_hvae.data.load(read_reviews(path), **options)
    folder = pathlib.Path(folder) / name
    return keras_hvae.data.load(
        {split: list(read_dialogues(folder, split)) for split in SPLITS},
        **options,
    )


def read_dialogues(folder, split):
    """The first turns of each dialogue: VHRED's and VHCR's convention."""
    for turns in read_documents(folder / f"{split}.jsonl.xz", key="t"):
        if turns := [x for x in turns if x.strip()][:MAX_SENTENCES]:
            yield turns


def read_reviews(path):
    """Reviews, a sentence a line; fold 9 to test on, fold 8 to validate."""
    splits = {split: [] for split in SPLITS}
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith(".txt") or "/cv" not in name:
                continue
            with archive.open(name) as file:
                lines = io.TextIOWrapper(file, "utf-8", "replace").readlines()
            fold = int(pathlib.Path(name).name[2:5]) % 10
            split = {9: "test", 8: "valid"}.get(fold, "train")
            splits[split].append([x for x in lines if x.strip()])
    return splits


def load_ptb(folder, batch_size=32):
    """PTB's sentences, each a document: 9,999 words and `[EOS]`, as published.

    Text is split at spaces; `<unk>` is the id of unknown words.
    """
    lines = {
        split: [
            line.split()
            for text in read_documents(folder / f"ptb.{split}.txt.xz")
            for line in text
        ]
        for split in SPLITS
    }
    counts = collections.Counter(w for line in lines["train"] for w in line)
    del counts["<unk>"]
    words = [word for word, _ in counts.most_common()]
    ids = {word: i for i, word in enumerate(words, len(SPECIAL_TOKENS))}
    ids["<unk>"] = UNK_ID
    parts = {}
    for split in SPLITS:
        rows = [[*(ids[w] for w in line), EOS_ID] for line in lines[split]]
        lengths = np.array([len(row) for row in rows], "int32")
        parts[split] = Documents(
            np.concatenate(rows).astype("int32"), lengths, np.ones_like(lengths)
        )
    shapes = sum_shapes(part.shapes() for part in parts.values())
    buckets = Buckets(shapes, batch_size)
    return Corpus(
        len(ids) + len(SPECIAL_TOKENS) - 1,
        **{
            split: IdBatches(part, buckets, shuffle=split == "train", seed=0)
            for split, part in parts.items()
        },
    )
