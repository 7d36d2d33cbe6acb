"""Corpora as plain arrays of ids: no TensorFlow is needed to train on them."""

import functools
import itertools
import json
import zipfile

import numpy as np

from keras_hvae.data.buckets import Buckets
from keras_hvae.data.corpus import Corpus
from keras_hvae.data.id_batches import IdBatches
from keras_hvae.data.report import Report
from keras_hvae.data.sources import SPLITS
from keras_hvae.files import write_whole
from keras_hvae.text import Preprocessor

# For each split all ids, the length of each sentence, of each document.
ARRAYS = ("ids", "words", "sentences")
CHUNK = 1000  # documents encoded at a time


def save_npz(corpus, path):
    """Writes a corpus as `.npz`; see `Corpus.save`."""
    report = corpus.report
    about = {
        "name": corpus.name,
        "preprocessor": corpus.vocabulary.get_config(),
        "skipped": report.skipped,
        "splits": report.splits,
    }
    arrays = {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)}
    for split in report.splits:
        parts = [
            flat(corpus.vocabulary(chunk))
            for chunk in chunks(corpus.windows(split), CHUNK)
        ]
        for name, pieces in zip(ARRAYS, zip(*parts)):
            arrays[f"{split}_{name}"] = np.concatenate(pieces)
    with write_whole(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def load_npz(path, batch_size, seed):
    """Reads what `save_npz` wrote.

    Args:
        path: of the file.
        batch_size: the number of windows in a batch.
        seed: of the order of the train windows.

    Returns:
        A `Corpus` with `IdBatches` as datasets.

    Raises:
        ValueError: if the file is not what `save_npz` writes.
    """
    try:
        with np.load(path) as file:
            arrays = dict(file)
        about = json.loads(arrays["about"].tobytes())
        preprocessor = Preprocessor.from_config(about["preprocessor"])
        rows = about["splits"]
        parts = {
            split: [arrays[f"{split}_{name}"] for name in ARRAYS]
            for split in rows
        }
    except (KeyError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise not_a_corpus(path, error) from error
    for split, part in parts.items():
        _check(path, split, *part, len(preprocessor))
    documents = {split: Documents(*part) for split, part in parts.items()}
    shapes = {split: x.shapes() for split, x in documents.items()}
    buckets = Buckets(sum_shapes(shapes.values()), batch_size)
    batches = {}
    for split, x in documents.items():
        train = split == "train"
        batches[split] = IdBatches(x, buckets, shuffle=train, seed=seed)
        steps, positions = buckets.batches(shapes[split], fill=train)
        tokens = rows[split]["tokens"]
        rows[split] |= {"batches": steps, "real": tokens / positions}
    windows = {
        split: functools.partial(_strings, preprocessor, x)
        for split, x in documents.items()
    }
    return Corpus(
        about["name"],
        preprocessor,
        windows,
        batches,
        report_of(about, preprocessor),
    )


def not_a_corpus(path, error):
    """What to raise for something that `Corpus.save` did not write."""
    return ValueError(
        f"{path}: must be a corpus written by `Corpus.save`. Received: "
        f"something that is not ({error})"
    )


def report_of(about, preprocessor):
    """The `Report` of a corpus of which `about` was saved."""
    return Report(
        about["name"],
        len(preprocessor),
        about["skipped"],
        about["splits"],
        tuple(
            f"The {split} split has no documents."
            for split in SPLITS
            if split not in about["splits"]
        ),
    )


class Documents:
    """Documents as flat arrays, each taken out as a padded array of ids."""

    def __init__(self, ids, words, sentences):
        self.ids, self.words, self.sentences = ids, words, sentences
        # Where each document begins: among the sentences, among the ids.
        self.first_sentence = np.cumsum(sentences) - sentences
        self.first_id = np.cumsum(words) - words

    def __len__(self):
        return len(self.sentences)

    def __getitem__(self, index):
        """Ids `(n, m)` of a document, padded with 0."""
        begin = self.first_sentence[index]
        rows = slice(begin, begin + self.sentences[index])
        words = self.words[rows]
        ids = np.zeros((len(words), words.max()), "int32")
        start = self.first_id[begin]
        real = np.arange(ids.shape[1]) < words[:, None]
        ids[real] = self.ids[start : start + words.sum()]
        return ids

    def longest(self):
        """The longest sentence of each document."""
        return np.maximum.reduceat(self.words, self.first_sentence)

    def shapes(self):
        """How many documents there are of each size, an array."""
        longest = self.longest()
        counts = np.zeros(
            (self.sentences.max() + 1, longest.max() + 1), np.int64
        )
        np.add.at(counts, (self.sentences, longest), 1)
        return counts


def flat(ids):
    """Ids, lengths of sentences and of documents of an array `(B, n, m)`."""
    words = (ids > 0).sum(axis=-1).astype("int32")  # (B, n)
    sentences = (words > 0).sum(axis=-1).astype("int32")
    return ids[ids > 0], words[words > 0], sentences


def chunks(documents, size):
    """Lists of at most `size` documents."""
    documents = iter(documents)
    while chunk := list(itertools.islice(documents, size)):
        yield chunk


def sum_shapes(shapes):
    """The sum of arrays of unlike shapes, each padded with 0."""
    shapes = list(shapes)
    total = np.zeros(np.max([x.shape for x in shapes], axis=0), np.int64)
    for x in shapes:
        total[: x.shape[0], : x.shape[1]] += x
    return total


def _strings(preprocessor, documents):
    for index in range(len(documents)):
        yield preprocessor.detokenize(documents[index])


def _check(path, split, ids, words, sentences, vocabulary_size):
    whole = all(
        x.ndim == 1 and np.issubdtype(x.dtype, np.integer) and x.size
        for x in (ids, words, sentences)
    )
    if (
        not whole
        or (words < 1).any()
        or (sentences < 1).any()
        or words.sum() != len(ids)
        or sentences.sum() != len(words)
    ):
        raise ValueError(
            f"{path}: the arrays of the {split} split must be ids, lengths of "
            "sentences and lengths of documents that add up. Received: "
            f"{len(ids)} ids, {len(words)} sentences, {len(sentences)} "
            "documents that do not"
        )
    if ids.min() < 1 or ids.max() >= vocabulary_size:
        raise ValueError(
            f"{path}: ids must be between 1 and {vocabulary_size - 1}, by the "
            f"vocabulary. Received: {ids.min()} to {ids.max()} in the {split} "
            "split"
        )
