"""Corpora as ids on disk, larger than memory: TFRecords, by TFDS."""

import functools
import json
import pathlib
import shutil
import tempfile

import numpy as np

from keras_hvae.data.buckets import Buckets
from keras_hvae.data.corpus import Corpus
from keras_hvae.data.npz import (
    CHUNK,
    chunks,
    flat,
    not_a_corpus,
    report_of,
    sum_shapes,
)
from keras_hvae.files import check_folder, write_json
from keras_hvae.text import Preprocessor

ABOUT = "keras_hvae.json"


def save_records(corpus, path):
    """Writes a corpus as a folder of TFRecords; see `Corpus.save`."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    path = pathlib.Path(path)
    check_folder(path)
    if path.exists():
        raise ValueError(
            f"`path` must be a folder that does not exist yet. Received: {path}"
        )
    shapes = {}
    numbers = tf.TensorSpec([None], tf.int32)
    datasets = {
        split: tf.data.Dataset.from_generator(
            functools.partial(_examples, corpus, split, shapes),
            output_signature={"ids": numbers, "words": numbers},
        )
        for split in corpus.report.splits
    }
    number = tfds.features.Tensor(shape=(None,), dtype=np.int32)
    features = tfds.features.FeaturesDict({"ids": number, "words": number})
    with tempfile.TemporaryDirectory(
        prefix=f".{path.name}-", dir=path.parent
    ) as temporary:
        builder = tfds.dataset_builders.store_as_tfds_dataset(
            "ids",
            version="1.0.0",
            features=features,
            split_datasets=datasets,
            data_dir=temporary,
            disable_shuffling=True,
        )
        folder = pathlib.Path(builder.data_dir)
        write_json(
            folder / ABOUT,
            {
                "name": corpus.name,
                "preprocessor": corpus.vocabulary.get_config(),
                "skipped": corpus.report.skipped,
                "splits": corpus.report.splits,
                "shapes": {key: x.tolist() for key, x in shapes.items()},
            },
        )
        shutil.move(folder, path)


def is_records(path):
    return (pathlib.Path(path) / ABOUT).is_file()


def load_records(path, batch_size, seed, shuffle_buffer, make_dataset):
    """Reads what `save_records` wrote: a `Corpus`.

    `make_dataset(windows, buckets, steps, train, seed, shuffle_buffer)` makes
    the batches.
    """
    import tensorflow_datasets as tfds

    about = json.loads((pathlib.Path(path) / ABOUT).read_text("utf-8"))
    try:
        builder = tfds.builder_from_directory(path)
        preprocessor = Preprocessor.from_config(about["preprocessor"])
        shapes = {k: np.array(x) for k, x in about["shapes"].items()}
        rows = about["splits"]
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise not_a_corpus(path, error) from error
    buckets = Buckets(sum_shapes(shapes.values()), batch_size)
    batches, windows = {}, {}
    for split, x in shapes.items():
        train = split == "train"
        steps, positions = buckets.batches(x, fill=train)
        rows[split] |= {
            "batches": steps,
            "real": rows[split]["tokens"] / positions,
        }
        dataset = _read(builder, split)
        batches[split] = make_dataset(
            dataset, buckets, steps, train, seed, shuffle_buffer
        )
        windows[split] = functools.partial(_strings, preprocessor, dataset)
    return Corpus(
        about["name"],
        preprocessor,
        windows,
        batches,
        report_of(about, preprocessor),
    )


def _examples(corpus, split, shapes):
    count = np.zeros((1, 1), np.int64)
    for documents in chunks(corpus.windows(split), CHUNK):
        array = corpus.vocabulary(documents)
        for document in array:
            ids, words, _ = flat(document[None])
            size = np.zeros((len(words) + 1, words.max() + 1), np.int64)
            size[-1, -1] = 1
            count = sum_shapes((count, size))
            yield {"ids": ids, "words": words}
    shapes[split] = count


def _read(builder, split):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def ids(example):
        rows = tf.RaggedTensor.from_row_lengths(
            example["ids"], example["words"]
        )
        return rows.to_tensor()

    # One reader at a time, or the order could differ between epochs.
    dataset = builder.as_dataset(
        split=split,
        shuffle_files=False,
        read_config=tfds.ReadConfig(
            try_autocache=False, interleave_cycle_length=1
        ),
    )
    return dataset.map(ids, tf.data.AUTOTUNE, deterministic=True)


def _strings(preprocessor, dataset):
    for ids in dataset.as_numpy_iterator():
        yield preprocessor.detokenize(ids)
