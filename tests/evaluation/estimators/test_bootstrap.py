import math

import numpy as np
import pytest
import scipy.stats

from keras_hvae.evaluation import paired_bootstrap


def documents(count=200, rise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(5, 60, count)
    reference = tokens * rng.normal(4.0, 1.0, count)
    own = reference + tokens * rng.normal(rise, 0.2, count)
    return own, reference, tokens


def test_difference_and_interval_against_scipy():
    own, reference, tokens = documents()
    figures = paired_bootstrap(own, reference, tokens, resamples=20_000)

    def difference(own, reference, tokens, axis):
        rise = (own - reference).sum(axis=axis)
        return rise / tokens.sum(axis=axis)

    expected = scipy.stats.bootstrap(
        (own, reference, tokens),
        difference,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20_000,
        rng=1,
    ).confidence_interval
    assert figures["difference"] == pytest.approx(
        (own - reference).sum() / tokens.sum(), rel=1e-12
    )
    assert figures["low"] == pytest.approx(expected.low, abs=2e-3)
    assert figures["high"] == pytest.approx(expected.high, abs=2e-3)


def test_pairs_are_kept():
    # Documents differ by nats, the models by a hundredth: seen all the same.
    own, reference, tokens = documents(rise=0.0)
    own = reference + 0.01 * tokens
    figures = paired_bootstrap(own, reference, tokens)
    for key in ("difference", "low", "high"):
        assert figures[key] == pytest.approx(0.01)


def test_covers_the_true_difference_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        own, reference, tokens = documents(60, 0.0, seed)
        figures = paired_bootstrap(own, reference, tokens, 300)
        covered += figures["low"] <= 0.0 <= figures["high"]
    assert 175 <= covered <= 199


def test_every_document_may_be_drawn():
    # Of two documents: both times the first, both times the second, or each.
    figures = paired_bootstrap([0.0, 1.0], [0.0, 0.0], [1, 1])
    assert figures == {"difference": 0.5, "low": 0.0, "high": 1.0}


def test_a_seed_repeats():
    given = documents()
    assert paired_bootstrap(*given) == paired_bootstrap(
        *given, resamples=1000, seed=0
    )
    assert paired_bootstrap(*given, seed=3) == paired_bootstrap(*given, seed=3)
    assert paired_bootstrap(*given, seed=3) != paired_bootstrap(*given, seed=4)


@pytest.mark.parametrize(
    ("given", "resamples", "match"),
    [
        (([1.0], [1.0, 2.0], [3, 4]), 10, r"\(1,\), \(2,\), \(2,\)"),
        (([[1.0]], [[1.0]], [[1]]), 10, r"must have the same shape"),
        (([1.0], [math.nan], [1]), 10, "1 numbers that are not finite"),
        (([1.0], [1.0], [0]), 10, "> 0. Received: a lowest size of 0"),
        (([], [], []), 10, "at least one document. Received: none"),
        (([1.0], [1.0], [1]), 0, "resamples"),
    ],
)
def test_bad_arguments(given, resamples, match):
    with pytest.raises(ValueError, match=match):
        paired_bootstrap(*given, resamples=resamples)
