import itertools

import pytest

from keras_hvae.evaluation.text.ngram_perplexity import (
    forward_reverse_perplexity,
    ngram_perplexity,
    witten_bell,
)
from keras_hvae.text import Preprocessor


def test_perplexity_of_bigrams():
    # Of 4 types (a, b, [UNK], [EOS]), 3 occur, in 5 tokens: a word's share
    # is (count + 3/4) / 8. [BOS] is followed by 1 type in 2 tokens, so that
    # 1 / (1 + 2) goes to that share; b by 1 in 1, so that 1/2 does. What
    # follows [UNK] was never seen: all goes to it.
    b = 0 + 1 / 3 * 1.75 / 8
    unknown = 0 + 1 / 2 * 0.75 / 8
    end = 2.75 / 8
    figures = ngram_perplexity(["a b", "a"], ["b x"], order=2)
    assert figures == {
        "perplexity_2gram_witten_bell": pytest.approx(
            (b * unknown * end) ** (-1 / 3)
        ),
        "tokens": 3,
        "unk_rate": 1 / 3,
    }


def test_perplexity_of_trigrams():
    # Unigrams as above. "[BOS] [BOS]" and "[BOS]" are followed by 1 type in
    # 2 tokens, "[BOS] a" and "a" by b and [EOS], a token each.
    a = 2 / 3 + 1 / 3 * (2 / 3 + 1 / 3 * 2.75 / 8)
    end = 1 / 2 * 1 / 2 + 1 / 2 * (1 / 2 * 1 / 2 + 1 / 2 * 2.75 / 8)
    figures = ngram_perplexity(["a b", "a"], [["a"]])
    assert figures["perplexity_3gram_witten_bell"] == pytest.approx(
        (a * end) ** (-1 / 2)
    )


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_sum_to_1(order):
    train = [x.split() for x in ("a b a c", "b b a", "c unknown", "[UNK]", "")]
    words = ["a", "b", "c", "never", "[UNK]", "[EOS]"]
    model = witten_bell(train, order, ["a", "b", "c", "never"])
    for context in itertools.product([*words, "[BOS]"], repeat=order - 1):
        shares = [model.score(word, context) for word in words]
        assert min(shares) > 0
        assert sum(shares) == pytest.approx(1, abs=1e-12)


def test_a_preprocessor_is_a_vocabulary():
    # Neither padding nor [BOS] takes a share.
    arguments = [["a b", "c"], ["b c d"], 2]
    expected = ngram_perplexity(*arguments, ["a", "b"])
    assert ngram_perplexity(*arguments, Preprocessor(["a", "b"])) == expected
    assert expected["unk_rate"] == 1 / 2


def test_forward_and_reverse():
    real_train, real_test = ["a b", "c a"], ["a c"]
    figures = forward_reverse_perplexity(["a b", "d"], real_train, real_test)
    known = ["a", "b", "c"]
    forward = ngram_perplexity(real_train, ["a b", "d"], vocabulary=known)
    reverse = ngram_perplexity(["a b", "d"], real_test, vocabulary=known)
    assert figures == {
        "samples": 2,
        **{f"forward_{key}": value for key, value in forward.items()},
        **{f"reverse_{key}": value for key, value in reverse.items()},
    }
    assert (figures["forward_unk_rate"], figures["reverse_unk_rate"]) == (
        0.2,
        0,
    )


def test_reverse_perplexity_finds_samples_that_are_all_alike():
    real = ["a b c", "b c a", "c a b", "b a", "c"]
    key = "{}_perplexity_3gram_witten_bell"
    alike = forward_reverse_perplexity(["b c a"] * 5, real, real)
    varied = forward_reverse_perplexity(real, real, real)
    forward, reverse = key.format("forward"), key.format("reverse")
    assert alike[forward] < varied[forward]
    assert alike[reverse] > 2 * varied[reverse]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a"], ["a"], 0), "`order` .* Received: 0"),
        (([], ["a"]), "`train_sentences` .* Received: none"),
        ((["a"], []), "`test_sentences` .* Received: none"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        ngram_perplexity(*arguments)
    for name in ("samples", "real_train", "real_test"):
        texts = {x: ["a"] for x in ("samples", "real_train", "real_test")}
        with pytest.raises(ValueError, match=f"`{name}` .* Received: none"):
            forward_reverse_perplexity(**{**texts, name: []})
