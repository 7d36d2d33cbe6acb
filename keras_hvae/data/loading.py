"""Loads a `Corpus` from a source of documents."""

import array
import functools
import itertools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_hvae.arguments import check_positive_int
from keras_hvae.data.buckets import Buckets
from keras_hvae.data.corpus import Corpus
from keras_hvae.data.duplicates import count_repeated, find_new
from keras_hvae.data.epoch_order import EpochOrder
from keras_hvae.data.npz import load_npz
from keras_hvae.data.records import is_records, load_records
from keras_hvae.data.report import Report, notes_of
from keras_hvae.data.sources import SPLITS, resolve
from keras_hvae.data.splitting import check_fractions, split_up, windows
from keras_hvae.data.survey import Survey
from keras_hvae.files import EXPANSION_RATIO
from keras_hvae.text import Preprocessor
from keras_hvae.text.arguments import check_vocabulary_size
from keras_hvae.text.scripts import warn_of_unspaced
from keras_hvae.text.tokenizer import get_tokenizer


def load(
    source: Any,
    *,
    batch_size: int = 32,
    key: str = "sentences",
    vocabulary_size: int = 10_000,
    min_count: int | None = None,
    vocabulary: Any = None,
    lowercase: bool = True,
    tokenizer: Any = "words",
    max_sentences: int = 10,
    max_words: int | None = None,
    split: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    shuffle_buffer: int = 10_000,
    data_dir: str | os.PathLike | None = None,
    drop_duplicates: bool = False,
    max_expansion: float = EXPANSION_RATIO,
) -> Corpus:
    """Loads a corpus of documents that are sequences of sentences.

    The documents are read and turned into ids anew in each epoch, so a corpus
    may be larger than memory. A first pass learns the vocabulary from the
    train split and counts what is reported.

    Documents with more than `max_sentences` sentences are cut into several
    windows, and each window is a document for the model. Windows of like size
    are batched together. The last batches of the train split are filled up
    with documents of padding, so that there are few shapes; those of the other
    splits are not.

    Args:
        source: one of
            - a path to a file for `read_documents`;
            - a path to a directory with such files: where names start with
              `train`, `valid`, `validation`, `dev` or `test`, these files are
              the splits and others are left out; files of tables, such as
              .csv and .parquet, are not read;
            - a `.npz` file or a folder that `Corpus.save` wrote: of the
              arguments below only `batch_size`, `seed` and `shuffle_buffer`
              are for it, the others are as they were then. Nothing in it is
              run; what is damaged is refused;
            - the name of a TFDS dataset, such as `"shakespeare_scenes"`, with
              its own splits;
            - documents: a list, a pandas Series, a numpy array or a `Dataset`
              of Hugging Face, of which each is a list of sentences, a string
              with a sentence a line, or a dictionary with the sentences under
              `key`. As everywhere in this package, a list of strings is *one*
              document; one is no corpus, so such a list is refused;
            - a dictionary of such for `"train"`, `"valid"` (or
              `"validation"`), `"test"`.
        batch_size: the number of windows in a batch.
        key: where the sentences of a document are in a JSON object or in a
            TFDS example.
        vocabulary_size: the largest number of ids to learn.
        min_count: words that the train split has less often get no id, but
            are `[UNK]`: so a model learns what to do with unknown words. If
            not given, 2, or 1 where no word is there twice.
        vocabulary: words or a `Preprocessor` to use instead of learning. The
            `max_words` below takes the place of a `Preprocessor`'s own.
        lowercase: whether to lower-case; a given `Preprocessor` decides
            otherwise.
        tokenizer: what splits sentences into words: `"words"`,
            `"characters"` (for scripts without spaces, and for any other), or
            a function; see `Preprocessor`. A given one has its own.
        max_sentences: the largest number of sentences in a window.
        max_words: the number of words of a sentence to keep; if not given,
            that of a `Preprocessor` given, else 30, or 120 characters.
        split: the shares of the train, valid and test split, used where the
            source has no splits of its own.
        seed: of the splits and of the order of the train windows.
        shuffle_buffer: how many train windows are shuffled at a time.
        data_dir: where TFDS keeps its files; `None` for its default.
        drop_duplicates: whether to leave documents out of the train split
            that the valid or the test split has too, word for word as far as
            the model reads them (their first window). The report counts them.
        max_expansion: how many times its bytes a compressed file may unpack
            to (16 MiB always may be): a small file can be made to fill any
            memory. Raise it for a file whose origin you know.

    Returns:
        A `Corpus`.

    Raises:
        ValueError: if an argument is out of range, or what was read is not a
            corpus: for files a `keras_hvae.files.DamagedFileError`, which
            names the file and, of text, the line.
        FileNotFoundError: if there is no such path.

    Example:

    >>> corpus = load([["Who's there?", "Nay, answer me."]] * 5, batch_size=2)
    >>> next(iter(corpus.train)).shape
    TensorShape([2, 2, 6])
    """
    if isinstance(vocabulary, Preprocessor):
        lowercase, tokenizer = vocabulary.lowercase, vocabulary.tokenizer
        max_words = vocabulary.max_words if max_words is None else max_words
    tokenizer = get_tokenizer(tokenizer)
    if max_words is None:
        max_words = tokenizer.max_words
    check_positive_int(
        batch_size=batch_size,
        min_count=1 if min_count is None else min_count,
        max_sentences=max_sentences,
        max_words=max_words,
        shuffle_buffer=shuffle_buffer,
    )
    if isinstance(source, (str, os.PathLike)):
        if str(source).endswith(".npz"):
            return load_npz(source, batch_size, seed, max_expansion)
        if is_records(source):
            return load_records(
                source, batch_size, seed, shuffle_buffer, _batches
            )
    check_vocabulary_size(vocabulary_size)
    check_fractions(split)
    options: dict[str, Any] = {
        "lowercase": lowercase,
        "max_words": max_words,
        "tokenizer": tokenizer,
    }
    if vocabulary is not None:
        vocabulary = Preprocessor(vocabulary, **options)

    name, streams = resolve(source, key, data_dir, max_expansion)
    documents, counted, skipped, digest = split_up(streams, split, seed, name)
    if not counted.get("train"):
        raise ValueError(
            "`source` must hold a train document. Received: none in "
            f"{name}, of the splits {', '.join(streams)}"
        )
    read = {
        part: functools.partial(_windows, documents[part], max_sentences)
        for part in SPLITS
        if counted.get(part)
    }
    tokenize = functools.partial(tokenizer.tokenize, lowercase=lowercase)
    take_survey = functools.partial(
        Survey,
        tokenize=tokenize,
        max_sentences=max_sentences,
        max_words=max_words,
    )
    begins = {part: array.array("b") for part in read}
    surveys = {
        part: take_survey(read[part](begins=begins[part])) for part in read
    }
    begins = {part: np.array(x, bool) for part, x in begins.items()}
    keys = {part: x.keys[begins[part]] for part, x in surveys.items()}
    notes = ()
    if drop_duplicates:
        keep = find_new(keys)
        dropped = int((~keep).sum())
        notes = (
            f"{dropped:,} of {len(keep):,} documents were left out of the "
            "train split, because another split has the same.",
        )
        if not keep.any():
            raise ValueError(
                "`drop_duplicates` must leave a train document. Received: "
                f"only such of {name} that other splits have too"
            )
        counted["train"] -= dropped
        keys["train"] = keys["train"][keep]
        read["train"] = functools.partial(
            _keep, read["train"], keep[np.cumsum(begins["train"]) - 1]
        )
        surveys["train"] = take_survey(read["train"]())
    repeated = count_repeated(keys)
    counts = {
        word.decode(): count for word, count in surveys["train"].counts.items()
    }
    if tokenizer.name == "words":
        warn_of_unspaced(counts, surveys["train"].sentences)
    if vocabulary is None:
        if min_count is None:
            min_count = min(max(counts.values(), default=1), 2)
        vocabulary = Preprocessor.from_counts(
            counts, vocabulary_size, min_count, **options
        )
    buckets = Buckets(
        np.sum([s.shapes for s in surveys.values()], axis=0), batch_size
    )
    batches = {}
    splits = {}
    for part, survey in surveys.items():
        train = part == "train"
        steps, positions = buckets.batches(survey.shapes, fill=train)
        batches[part] = _dataset(
            read[part], vocabulary, buckets, steps, train, seed, shuffle_buffer
        )
        splits[part] = {
            "documents": counted[part],
            "repeated": repeated[part],
            "windows": survey.windows,
            **_row(survey, vocabulary, steps, positions),
        }
    notes = (*notes_of(splits), *notes)
    report = Report(name, len(vocabulary), skipped, splits, notes)
    return Corpus(name, vocabulary, read, batches, report, digest)


def _windows(documents, max_sentences, begins=None):
    return windows(documents(), max_sentences, begins)


def _keep(read, keep):
    return itertools.compress(read(), keep)


def _dataset(read, vocabulary, buckets, steps, train, seed, shuffle_buffer):
    import tensorflow as tf

    def strings():
        for window in read():
            yield np.array([s.encode() for s in window], object)

    def encode(sentences):
        return vocabulary.encode_sentences(sentences).to_tensor()

    windows = tf.data.Dataset.from_generator(
        strings, output_signature=tf.TensorSpec([None], tf.string)
    )
    return _batches(
        windows, buckets, steps, train, seed, shuffle_buffer, encode
    )


def _batches(
    windows,
    buckets,
    steps,
    train,
    seed,
    shuffle_buffer,
    encode=None,
    check=None,
):
    """Encoded if they are strings yet, shuffled, batched."""
    import tensorflow as tf

    # Encoded to ids before the shuffle buffer: ids take less memory than text.
    if encode is not None:
        windows = windows.map(encode, tf.data.AUTOTUNE, deterministic=True)
    if train:
        return EpochOrder(seed, steps).apply(
            windows,
            shuffle_buffer,
            functools.partial(buckets.apply, fill=True),
            check,
        )
    batches = buckets.apply(windows, fill=False)
    batches = batches.apply(tf.data.experimental.assert_cardinality(steps))
    return batches.prefetch(tf.data.AUTOTUNE)


def _row(survey, vocabulary, steps, positions):
    known = sum(
        count
        for word, count in survey.counts.items()
        if word.decode() in vocabulary
    )
    return {
        "sentences": survey.sentences,
        "words": survey.words,
        "tokens": survey.tokens,
        "truncated": survey.truncated,
        "dropped": survey.dropped,
        "batches": steps,
        "unknown": 1 - known / max(survey.words, 1),
        "real": survey.tokens / positions,
    }
