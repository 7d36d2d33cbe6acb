"""Marks datasets of ids with their vocabulary."""

import json
from typing import Any

import keras


def mark_vocabulary(dataset: Any, vocabulary: Any) -> None:
    """Notes at a dataset of ids which `Preprocessor` they are of."""
    dataset.corpus_vocabulary = vocabulary


def check_vocabulary(model: keras.Model, *datasets: Any) -> None:
    """Raises `ValueError` if a dataset's ids are of another vocabulary.

    The same id is then another word: the model would read nonsense, and all
    figures would say nothing.

    Args:
        model: of documents, with a `preprocessor`, or `None` for it, and a
            `vocabulary_size`.
        *datasets: what `Corpus` gives, also after `repeat`, `take` or `map`.
            What has no mark of a vocabulary is not checked: arrays, lists,
            datasets made otherwise.

    Raises:
        ValueError: if a dataset has a mark of another vocabulary.
    """
    for dataset in datasets:
        vocabulary = _find(dataset)
        if vocabulary is None:
            continue
        if model.preprocessor is None:
            if len(vocabulary) > model.vocabulary_size:
                raise ValueError(
                    "the dataset's ids must be less than "
                    f"{model.vocabulary_size}, the model's number of ids. "
                    f"Received: a corpus with {len(vocabulary)} ids"
                )
        elif _identity(vocabulary) != _identity(model.preprocessor):
            raise ValueError(
                "the dataset must have the model's vocabulary: load the "
                "corpus with `vocabulary=model.preprocessor`. Received: "
                f"{_difference(vocabulary, model.preprocessor)}"
            )


def _find(dataset):
    """The vocabulary of a dataset, or of those that it was made from."""
    vocabulary = getattr(dataset, "corpus_vocabulary", None)
    if vocabulary is not None:
        return vocabulary
    # Of a `tf.data.Dataset`: `repeat` and others make new objects. There is
    # no public way back to what they read; without it nothing is checked.
    inputs = getattr(dataset, "_inputs", None)
    found = map(_find, inputs() if callable(inputs) else ())
    return next((x for x in found if x is not None), None)


def _identity(vocabulary):
    """What decides on the ids of a word."""
    config = vocabulary.get_config()
    config.pop("max_words", None)
    return json.dumps(config, sort_keys=True, default=str)


def _difference(vocabulary, expected):
    if len(vocabulary) != len(expected):
        return f"{len(vocabulary)} ids, where the model has {len(expected)}"
    for index, (word, other) in enumerate(zip(vocabulary, expected)):
        if word != other:
            return (
                f"{word!r} with the id {index}, which is {other!r} for the "
                "model"
            )
    return "the same words, but sentences are split into them otherwise"
