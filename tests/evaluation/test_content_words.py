import numpy as np
import pytest

from keras_hvae.evaluation import content_recall


def test_recall_of_content_words():
    references = [["the", "cat", "sees", "cat"], ["the", "dog"], ["the", "a"]]
    hypotheses = [["cat", "the"], ["a", "cat", "dog"], ["dog"]]
    figures = content_recall(hypotheses, references, {"the", "a"})
    # cat, sees; dog.
    assert figures["content_words"] == 3
    assert figures["content_recall"] == pytest.approx(2 / 3)
    # cat is in one of two others, sees in none; dog in one of two.
    assert figures["content_recall_random"] == pytest.approx(
        (1 + 0 + 1) / 2 / 3
    )


def test_random_is_the_average_over_all_others():
    rng = np.random.default_rng(0)
    references, hypotheses = (
        [
            list("abcdefgh"[:6][i] for i in rng.integers(6, size=4))
            for _ in range(7)
        ]
        for _ in range(2)
    )
    wanted = [set(x) - {"a"} for x in references]
    total = sum(map(len, wanted))
    expected = np.mean(
        [
            sum(len(wanted[i] & set(hypotheses[(i + k) % 7])) for i in range(7))
            for k in range(1, 7)
        ]
    )
    figures = content_recall(hypotheses, references, {"a"})
    assert figures["content_recall_random"] == pytest.approx(expected / total)


def test_a_model_that_always_writes_the_same_has_no_advantage():
    references = [["x"], ["y"], ["x", "y", "z"]]
    figures = content_recall([["x", "q"]] * 3, references, set())
    assert figures["content_recall"] == figures["content_recall_random"] == 0.4


def test_nothing_to_recall():
    figures = content_recall([["a"]], [["a"]], {"a"})
    assert figures == {
        "content_recall": None,
        "content_recall_random": None,
        "content_words": 0,
    }
    one = content_recall([["a"]], [["a"]], set())
    assert one["content_recall"] == 1 and one["content_recall_random"] is None


def test_each_reference_has_a_hypothesis():
    with pytest.raises(
        ValueError, match="Received: 1 hypotheses, 2 references"
    ):
        content_recall([["a"]], [["a"], ["b"]], set())
