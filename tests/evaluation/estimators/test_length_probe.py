import numpy as np
import pytest

from keras_hvae.evaluation import length_r2

pytestmark = pytest.mark.eager


def sentences(count=400, noise=0.0, seed=0):
    """Means of which two directions say log length, up to `noise`."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(2, 30, count)
    means = rng.standard_normal((count, 5))
    error = noise * rng.standard_normal(count)
    means[:, 3] = 7 - 0.01 * (np.log(tokens) + error - means[:, 0])
    return means, tokens, np.arange(count) // 2


def test_length_that_can_be_read_off():
    assert length_r2(*sentences()) == pytest.approx(1, abs=1e-4)


def test_share_of_the_variance():
    means, tokens, documents = sentences(20_000, noise=0.5)
    variance = np.log(tokens).var()
    # The best linear guess from log length + error.
    expected = variance / (variance + 0.25)
    r2 = length_r2(means, tokens, documents)
    assert r2 == pytest.approx(expected, abs=0.02)


def test_is_cross_validated_by_document():
    # Means that tell which document it is, and nothing else: by rote, 1.
    rng = np.random.default_rng(0)
    tokens = np.repeat(rng.integers(2, 30, 20), 4)
    documents = np.repeat(np.arange(20), 4)
    r2 = length_r2(np.eye(20)[documents], tokens, documents)
    assert r2 < 0.05
    # With copies of a document in the other folds it is known.
    documents = np.arange(200)
    kinds = documents // 10
    assert length_r2(np.eye(20)[kinds], tokens[4 * kinds], documents) > 0.99


def test_against_leaving_folds_out_by_hand():
    means, tokens, documents = sentences(40, noise=0.5, seed=3)
    means[:, 4] = 2 * means[:, 3]  # which least squares could not do
    target, folds = np.log(tokens), documents % 5
    errors = totals = 0.0
    for fold in range(5):
        train, test = folds != fold, folds == fold
        rows = (means - means[train].mean(axis=0)) / means[train].std(axis=0)
        rest = target - target[train].mean()
        # Ridge regression: a row of weight √λ more for each column.
        more = np.sqrt(1e-3 * train.sum()) * np.eye(5)
        weights, *_ = np.linalg.lstsq(
            np.concatenate([rows[train], more]),
            np.concatenate([rest[train], np.zeros(5)]),
            rcond=None,
        )
        errors += ((rest - rows @ weights)[test] ** 2).sum()
        totals += (rest[test] ** 2).sum()
    expected = 1 - errors / totals
    assert 0.1 < expected < 0.9
    assert length_r2(means, tokens, documents) == pytest.approx(expected)


def test_means_that_do_not_vary_tell_nothing():
    _, tokens, documents = sentences()
    assert abs(length_r2(np.ones((400, 3)), tokens, documents)) < 1e-9


def test_what_cannot_be_known():
    means, tokens, documents = sentences(40)
    assert length_r2(means, np.full(40, 7), documents) is None
    few = slice(0, 8)  # of four documents
    assert length_r2(means[few], tokens[few], documents[few]) is None
    enough = slice(0, 10)
    given = means[enough], tokens[enough], documents[enough]
    assert isinstance(length_r2(*given), float)
