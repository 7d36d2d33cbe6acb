import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from keras_hvae.evaluation.text.diversity import copied, distinct, self_bleu


def test_distinct():
    # a, b, a, a, b; then ab, ba, ab. The empty response has none.
    figures = distinct(["a b a", ["a", "b"], ""])
    assert figures == {"distinct1": 2 / 5, "distinct2": 2 / 3, "responses": 3}
    figures = distinct(["a b a", "a b"], n=1, num_responses=1)
    assert figures == {"distinct1": 2 / 3, "responses": 1}
    assert distinct(["a", "a b"], n=3)["distinct3"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "`n` .* Received: 0"),
        ({"num_responses": 3}, "`num_responses` .* at most 2.* Received: 3"),
        ({"num_responses": 0}, "`num_responses` .* Received: 0"),
    ],
)
def test_distinct_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        distinct(["a", "a b"], **arguments)


def test_self_bleu():
    # 2 of 3 words, 1 of 2 pairs, 0 of 1 triple, 0 of none; the last two
    # become 0.1 / 1. Both directions are alike.
    figures = self_bleu(["a b c", "a b d"], num_samples=2)
    expected = (2 / 3 * 1 / 2 * 0.1 * 0.1) ** (1 / 4)
    assert figures["self_bleu4_nltk1"] == pytest.approx(expected)
    same = self_bleu(["a b c d e"] * 3, num_samples=3)
    assert same == {"self_bleu4_nltk1": pytest.approx(1), "samples": 3}


def test_self_bleu_is_that_of_all_pairs():
    # Few words, so that counts over 1, ties and all lengths occur.
    rng = np.random.default_rng(0)
    sentences = [
        ["abcd"[i] for i in rng.integers(4, size=length)]
        for length in rng.integers(0, 12, size=40)
    ]
    expected = [
        sentence_bleu(
            sentences[:i] + sentences[i + 1 :],
            words,
            smoothing_function=SmoothingFunction().method1,
        )
        for i, words in enumerate(sentences)
    ]
    figure = self_bleu(sentences, num_samples=40)["self_bleu4_nltk1"]
    assert figure == pytest.approx(float(np.mean(expected)))
    assert 0.1 < figure < 0.9


def test_self_bleu_draws_by_seed():
    sentences = [f"{i // 2} a b c d" for i in range(20)]
    figures = [
        self_bleu(sentences, num_samples=4, seed=seed)["self_bleu4_nltk1"]
        for seed in (*range(10), *range(10))
    ]
    assert figures[:10] == figures[10:]
    assert len(set(figures)) > 1


@pytest.mark.parametrize("number", [0, 1, 3, 1000])
def test_self_bleu_refuses(number):
    with pytest.raises(ValueError, match=f"`num_samples` .*: {number}"):
        self_bleu(["a", "b"], num_samples=number)


def test_copied():
    figures = copied(["a b", "b a", "a", "a b"], [["a", "b"], "b"])
    assert figures == {"copied": 0.5, "samples": 4}
    with pytest.raises(ValueError, match="`training_sentences` .*: none"):
        copied(["a"], [])
