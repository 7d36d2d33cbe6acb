"""Tokenized sentences, as the figures of text read them."""

import importlib
from collections.abc import Sequence
from typing import Any

from keras_hvae.ids import BOS_ID, EOS_ID, SPECIAL_TOKENS

MARKS = (SPECIAL_TOKENS[BOS_ID], SPECIAL_TOKENS[EOS_ID])


def word_lists(name: str, sentences: Sequence) -> list[list[str]]:
    """Returns sentences as lists of words.

    Args:
        name: of the argument, for the errors.
        sentences: list of tokenized sentences: each a list of words, or a
            string with white space between the words. `[BOS]`, `[EOS]` and
            padding are no words; a sentence may be empty.

    Returns:
        A list of lists of strings.

    Raises:
        ValueError: if there is no sentence, or something that is no word.

    Example:

    >>> word_lists("sentences", ["the king ,", ["the", "crown"], ""])
    [['the', 'king', ','], ['the', 'crown'], []]
    """
    if isinstance(sentences, (str, bytes)):
        raise ValueError(
            f"`{name}` must be a list of sentences. Received: one string"
        )
    sentences = list(sentences)
    if not sentences:
        raise ValueError(
            f"`{name}` must have at least one sentence. Received: none"
        )
    for index, sentence in enumerate(sentences):
        if isinstance(sentence, str):
            sentence = sentence.split()
        elif not isinstance(sentence, (list, tuple)):
            raise ValueError(
                f"`{name}` must be of lists of words or strings. Received: "
                f"{type(sentence).__name__} for sentence {index}"
            )
        for word in sentence:
            if not _is_word(word):
                raise ValueError(
                    f"`{name}` must be of words: strings that are not empty, "
                    f"without white space, and not {' or '.join(MARKS)}. "
                    f"Received: {word!r} in sentence {index}"
                )
        sentences[index] = list(sentence)
    return sentences


def word_list_pairs(
    hypotheses: Sequence, references: Sequence
) -> tuple[list[list[str]], list[list[str]]]:
    """Returns both as lists of words; `ValueError` if they are no pairs."""
    check_pairs(hypotheses, references)
    return (
        word_lists("hypotheses", hypotheses),
        word_lists("references", references),
    )


def check_pairs(hypotheses: Sequence, references: Sequence) -> None:
    """Raises `ValueError` unless there is a reference to each hypothesis."""
    if len(hypotheses) != len(references):
        raise ValueError(
            "`hypotheses` and `references` must have the same length. "
            f"Received: {len(hypotheses)} and {len(references)}"
        )


def import_library(name: str) -> Any:
    """Imports a library of the extra "evaluation"."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"This figure needs the library {name.partition('.')[0]}: "
            '`pip install "keras-hvae[evaluation]"`'
        ) from error


def _is_word(word):
    return (
        isinstance(word, str) and word.split() == [word] and word not in MARKS
    )
