"""Reads documents from TensorFlow Datasets."""

import contextlib
import functools
import io
import os
from collections.abc import Callable, Mapping

import numpy as np

from keras_hvae.data import reading, sources


def resolve(
    name: str, key: str, data_dir: str | os.PathLike | None
) -> Mapping[str, Callable]:
    """Does for the name of a TFDS dataset what `sources.resolve` does."""
    import tensorflow_datasets as tfds

    # Registers the dataset that comes with this package.
    from keras_hvae.data.shakespeare_scenes import ShakespeareScenes

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        raise ValueError(
            "`source` must be a path that exists or the name of a TFDS "
            f"dataset. Received: {name!r}, which is neither a path nor known "
            f"to tfds.builder ({str(error).strip().splitlines()[0]})"
        ) from error
    with contextlib.ExitStack() as stack:
        if isinstance(builder, ShakespeareScenes):
            # It takes a second and downloads nothing: its progress bars are
            # hidden.
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    if key not in builder.info.features:
        raise ValueError(
            f"`key` must be a feature of {name}: one of "
            f"{', '.join(builder.info.features)}. Received: {key!r}"
        )
    named = {}
    for split in builder.info.splits:
        named.setdefault(sources.split_name(split), []).append(split)
    named.pop(None, None)
    splits = {
        name: functools.partial(_read_all, builder, parts, key)
        for name, parts in named.items()
    }
    if list(splits) == ["train"]:
        return {"all": splits["train"]}
    return splits


def _read_all(builder, splits, key):
    for split in splits:
        yield from _read(builder, split, key)


def _read(builder, split, key):
    import tensorflow_datasets as tfds

    # One reader at a time, or the order could differ between epochs.
    dataset = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders=tfds.decode.PartialDecoding({key}),
        read_config=tfds.ReadConfig(
            try_autocache=False, interleave_cycle_length=1
        ),
    )
    for index, example in enumerate(tfds.as_numpy(dataset)):
        document = example[key]
        if isinstance(document, bytes):
            document = document.split(b"\n")
        elif not isinstance(document, np.ndarray):
            document = [document]  # `check_document` refuses it.
        yield reading.check_document(
            [s.decode() if isinstance(s, bytes) else s for s in document],
            f"{builder.info.full_name}, {split} document {index}",
        )
