import gzip
import lzma
import math

import numpy as np
import pytest

from keras_hvae.evaluation.text.embedding_metrics import (
    embedding_metrics,
    load_vectors,
)

VECTORS = {"a": [3.0, 0.0], "b": [0.0, 4.0], "c": [-5.0, 1.0]}


def figures(hypothesis, reference, vectors=VECTORS):
    result = embedding_metrics([hypothesis], [reference], vectors)
    return [
        result[f"embedding_{name}"] for name in ("average", "extrema", "greedy")
    ]


def test_metrics_by_hand():
    # Means (3, 0) and (1.5, 2): 4.5 / (3 * 2.5). Extrema (3, 0) and (3, 4):
    # 9 / (3 * 5). Greedy: a finds a; of the reference a finds a, b has 0.
    assert figures("a", "a b") == pytest.approx([0.6, 0.6, (1 + 1 / 2) / 2])
    # Means (-1, .5) and (0, 4). Extrema: -5 outdoes 3, so (-5, 1). Greedy:
    # cos(c, b) = 1 / √26, cos(a, b) = 0.
    near = 1 / math.sqrt(26)
    assert figures("a c", "b") == pytest.approx(
        [0.5 / math.sqrt(1.25), near, (near / 2 + near) / 2]
    )
    # A word counts as often as it stands there.
    assert figures("a a b", "a")[2] == pytest.approx((2 / 3 + 1) / 2)
    # Opposite words have no floor of 0.
    opposite = {"a": [1.0], "b": [-2.0]}
    assert figures("a", "b", opposite) == [-1, -1, -1]
    # Of two extrema the positive one counts, whatever the order.
    opposite = {"a": [2.0], "b": [-2.0]}
    assert figures("b a", "a", opposite)[1] == 1
    assert figures("a b", "a", opposite)[1] == 1


def test_metrics_are_symmetric_and_1_for_the_same():
    assert figures("a c", "b c") == pytest.approx(figures("b c", "a c"))
    assert figures("a c b", "a c b") == pytest.approx([1, 1, 1])


def test_empty_sentences_and_unknown_words():
    result = embedding_metrics(
        ["a x", "", "x", "a", "a"], ["a", "a", "a y", "", "x"], VECTORS
    )
    # The first is right, two hypotheses are empty, two references are.
    assert result == {
        "embedding_average": pytest.approx(1 / 3),
        "embedding_extrema": pytest.approx(1 / 3),
        "embedding_greedy": pytest.approx(1 / 3),
        "pairs": 3,
        "without_vector_rate": 4 / 10,
    }


def test_a_vector_of_zeros_is_near_to_nothing():
    vectors = {"a": [1.0, 0.0], "null": [0.0, 0.0]}
    assert figures("null", "a", vectors) == [0, 0, 0]


def test_vectors_as_an_array():
    words, array = list(VECTORS), np.array(list(VECTORS.values()), "float32")
    assert figures("a c", "b", (words, array)) == figures("a c", "b")


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (
            {"a": [1.0], "b": [1.0, 2.0]},
            r"`vectors` .*: \(2,\) for 'b', \(1,\)",
        ),
        ({"a": 1.0}, r"`vectors` .*: \(\) for 'a'"),
        ({"a": [[1.0]]}, r"`vectors` .*: \(1, 1\) for 'a'"),
        ({"a": [math.nan]}, "`vectors` must be finite.* of 'a'"),
        ({}, "`vectors` must not be empty"),
        ({"b": [1.0]}, "`references` .* none in 1 sentences"),
        ((["a"], np.ones((2, 3))), r"1 words, shape \(2, 3\)"),
        ((["a", "b"], np.ones(2)), r"2 words, shape \(2,\)"),
    ],
)
def test_metrics_refuse_vectors(vectors, message):
    with pytest.raises(ValueError, match=message):
        embedding_metrics(["a"], ["a"], vectors)


def test_metrics_refuse_what_is_no_pairs():
    with pytest.raises(ValueError, match="same length. Received: 1 and 2"):
        embedding_metrics(["a"], ["a", "b"], VECTORS)
    with pytest.raises(ValueError, match="`hypotheses` .* Received: none"):
        embedding_metrics([], [], VECTORS)


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)],
)
@pytest.mark.parametrize("header", [b"", b"3 2\n"])
def test_load_vectors(tmp_path, header, suffix, compress):
    path = tmp_path / f"vectors.txt{suffix}"
    # word2vec ends its lines with a space.
    lines = "king 0.5 1\n’ -2e-1 3 \r\nking 7 7\n".encode()
    path.write_bytes(compress(header + lines))
    for width in (None, 2):
        vectors = load_vectors(str(path), width)
        assert list(vectors) == ["king", "’"]
        assert vectors["’"].dtype == "float32"
        np.testing.assert_allclose(vectors["king"], [0.5, 1])
        np.testing.assert_allclose(vectors["’"], [-0.2, 3])


@pytest.mark.parametrize(
    ("text", "width", "message"),
    [
        ("a 1 2\nb 1\n", None, ":2: expected 2 numbers .* Received: 1"),
        ("a 1 2\nb 1 2 3\n", None, ":2: expected 2 numbers .* Received: 3"),
        ("a 1 2\n", 3, ":1: expected 3 numbers .* Received: 2"),
        ("9 2\na 1 2\n", 3, ":1: expected 3 numbers .* Received: 2"),
        ("9 2\na 1\n", None, ":2: expected 2 numbers .* Received: 1"),
        ("a\n", None, ":1: expected some numbers .* Received: 0"),
        ("a 1 2\nb 1 2\nc 1 x\n", None, ":3: expected numbers .* 'x'"),
        ("a 1 nan\n", None, ":1: expected finite .* Received: nan"),
        ("a 1 1e99\n", None, ":1: expected finite .* Received: 1e99"),
        ("", None, ": expected at least one vector. Received: none"),
        ("9 2\n", None, ": expected at least one vector. Received: none"),
        ("a 1\n", 0, "`width` .* Received: 0"),
    ],
)
def test_load_vectors_names_file_and_line(tmp_path, text, width, message):
    path = tmp_path / "v.txt"
    path.write_text(text)
    place = "" if width == 0 else "v.txt"
    with pytest.raises(ValueError, match=place + message):
        load_vectors(path, width)


def test_load_vectors_that_are_not_there_or_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_vectors(tmp_path / "v.txt")
    path = tmp_path / "v.txt.gz"
    path.write_bytes(gzip.compress(b"a 1 2\n" * 99)[:-9])
    with pytest.raises(ValueError, match="v.txt.gz:"):
        load_vectors(path)
