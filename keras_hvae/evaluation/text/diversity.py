"""How samples differ: from each other and from the training data."""

import collections
from collections.abc import Sequence

import numpy as np

from keras_hvae.arguments import check_positive_int
from keras_hvae.evaluation.text.word_lists import import_library, word_lists


def distinct(
    sentences: Sequence, n: int = 2, num_responses: int | None = None
) -> dict:
    """Share of distinct n-grams among all n-grams: distinct-1 … distinct-n.

    It falls as the number of responses grows, so that only figures of the
    same number compare.

    Args:
        sentences: list of tokenized sentences; see `word_lists`.
        n: largest order.
        num_responses: how many sentences to use, the first ones; `None`
            for all.

    Returns:
        A dict: `"distinct1"` … `"distinct{n}"` in (0, 1], `None` where no
        sentence has that many words, and `"responses"`, the number of
        sentences used.

    Raises:
        ValueError: if there are fewer sentences than `num_responses`.

    Example:

    >>> distinct(["a b", "a c"])
    {'distinct1': 0.75, 'distinct2': 1.0, 'responses': 2}

    Reference:
        - [Li et al., 2016](https://arxiv.org/abs/1510.03055)
    """
    check_positive_int(n=n)
    sentences = word_lists("sentences", sentences)
    if num_responses is not None:
        check_positive_int(num_responses=num_responses)
        _check_enough("num_responses", num_responses, sentences)
        sentences = sentences[:num_responses]
    figures = {}
    for order in range(1, n + 1):
        ngrams = [g for words in sentences for g in _ngrams(words, order)]
        share = len(set(ngrams)) / len(ngrams) if ngrams else None
        figures[f"distinct{order}"] = share
    return {**figures, "responses": len(sentences)}


def self_bleu(
    sentences: Sequence, num_samples: int = 1000, seed: int = 0
) -> dict:
    """How alike samples are: mean BLEU-4 of each against all the others.

    Texygen's variant: NLTK's cumulative sentence BLEU-4 with smoothing
    method 1 (0.1 for no match) and the other samples as references. It
    rises with the number of samples.

    Args:
        sentences: list of tokenized sentences; see `word_lists`.
        num_samples: how many of them to draw, without replacement.
        seed: of the draw.

    Returns:
        A dict: `"self_bleu4_nltk1"` in [0, 1], 1 for samples that are all
        the same, and `"samples"`. An empty sample scores 0.

    Raises:
        ValueError: if `num_samples` is less than 2 or more than there are.

    Example:

    >>> self_bleu(["a b c d", "a b c d", "e f g h"], num_samples=3)
    {'self_bleu4_nltk1': 0.66..., 'samples': 3}

    Reference:
        - [Zhu et al., 2018](https://arxiv.org/abs/1802.01886)
    """
    bleu = import_library("nltk.translate.bleu_score")
    sentences = word_lists("sentences", sentences)
    check_positive_int(num_samples=num_samples)
    _check_enough("num_samples", num_samples, sentences)
    if num_samples < 2:
        raise ValueError("`num_samples` must be at least 2. Received: 1")
    rows = np.random.default_rng(seed).permutation(len(sentences))
    samples = [sentences[row] for row in rows[:num_samples]]
    matches, totals = np.array(
        [_matches_in_others(samples, order) for order in (1, 2, 3, 4)]
    ).transpose(1, 2, 0)  # (N, 4) each
    precisions = np.maximum(matches, 0.1) / np.maximum(totals, 1)
    scores = np.exp(np.log(precisions).mean(axis=1))
    for i, words in enumerate(samples):
        others = samples[:i] + samples[i + 1 :]
        closest = bleu.closest_ref_length(others, len(words))
        scores[i] *= bleu.brevity_penalty(closest, len(words))
    # NLTK does not smooth a score without any common word: it is 0.
    scores[matches[:, 0] == 0] = 0
    return {"self_bleu4_nltk1": float(scores.mean()), "samples": num_samples}


def copied(samples: Sequence, training_sentences: Sequence) -> dict:
    """Share of samples that are training sentences, word for word.

    Args:
        samples: list of tokenized sentences; see `word_lists`.
        training_sentences: list of tokenized sentences.

    Returns:
        A dict: `"copied"` in [0, 1] and `"samples"`, their number.

    Raises:
        ValueError: for an empty list.

    Example:

    >>> copied(["a b", "a"], ["a b", "c"])
    {'copied': 0.5, 'samples': 2}
    """
    samples = word_lists("samples", samples)
    known = word_lists("training_sentences", training_sentences)
    known = {tuple(words) for words in known}
    found = sum(tuple(words) in known for words in samples)
    return {"copied": found / len(samples), "samples": len(samples)}


def _ngrams(words, order):
    return zip(*(words[start:] for start in range(order)))


def _matches_in_others(samples, order):
    """BLEU's clipped matches of each sample, and its number of n-grams.

    A sample's n-gram matches as often as in the other sample that has it
    most often. Of its two largest counts in all samples, the smaller one is
    that limit wherever it matters; to compare all pairs would take minutes.
    """
    counts = [collections.Counter(_ngrams(x, order)) for x in samples]
    largest = collections.defaultdict(lambda: (0, 0))
    for count in counts:
        for ngram, number in count.items():
            largest[ngram] = sorted((*largest[ngram], number))[1:]
    matches = [
        sum(min(number, largest[ngram][0]) for ngram, number in x.items())
        for x in counts
    ]
    return matches, [x.total() for x in counts]


def _check_enough(name, number, sentences):
    if number > len(sentences):
        raise ValueError(
            f"`{name}` must be at most {len(sentences)}, the number of "
            f"sentences. Received: {number}"
        )
