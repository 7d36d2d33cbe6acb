"""The metadata of a saved corpus, checked when read."""

import json
import math
import numbers
import os

from keras_hvae.data.corpus import Corpus
from keras_hvae.data.report import ROWS, Report, notes_of
from keras_hvae.data.sources import SPLITS
from keras_hvae.files import DamagedFileError
from keras_hvae.text import Preprocessor

CORPUS = "a corpus written by `Corpus.save`"
ABOUT_BYTES = 1 << 24
# Windows are padded to the size of the longest on each axis.
WINDOW_POSITIONS = 1 << 22


def about(corpus: Corpus) -> dict:
    """What `read_about` reads, to be written as JSON."""
    return {
        "name": corpus.name,
        "digest": corpus.digest,
        "preprocessor": corpus.vocabulary.get_config(),
        "skipped": corpus.report.skipped,
        "splits": corpus.report.splits,
    }


def read_about(
    path: str | os.PathLike, text: str | bytes
) -> tuple[dict, Preprocessor]:
    """Reads what `about` made.

    Args:
        path: where it stands, for messages.
        text: JSON, a string or bytes.

    Returns:
        The dictionary, checked, and its `Preprocessor`.

    Raises:
        DamagedFileError: if it is anything else.
    """
    try:
        value = json.loads(text)
        if any(isinstance(x, dict) for x in value["preprocessor"].values()):
            # Deserialising a Keras object may run code of the file.
            raise TypeError("a part of the preprocessor is an object")
        preprocessor = Preprocessor.from_config(value["preprocessor"])
        if not isinstance(value["name"], str):
            raise TypeError("the name is not a string")
        if not isinstance(value.get("digest", ""), str):
            raise TypeError("the digest is not a string")
        value["skipped"] = _number(value["skipped"])
        rows = value["splits"]
        if "train" not in rows or not set(rows) <= set(SPLITS):
            raise ValueError(f"the splits are {', '.join(rows) or 'missing'}")
        value["splits"] = {
            split: {
                name: _number(rows[split][name])
                for name in ROWS
                if name in rows[split]
            }
            for split in SPLITS
            if split in rows
        }
        for row in value["splits"].values():
            row["tokens"], row["windows"]  # raises if they are missing
    except (
        AttributeError,
        KeyError,
        OverflowError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise not_a_corpus(path, error) from error
    return value, preprocessor


def _number(value):
    if (
        isinstance(value, bool)
        or not isinstance(value, numbers.Real)
        or not math.isfinite(value)
        or not 0 <= value < 1 << 62
    ):
        raise ValueError(f"{value!r:.40} is no count")
    return value


def not_a_corpus(path: str | os.PathLike, reason: object) -> DamagedFileError:
    """What to raise for something that `Corpus.save` did not write."""
    if isinstance(reason, KeyError):
        reason = f"there is no {reason}"
    return DamagedFileError(
        path,
        CORPUS,
        f"something that is not ({str(reason)[:200] or type(reason).__name__})",
    )


def check_window(path: str | os.PathLike, sentences: int, words: int) -> None:
    """Raises `DamagedFileError` for windows too large to be padded.

    Args:
        path: of the corpus.
        sentences: of the window with most of them.
        words: of the longest sentence of all windows.
    """
    if sentences * words > WINDOW_POSITIONS:
        raise DamagedFileError(
            path,
            f"windows of at most {WINDOW_POSITIONS:,} positions",
            f"{sentences:,} sentences of {words:,} words",
        )


def report_of(
    about: dict, preprocessor: Preprocessor, note: str | None = None
) -> Report:
    """The `Report` of a corpus of which `about` was saved."""
    notes = notes_of(about["splits"])
    return Report(
        about["name"],
        len(preprocessor),
        about["skipped"],
        about["splits"],
        notes if note is None else (*notes, note),
    )
