import numpy as np
import pytest

from keras_hvae.evaluation import (
    active_units,
    effective_rank,
    length_partners,
    mean_variances,
    shuffle_documents,
    spectrum,
)

pytestmark = pytest.mark.eager


def test_active_units_are_those_that_vary_enough():
    # Variances with N - 1: 0.0098, 0.0101, 0, 2.
    half = np.sqrt(np.array([0.0098, 0.0101, 0.0, 2.0]) / 2)
    means = np.stack([half, -half])
    np.testing.assert_allclose(
        mean_variances(means), [0.0098, 0.0101, 0, 2], atol=1e-12
    )
    assert active_units(means) == 2
    assert active_units(means[:1]) == 0
    # At the threshold itself a unit counts.
    assert active_units(np.array([[0.0], [0.02**0.5 + 1e-12]])) == 1


def test_spectrum_is_that_of_the_covariance():
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    rows = rng.standard_normal((50, 4)) * [3.0, 1.0, 0.5, 0.0] @ turn + 7
    values = spectrum(rows.astype("float32"))
    expected = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-9)
    assert (values >= 0).all()
    assert values.sum() == pytest.approx(mean_variances(rows).sum(), rel=1e-5)
    two = mean_variances(rows[:2]).sum()
    np.testing.assert_allclose(spectrum(rows[:2]), [two, 0, 0, 0], atol=1e-9)
    assert spectrum(rows[:1]).tolist() == [0.0] * 4


def test_effective_rank():
    # Orthogonal directions of variance 4, 1, 1, 0: 36 / 18.
    signs = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    means = np.column_stack([signs * [2.0, 1.0, 1.0], np.ones(4)])
    assert effective_rank(means) == pytest.approx(2.0)
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))
    assert effective_rank(1e-9 * means @ turn) == pytest.approx(2.0)
    assert effective_rank(signs) == pytest.approx(3.0)
    assert effective_rank(np.ones((4, 3))) == 0.0
    # Units that all say the same are one, though each is active.
    same = np.outer([1.0, -1.0, 3.0], np.ones(32))
    assert active_units(same) == 32
    assert effective_rank(same) == pytest.approx(1.0)


def test_shuffle_moves_each_latent_to_another_document():
    z = np.arange(3 * 2, dtype="float32").reshape(3, 2, 1)
    real = np.array([[True, True], [True, False], [True, False]])
    shuffled, replaced = shuffle_documents(z, real)
    assert shuffled[:, 0, 0].tolist() == [4, 0, 2]
    assert replaced.tolist() == [[True, False]] * 3
    np.testing.assert_array_equal(shuffled[:, 1], z[:, 1])


def test_two_documents_swap_their_latents():
    z = np.arange(2.0).reshape(2, 1, 1)
    shuffled, replaced = shuffle_documents(z, np.ones((2, 1), bool))
    assert shuffled.ravel().tolist() == [1, 0] and replaced.all()


def test_shuffle_goes_over_half_of_the_documents():
    z = np.arange(8.0).reshape(8, 1, 1)
    shuffled, _ = shuffle_documents(z, np.ones((8, 1), bool))
    assert shuffled.ravel().tolist() == [4, 5, 6, 7, 0, 1, 2, 3]


# --- Partners of the same length ---


def corpus(documents=300, texts=10**6, seed=0):
    """Tokens, positions, documents and texts of sentences, by the columns."""
    rng = np.random.default_rng(seed)
    rows = [
        (rng.integers(1, 12), place, document, rng.integers(texts))
        for document in range(documents)
        for place in range(rng.integers(1, 5))
    ]
    return np.array(rows).T


@pytest.mark.parametrize("texts", [3, 40, 10**6])
def test_partners_are_as_near_as_can_be(texts):
    rows = corpus(60, texts)
    tokens, positions, documents, words = rows
    partners = length_partners(*rows)
    moved = 0
    for row, partner in enumerate(partners):
        allowed = np.flatnonzero(
            (documents != documents[row]) & (words != words[row])
        )
        assert partner in allowed
        length = np.abs(tokens - tokens[row])
        place = np.abs(positions - positions[row])
        nearest = min(zip(length[allowed], place[allowed]))
        assert (length[partner], place[partner]) == nearest
        moved += nearest != (0, 0)
    assert 0 < moved < len(partners) / 2


def test_latents_go_round():
    # Not one sentence gives to all of its length.
    partners = length_partners(*corpus(300))
    counts = np.bincount(partners, minlength=len(partners))
    assert (counts == 1).mean() > 0.8


def test_equal_words_are_no_partner():
    # Of the three of four tokens two have the same words.
    given = [4, 4, 4, 9], [0, 0, 0, 0], [0, 1, 2, 3], [5, 5, 6, 7]
    assert length_partners(*given)[[0, 1]].tolist() == [2, 2]
    # Nearest in length comes before the same position.
    given = [4, 5, 6], [0, 3, 0], [0, 1, 2], [5, 6, 7]
    assert length_partners(*given).tolist() == [1, 0, 1]


def test_no_partner():
    assert length_partners([4], [0], [0], [5]).tolist() == [-1]
    # One document; and documents of the same words.
    assert length_partners([4, 4], [0, 1], [0, 0], [5, 6]).tolist() == [-1, -1]
    assert length_partners([4, 4], [0, 0], [0, 1], [5, 5]).tolist() == [-1, -1]
