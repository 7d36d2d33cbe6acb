"""Corpora as ids on disk, larger than memory: a folder of TFRecords.

An example has two lists of integers, `ids` and `words`: those of a window and
the lengths of its sentences. The folder's file names and the kinds of its
features are fixed here; nothing in a folder decides what is read or run.
"""

import errno
import functools
import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np

from keras_hvae.checksums import (
    SUMS_FILE,
    check_listed,
    check_sums,
    sha256,
    write_sums,
)
from keras_hvae.data.arrays import CHUNK, chunks, flat, sum_shapes
from keras_hvae.data.buckets import Buckets
from keras_hvae.data.corpus import Corpus
from keras_hvae.data.record_reader import (
    check_examples,
    check_lengths,
    read_windows,
)
from keras_hvae.data.saved import (
    ABOUT_BYTES,
    about,
    check_window,
    not_a_corpus,
    read_about,
    report_of,
)
from keras_hvae.files import (
    DamagedFileError,
    check_folder,
    check_inside,
    check_regular,
    sync,
    sync_all,
    write_json,
)

ABOUT = "keras_hvae.json"


def save_records(corpus: Corpus, path: str | os.PathLike) -> None:
    """Writes a corpus as a folder of TFRecords; see `Corpus.save`."""
    import tensorflow as tf

    path = pathlib.Path(path)
    check_folder(path)
    if path.exists():
        raise ValueError(
            f"`path` must be a folder that does not exist yet. Received: {path}"
        )
    with tempfile.TemporaryDirectory(
        prefix=f".{path.name}-", dir=path.parent
    ) as temporary:
        folder = pathlib.Path(temporary, "corpus")
        folder.mkdir()
        try:
            shapes = {
                split: _write(folder / f"{split}.tfrecord", corpus, split)
                for split in corpus.report.splits
            }
        except tf.errors.ResourceExhaustedError as error:
            raise OSError(errno.ENOSPC, error.message, str(path)) from error
        shapes = {split: count.tolist() for split, count in shapes.items()}
        write_json(folder / ABOUT, {**about(corpus), "shapes": shapes})
        write_sums(folder)
        sync_all(folder)
        folder.rename(path)
        sync(path.parent)


def _write(path, corpus, split):
    """Writes a split; returns how many windows there are of each size."""
    import tensorflow as tf

    def feature(numbers):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=numbers))

    count = np.zeros((1, 1), np.int64)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for documents in chunks(corpus.windows(split), CHUNK):
            for document in corpus.vocabulary(documents):
                ids, words, _ = flat(document[None])
                size = np.zeros((len(words) + 1, words.max() + 1), np.int64)
                size[-1, -1] = 1
                count = sum_shapes((count, size))
                features = {"ids": feature(ids), "words": feature(words)}
                example = tf.train.Example(
                    features=tf.train.Features(feature=features)
                )
                writer.write(example.SerializeToString())
    return count


def is_records(path: str | os.PathLike) -> bool:
    """Whether `Corpus.save` wrote the folder, be it damaged or not."""
    names = (ABOUT, "train.tfrecord")
    return any(os.path.lexists(os.path.join(path, x)) for x in names)


def load_records(
    path: str | os.PathLike,
    batch_size: int,
    seed: int | None,
    shuffle_buffer: int,
    make_dataset: Callable,
) -> Corpus:
    """Reads what `save_records` wrote: a `Corpus`.

    All files are compared with their SHA-256 first. A folder of version 0.1.0
    has none: it is read through once instead, to check every id, and the
    report says so.

    `make_dataset(windows, buckets, steps, train, seed, shuffle_buffer, check)`
    makes the batches. It calls `check()` at the begin of an epoch.

    Raises:
        DamagedFileError: if the folder is not what `save_records` writes.
    """
    path = pathlib.Path(path)
    _check_inside(path)
    vouched = (path / SUMS_FILE).is_file()
    names = check_sums(path) if vouched else ()
    if vouched:
        check_listed(path, names, ABOUT)
    text, preprocessor = read_about(path, _read_text(path / ABOUT))
    shapes = {
        split: _check_shape(path, split, text, row["windows"])
        for split, row in text["splits"].items()
    }
    files = {}
    for split in shapes:
        if vouched:
            check_listed(path, names, f"{split}.tfrecord")
            files[split] = [path / f"{split}.tfrecord"]
        else:
            files[split] = _old_files(path, split)
    # Buckets are of the longest of all splits, on each axis.
    check_window(path, *np.max([x.shape for x in shapes.values()], axis=0))
    buckets = Buckets(sum_shapes(shapes.values()), batch_size)
    batches, windows = {}, {}
    for split, shape in shapes.items():
        for file in files[split]:
            check_lengths(file, shape.shape)
        if not vouched:
            check_examples(files[split], shape, len(preprocessor))
        train = split == "train"
        steps, positions = buckets.batches(shape, fill=train)
        row = text["splits"][split]
        row |= {"batches": steps, "real": row["tokens"] / positions}
        dataset = read_windows(files[split], shape.shape, len(preprocessor))
        batches[split] = make_dataset(
            dataset,
            buckets,
            steps,
            train,
            seed,
            shuffle_buffer,
            check=_Unchanged(path, files[split]),
        )
        windows[split] = functools.partial(_strings, preprocessor, dataset)
    return Corpus(
        text["name"],
        preprocessor,
        windows,
        batches,
        report_of(text, preprocessor, None if vouched else _NOT_VOUCHED),
        text.get("digest") or _digest(files),
    )


_NOT_VOUCHED = (
    f"The folder has no {SUMS_FILE}: whether it is as it was saved cannot be "
    "checked, only that all ids are of the vocabulary. `Corpus.save` writes a "
    "folder that has it."
)


class _Unchanged:
    """Raises `DamagedFileError` if files are no longer as they were.

    If the size or the time of one is another, its SHA-256 counts.
    """

    def __init__(self, path, files):
        self._path, self._files = path, files
        self._state = self._look()

    def __call__(self):
        state = self._look()
        if state == self._state:
            return
        if not (self._path / SUMS_FILE).is_file():
            raise DamagedFileError(
                self._path, "files as they were when loaded", "others"
            )
        check_sums(self._path)
        self._state = state

    def _look(self):
        stats = [file.stat() for file in self._files]
        return [(x.st_size, x.st_mtime_ns) for x in stats]


def _check_inside(path):
    """Raises `DamagedFileError` for what leads out of the folder."""
    for file in path.iterdir():
        check_inside(file, path)


def _read_text(path):
    check_regular(path)
    size = path.stat().st_size
    if size > ABOUT_BYTES:
        raise DamagedFileError(
            path, f"at most {ABOUT_BYTES:,} bytes", f"{size:,}"
        )
    return path.read_bytes()


def _check_shape(path, split, text, windows):
    """How many windows there are of each size, once that can be so."""
    try:
        shape = np.array(text["shapes"][split])
        if shape.ndim != 2 or shape.dtype.kind != "i" or not shape.size:
            raise ValueError(f"the shapes of the {split} split are no table")
        if shape.min() < 0 or shape.sum(dtype=object) != windows:
            raise ValueError(
                f"the shapes of the {split} split are not those of {windows} "
                "windows"
            )
        if shape[0].any() or shape[:, 0].any():
            raise ValueError(f"the {split} split has empty windows")
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise not_a_corpus(path, error) from error
    check_window(path, *shape.shape)
    return shape.astype("int64")


def _old_files(path, split):
    """The files of a split, as TensorFlow Datasets named them for 0.1.0."""
    files = sorted(path.glob(f"ids-{split}.tfrecord-?????-of-?????"))
    if not files:
        raise not_a_corpus(path, f"there is no ids-{split}.tfrecord-*")
    for file in files:
        check_regular(file)
    return files


def _digest(files):
    """Of a folder that does not know that of its source."""
    sums = {split: list(map(sha256, x)) for split, x in files.items()}
    return hashlib.sha256(json.dumps(sums).encode()).hexdigest()


def _strings(preprocessor, dataset):
    for ids in dataset.as_numpy_iterator():
        yield preprocessor.detokenize(ids)
