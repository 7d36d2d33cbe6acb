"""Perplexity of an n-gram language model, forward and reverse."""

from collections.abc import Collection, Sequence
from typing import Any

from keras_hvae.arguments import check_positive_int
from keras_hvae.evaluation.text.word_lists import import_library, word_lists
from keras_hvae.ids import SPECIAL_TOKENS

PAD, UNK, BOS, EOS = SPECIAL_TOKENS


def ngram_perplexity(
    train_sentences: Sequence,
    test_sentences: Sequence,
    order: int = 3,
    vocabulary: Collection[str] | None = None,
) -> dict:
    """Perplexity of sentences under an n-gram model of other sentences.

    The model is NLTK's interpolated Witten-Bell one. (Its Kneser-Ney one
    gives an unseen word no probability, and takes hours.) The perplexity is
    exp(nll / tokens); `[EOS]` is a token.

    Args:
        train_sentences: tokenized sentences to count; see `word_lists`.
        test_sentences: tokenized sentences to score.
        order: n; 3 for trigrams.
        vocabulary: the known words, such as `corpus.vocabulary`; `None` for
            those of `train_sentences`. All others are one and the same
            word, `[UNK]`. Perplexities under different vocabularies do not
            compare.

    Returns:
        A dict, for order 3: `"perplexity_3gram_witten_bell"`, `"tokens"`
        that were scored, and `"unk_rate"`, the share of `[UNK]` in them.

    Raises:
        ValueError: for an empty list or an order less than 1.

    Example:

    >>> ngram_perplexity(["a b", "a"], ["a"], order=1)
    {'perplexity_1gram_witten_bell': 2.9..., 'tokens': 2, 'unk_rate': 0.0}
    """
    check_positive_int(order=order)
    train = word_lists("train_sentences", train_sentences)
    test = word_lists("test_sentences", test_sentences)
    if vocabulary is None:
        vocabulary = {word for words in train for word in words}
    model = witten_bell(train, order, vocabulary)
    ngrams = [ngram for words in test for ngram in _ngrams(words, order)]
    unknown = sum(model.vocab.lookup(ngram[-1]) == UNK for ngram in ngrams)
    return {
        f"perplexity_{order}gram_witten_bell": model.perplexity(ngrams),
        "tokens": len(ngrams),
        "unk_rate": unknown / len(ngrams),
    }


def forward_reverse_perplexity(
    samples: Sequence, real_train: Sequence, real_test: Sequence, order: int = 3
) -> dict:
    """How real samples look, and how much of real text they cover.

    *Forward*: a model of the real training text scores the samples. It is
    low for fluent samples, and also for samples that are all alike.
    *Reverse*: a model of the samples scores the real test text; it is low
    only if the samples are as varied as that. As many real sentences in
    place of the samples show what can be reached. Both models know the words
    of the real training text: with those of the samples, few words would
    give a low reverse perplexity.

    Args:
        samples, real_train, real_test: tokenized sentences; see
            `word_lists`.
        order: n.

    Returns:
        A dict with the figures of `ngram_perplexity`, once with `"forward_"`
        and once with `"reverse_"` before their names, and `"samples"`: with
        more samples the reverse perplexity falls.

    Raises:
        ValueError: for an empty list or an order less than 1.

    Example:

    >>> figures = forward_reverse_perplexity(["a b"], ["a b", "c"], ["c"])
    >>> round(figures["reverse_perplexity_3gram_witten_bell"], 2)
    12.25

    Reference:
        - [Zhao et al., 2018](https://arxiv.org/abs/1706.04223) (with a
          recurrent network for the language model)
    """
    samples = word_lists("samples", samples)
    train = word_lists("real_train", real_train)
    test = word_lists("real_test", real_test)
    vocabulary = {word for words in train for word in words}
    figures = {"samples": len(samples)}
    for direction, counted, scored in (
        ("forward", train, samples),
        ("reverse", samples, test),
    ):
        one_way = ngram_perplexity(counted, scored, order, vocabulary)
        figures |= {f"{direction}_{key}": x for key, x in one_way.items()}
    return figures


def witten_bell(sentences: Sequence, order: int, vocabulary: Any) -> Any:
    """Fits an interpolated Witten-Bell model with NLTK.

    Its probabilities of the vocabulary, `[UNK]` and `[EOS]` sum to 1 in each
    context, and none is 0.

    Args:
        sentences: lists of words.
        order: n.
        vocabulary: the known words.

    Returns:
        An `nltk.lm.LanguageModel`.
    """
    lm = import_library("nltk.lm")
    words = sorted({*vocabulary, UNK, EOS} - {PAD, BOS})
    model = lm.WittenBellInterpolated(
        order, vocabulary=lm.Vocabulary([*words, BOS], unk_label=UNK)
    )
    # NLTK's padding would count [BOS] and several [EOS] as words, and its `fit`
    # looks each word up in all of its n-grams: neither is used.
    for x in sentences:
        ngrams = _ngrams(model.vocab.lookup(x), order)
        model.counts.update([[g[i:] for g in ngrams for i in range(order)]])
    # NLTK stops at the unigrams, without a probability for unseen words; Witten
    # and Bell interpolate with the uniform distribution. With the number of
    # types T spread over the V words, c / N becomes (c + T / V) / (N + T).
    unigrams = model.counts.unigrams
    share = len(unigrams) / len(words)
    for word in words:
        unigrams[word] += share
    return model


def _ngrams(words, order):
    """Each word and `[EOS]`, behind the order − 1 words before it."""
    padded = [*[BOS] * (order - 1), *words, EOS]
    return zip(*(padded[i : len(words) + 1 + i] for i in range(order)))
