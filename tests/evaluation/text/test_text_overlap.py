import math

import pytest

from keras_hvae.evaluation.text.text_overlap import corpus_bleu, nltk7


def bleu4(hypotheses, references):
    return corpus_bleu(hypotheses, references)["bleu4_sacrebleu"]


def test_corpus_bleu_pools_matches_and_lengths():
    # Matches of n-grams: 4 + 1 of 6, 3 + 0 of 4, 2 of 2, 1 of 1; 6 words
    # for 7.
    expected = 100 * (5 / 6 * 3 / 4) ** (1 / 4) * math.exp(1 - 7 / 6)
    hypotheses, references = ["a b c d", "a b"], ["a b c d e", "a c"]
    assert bleu4(hypotheses, references) == pytest.approx(expected)
    words = [[x.split() for x in xs] for xs in (hypotheses, references)]
    assert bleu4(*words) == pytest.approx(expected)


def test_corpus_bleu_leaves_words_and_zeros_as_they_are():
    # With sacreBLEU's own tokenizer this would be 100.
    assert bleu4(["a b c d."], ["a b c d ."]) == 0
    assert bleu4(["a b c D"], ["a b c d"]) == 0
    # With its smoothing this would not be 0.
    assert bleu4(["a b c x d"], ["a b c d"]) == 0
    assert bleu4(["", "a b"], ["a b c d", "a b"]) == 0
    signature = corpus_bleu(["a"], ["a b c d"])["signature"]
    short = corpus_bleu(["a"], ["a b c"])  # there is no 4-gram to find
    assert short["bleu4_sacrebleu"] is None
    assert "tok:none|smooth:none" in signature


def test_nltk7():
    # "a b" for "a b c". Precisions 1, 1, 0 of 1; method 4 makes of the last
    # ln 2 / (2 * 5), by the length 2; method 5 averages each with its
    # neighbours, of which the last is the (empty) precision of 5-grams.
    third = math.log(2) / 10
    first = (2 + 1 + 1) / 3
    second = (first + 1 + third) / 3
    third = (second + third + 0) / 3
    best = (first * second * third) ** (1 / 3) * math.exp(1 - 3 / 2)
    # "c" for "a b c": 1, 0, 0, of a single word; smoothed 1, 1/3, 1/9.
    other = 1 / 3 * math.exp(1 - 3)
    scores = nltk7([["c", "a b"], ["", "x y"]], ["a b c", "a b"])
    recall, precision = best / 2, (best + other) / 4
    assert scores.pop("nltk_version")
    assert scores == {
        "bleu3_nltk7_recall": pytest.approx(recall),
        "bleu3_nltk7_precision": pytest.approx(precision),
        "bleu3_nltk7_f1": pytest.approx(2 / (1 / recall + 1 / precision)),
        "responses_per_context": 2,
    }
    assert nltk7([["", "x"]], ["a b"])["bleu3_nltk7_f1"] == 0


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        (["a"], [], "same length. Received: 1 and 0"),
        ([], [], "`hypotheses` .* at least one sentence. Received: none"),
        ("a b", "c d", "`hypotheses` must be a list .* Received: one string"),
        (
            ["a"],
            [["b", "c d"]],
            "`references` .* Received: 'c d' in sentence 0",
        ),
        (["a"], [["b", ""]], "`references` .* Received: '' in sentence 0"),
        (["a", "b [EOS]"], ["c", "d"], r"Received: '\[EOS\]' in sentence 1"),
        (["a"], [7], "`references` .* Received: int for sentence 0"),
        (["a"], [[7]], "`references` .* Received: 7 in sentence 0"),
    ],
)
def test_corpus_bleu_refuses(hypotheses, references, message):
    with pytest.raises(ValueError, match=message):
        corpus_bleu(hypotheses, references)


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        ([["a"]], ["a", "b"], "same length. Received: 1 and 2"),
        ([["a"], ["a", "b"]], ["a", "b"], "same number .* Received: 1 to 2"),
        ([["a"], []], ["a", "b"], "`hypotheses` .* Received: none"),
        (["a"], ["a"], "`hypotheses` must be a list .* Received: one string"),
    ],
)
def test_nltk7_refuses(hypotheses, references, message):
    with pytest.raises(ValueError, match=message):
        nltk7(hypotheses, references)
