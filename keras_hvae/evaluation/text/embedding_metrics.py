"""How near responses come to references, by the vectors of their words."""

import collections.abc
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from keras_hvae.arguments import check_positive_int
from keras_hvae.data.reading import file_lines
from keras_hvae.evaluation.text.word_lists import word_list_pairs
from keras_hvae.files import EXPANSION_RATIO, DamagedFileError

# The largest files of word2vec, GloVe and fastText have up to 3 million.
MAX_VECTORS = 4_000_000


def embedding_metrics(
    hypotheses: Sequence,
    references: Sequence,
    vectors: Mapping[str, np.ndarray],
) -> dict:
    """Embedding average, extrema and greedy matching.

    All are cosines, averaged over the pairs:

    - average: of the mean vectors of both sentences;
    - extrema: of the vectors that have in each dimension the value that is
      largest by absolute value;
    - greedy: each word with its nearest word of the other sentence, averaged
      over the words; the mean of both directions.

    Words without a vector are left out. A pair whose reference has no word
    left is skipped; a hypothesis that has none scores 0.

    Args:
        hypotheses: list of tokenized sentences; see `word_lists`.
        references: as many sentences, one for each hypothesis.
        vectors: dict of words to vectors, all of one width, such as of
            `load_vectors`, or a list of words and an array `(V, width)`.

    Returns:
        A dict: `"embedding_average"`, `"embedding_extrema"` and
        `"embedding_greedy"` in [-1, 1]; `"pairs"`, the number not skipped;
        `"without_vector_rate"`, the share of words left out.

    Raises:
        ValueError: for lists that are empty or of different lengths,
            `vectors` of different widths or not finite, or if no reference
            has a word with a vector.

    Example:

    >>> vectors = {"a": [1.0, 0.0], "b": [0.0, 1.0]}
    >>> embedding_metrics(["a"], ["a b"], vectors)["embedding_greedy"]
    0.75

    Reference:
        - [Liu et al., 2016](https://arxiv.org/abs/1603.08023), section 3.2
    """
    hypotheses, references = word_list_pairs(hypotheses, references)
    vectors = _check_vectors(vectors)
    words = [word for x in hypotheses + references for word in x]
    used = {
        word: np.asarray(vectors[word], "float64")
        for word in set(words)
        if word in vectors
    }
    for word, vector in used.items():
        if not np.isfinite(vector).all():
            raise ValueError(
                f"`vectors` must be finite. Received: {vector} of {word!r}"
            )
    scores = []
    for pair in zip(hypotheses, references):
        hypothesis, reference = (
            np.array([used[word] for word in x if word in used]) for x in pair
        )
        if len(reference):
            scores.append(
                _cosines(hypothesis, reference) if len(hypothesis) else [0] * 3
            )
    if not scores:
        raise ValueError(
            "`references` must have a word with a vector. Received: none in "
            f"{len(references)} sentences"
        )
    average, extrema, greedy = np.mean(scores, axis=0).tolist()
    return {
        "embedding_average": average,
        "embedding_extrema": extrema,
        "embedding_greedy": greedy,
        "pairs": len(scores),
        "without_vector_rate": sum(x not in used for x in words) / len(words),
    }


def load_vectors(
    path: str | os.PathLike,
    width: int | None = None,
    max_vectors: int = MAX_VECTORS,
    max_expansion: float = EXPANSION_RATIO,
) -> dict[str, np.ndarray]:
    """Reads word vectors in the text format of word2vec and GloVe.

    A line is a word and its numbers, with a space between. word2vec's first
    line, two counts, may be there or not. Of a word that comes twice the
    first vector counts.

    Args:
        path: to the file; compressed ones end in `.gz`, `.xz` or `.bz2`.
        width: how many numbers there must be; `None` for as many as the
            first line says.
        max_vectors: the largest number of vectors. Each takes some 200 bytes
            besides its numbers, however short its line is.
        max_expansion: how many times its bytes a compressed file may unpack
            to; 16 MiB always may be.

    Returns:
        A dict of words to float32 arrays of shape `(width,)`.

    Raises:
        FileNotFoundError: if there is no such file.
        DamagedFileError: a `ValueError`, too, for a line with another number
            of numbers or with something else, or too many lines. The message
            starts with file and line.

    Example:

    >>> with open("vectors.txt", "w") as file:
    ...     size = file.write("king 0.5 1\\ncrown 2 -1\\n")
    >>> load_vectors("vectors.txt")["crown"]
    array([ 2., -1.], dtype=float32)
    """
    if width is not None:
        check_positive_int(width=width)
    check_positive_int(max_vectors=max_vectors)
    vectors = {}
    for number, line in file_lines(pathlib.Path(path), max_expansion):
        word, *values = line.rstrip(" ").split(" ")
        header = number == 1 and len(values) == 1
        header = header and word.isdecimal() and values[0].isdecimal()
        received = int(values[0]) if header else len(values)
        width = received if width is None else width
        if received != width or not width:
            raise DamagedFileError(
                f"{path}:{number}",
                f"{width or 'some'} numbers behind the word",
                received,
            )
        if number > max_vectors + 1:
            raise DamagedFileError(
                f"{path}:{number}",
                f"at most {max_vectors:,} vectors (`max_vectors`)",
                "one more",
            )
        if not header:
            vectors.setdefault(word, _numbers(values, f"{path}:{number}"))
    if not vectors:
        raise DamagedFileError(path, "at least one vector", "none")
    return vectors


def _numbers(values, place):
    try:
        vector = np.array(values, "float64")
    except ValueError as error:
        raise DamagedFileError(
            place, "numbers behind the word", error
        ) from error
    finite = np.abs(vector) < np.finfo("float32").max  # not so if NaN
    if not finite.all():
        raise DamagedFileError(
            place,
            "finite float32 numbers behind the word",
            values[np.argmin(finite)][:40],
        )
    return vector.astype("float32")


def _check_vectors(vectors):
    """Returns `vectors` as a mapping of words to vectors of one width."""
    if not isinstance(vectors, collections.abc.Mapping):
        words, array = vectors
        if np.ndim(array) != 2 or len(words) != len(array):
            raise ValueError(
                "`vectors` must have an array of shape (words, width). "
                f"Received: {len(words)} words, shape {np.shape(array)}"
            )
        vectors = dict(zip(words, array))
    if not vectors:
        raise ValueError("`vectors` must not be empty. Received: none")
    shape = np.shape(next(iter(vectors.values())))
    for word, vector in vectors.items():
        if np.shape(vector) != shape or len(shape) != 1:
            raise ValueError(
                "`vectors` must all have the same shape `(width,)`. Received: "
                f"{np.shape(vector)} for {word!r}, {shape} for the first"
            )
    return vectors


def _cosines(hypothesis, reference):
    """The three figures of two arrays of vectors, `(words, width)` each."""
    average = [x.mean(axis=0) for x in (hypothesis, reference)]
    extrema = [
        np.where(-x.min(axis=0) > x.max(axis=0), x.min(axis=0), x.max(axis=0))
        for x in (hypothesis, reference)
    ]
    nearness = _unit(hypothesis) @ _unit(reference).T
    greedy = [nearness.max(axis=axis).mean() for axis in (0, 1)]
    return [
        *(_unit(x) @ _unit(y) for x, y in (average, extrema)),
        np.mean(greedy),
    ]


def _unit(x):
    """x / |x|; 0 where that is 0."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
