"""Corpora as plain arrays of ids: no TensorFlow is needed to train on them."""

import errno
import functools
import hashlib
import json
import os
from typing import Any

import numpy as np

from keras_hvae.data.arrays import CHUNK, Documents, chunks, flat, sum_shapes
from keras_hvae.data.buckets import Buckets
from keras_hvae.data.corpus import Corpus
from keras_hvae.data.id_batches import IdBatches
from keras_hvae.data.members import Members
from keras_hvae.data.saved import (
    ABOUT_BYTES,
    about,
    check_window,
    not_a_corpus,
    read_about,
    report_of,
)
from keras_hvae.files import EXPANSION_RATIO, DamagedFileError, write_whole
from keras_hvae.ids import EOS_ID

# Arrays of each split: all ids, the length of each sentence, the number of
# sentences of each document.
ARRAYS = ("ids", "words", "sentences")


def save_npz(corpus: Corpus, path: str | os.PathLike) -> None:
    """Writes a corpus as `.npz`; see `Corpus.save`."""
    parts = {}
    for split in corpus.report.splits:
        pieces = [
            flat(corpus.vocabulary(chunk))
            for chunk in chunks(corpus.windows(split), CHUNK)
        ]
        parts[split] = [np.concatenate(x) for x in zip(*pieces)]
    text = about(corpus)
    text["content"] = _content(text["preprocessor"], parts)
    arrays: dict[str, Any] = {
        "about": np.frombuffer(json.dumps(text).encode(), np.uint8)
    }
    for split, part in parts.items():
        for name, array in zip(ARRAYS, part):
            arrays[f"{split}_{name}"] = array
    with write_whole(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def load_npz(
    path: str | os.PathLike,
    batch_size: int,
    seed: int | None,
    max_expansion: float = EXPANSION_RATIO,
) -> Corpus:
    """Reads what `save_npz` wrote.

    Files of version 0.1.0 have no checksum of their content: of these only
    the archive's own checksums and the range of the ids are checked.

    Args:
        path: of the file.
        batch_size: the number of windows in a batch.
        seed: of the order of the train windows.
        max_expansion: how many times the file's bytes an array may have.

    Returns:
        A `Corpus` with `IdBatches` as datasets.

    Raises:
        FileNotFoundError: if there is no such file.
        DamagedFileError: if the file is not what `save_npz` writes.
    """
    try:
        with Members(path, max_expansion) as members:
            text = members.read("about", ABOUT_BYTES).tobytes()
            text, preprocessor = read_about(path, text)
            parts = {
                split: [members.read(f"{split}_{name}") for name in ARRAYS]
                for split in text["splits"]
            }
    except (DamagedFileError, MemoryError):
        raise
    except OSError as error:
        # zipfile seeks to the offset that a damaged archive gives: EINVAL.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise not_a_corpus(path, error) from error
    # zipfile, zlib and numpy raise many kinds of errors for damaged files.
    except Exception as error:
        raise not_a_corpus(path, error) from error
    for split, part in parts.items():
        row = text["splits"][split]
        _check(path, split, row, len(preprocessor), *part)
        parts[split] = [x.astype("int32", copy=False) for x in part]
    # Buckets are of the longest of all splits, on each axis.
    check_window(
        path,
        max(int(sentences.max()) for _, _, sentences in parts.values()),
        max(int(words.max()) for _, words, _ in parts.values()),
    )
    content = _content(text["preprocessor"], parts)
    if text.get("content", content) != content:
        raise DamagedFileError(
            path,
            f"ids and words with the SHA-256 {text['content']!s:.64}",
            content,
        )
    return _corpus(text, preprocessor, parts, content, batch_size, seed)


def _corpus(text, preprocessor, parts, content, batch_size, seed):
    documents = {split: Documents(*part) for split, part in parts.items()}
    shapes = {split: x.shapes() for split, x in documents.items()}
    buckets = Buckets(sum_shapes(shapes.values()), batch_size)
    batches = {}
    for split, x in documents.items():
        train = split == "train"
        batches[split] = IdBatches(x, buckets, shuffle=train, seed=seed)
        steps, positions = buckets.batches(shapes[split], fill=train)
        row = text["splits"][split]
        row |= {"batches": steps, "real": row["tokens"] / positions}
    return Corpus(
        text["name"],
        preprocessor,
        {
            split: functools.partial(_strings, preprocessor, x)
            for split, x in documents.items()
        },
        batches,
        report_of(text, preprocessor),
        text.get("digest", content),
    )


def _content(config, parts):
    """SHA-256 of the words and the ids, hexadecimal."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for split in sorted(parts):
        for name, array in zip(ARRAYS, parts[split]):
            digest.update(f"{split} {name} {len(array)} ".encode())
            digest.update(array.astype("<i4").tobytes())
    return digest.hexdigest()


def _strings(preprocessor, documents):
    for index in range(len(documents)):
        yield preprocessor.detokenize(documents[index])


def _check(path, split, row, size, ids, words, sentences):
    if (
        not (ids.size and words.size and sentences.size)
        or words.min() < 1
        or sentences.min() < 1
        or words.max() > ids.size  # first, so that no sum overflows
        or sentences.max() > words.size
        or words.sum(dtype="int64") != ids.size
        or sentences.sum(dtype="int64") != words.size
        or ids.size != row["tokens"]
        or sentences.size != row["windows"]
    ):
        raise DamagedFileError(
            path,
            f"ids, lengths of sentences and of documents of the {split} split "
            "that add up",
            f"{ids.size} ids, {words.size} sentences, {sentences.size} "
            "documents that do not",
        )
    if ids.min() < 1 or ids.max() >= size:
        raise DamagedFileError(
            path,
            f"ids between 1 and {size - 1}, by the vocabulary",
            f"{ids.min()} to {ids.max()} in the {split} split",
        )
    if (ids[np.cumsum(words) - 1] != EOS_ID).any():
        raise DamagedFileError(
            path,
            f"[EOS] ({EOS_ID}) at the end of each sentence",
            f"another id in the {split} split",
        )
