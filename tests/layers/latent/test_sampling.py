import numpy as np
import pytest
import scipy.stats
from keras import ops

from keras_hvae.layers import Sampling

to_numpy = ops.convert_to_numpy


def test_draws_follow_the_gaussian():
    mean, log_var = np.array([1.0, -2.0]), np.array([-1.0, 2.0])
    shape = (20_000, 2)
    z = to_numpy(
        Sampling(seed=0)(
            np.broadcast_to(mean, shape).astype("float32"),
            np.broadcast_to(log_var, shape).astype("float32"),
        )
    )
    for i in range(2):
        gaussian = scipy.stats.norm(mean[i], np.exp(log_var[i] / 2))
        assert scipy.stats.kstest(z[:, i], gaussian.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(z.T)[0, 1]) < 0.03


def test_noise_given_is_used():
    rng = np.random.default_rng(0)
    mean, log_var, noise = rng.standard_normal((3, 4, 2)).astype("float32")
    z = to_numpy(Sampling()(mean, log_var, noise=noise))
    np.testing.assert_allclose(z, mean + np.exp(log_var / 2) * noise, rtol=1e-5)
    zeros = np.zeros_like(noise)
    np.testing.assert_array_equal(
        to_numpy(Sampling()(mean, log_var, noise=zeros)), mean
    )


def test_a_seed_repeats_its_draws_but_not_one_draw():
    zeros = np.zeros((5, 3), "float32")
    layer, again, other = Sampling(seed=1), Sampling(seed=1), Sampling(seed=2)
    first = to_numpy(layer(zeros, zeros))
    np.testing.assert_array_equal(first, to_numpy(again(zeros, zeros)))
    assert (first != to_numpy(layer(zeros, zeros))).all()
    assert (first != to_numpy(other(zeros, zeros))).all()


@pytest.mark.parametrize("training", [True, False])
def test_samples_in_training_and_in_inference(training):
    zeros = np.zeros((5, 3), "float32")
    assert (to_numpy(Sampling(seed=1)(zeros, zeros, training=training))).all()
