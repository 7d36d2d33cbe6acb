import numpy as np
import pytest

from keras_hvae.evaluation import (
    active_units,
    mean_variances,
    shuffle_documents,
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


def test_shuffle_moves_each_latent_to_another_document():
    z = np.arange(3 * 2, dtype="float32").reshape(3, 2, 1)
    real = np.array([[True, True], [True, False], [True, False]])
    shuffled, replaced = shuffle_documents(z, real)
    assert shuffled[:, 0, 0].tolist() == [4, 0, 2]
    assert replaced.tolist() == [[True, False]] * 3
    np.testing.assert_array_equal(shuffled[:, 1], z[:, 1])
