import numpy as np
from keras import ops

from keras_hvae.layers import GaussianHead

to_numpy = ops.convert_to_numpy


def test_two_affine_maps_of_the_hidden_vector():
    hidden = np.random.default_rng(0).standard_normal((3, 4, 5), "float32")
    head = GaussianHead(2)
    mean, log_var = head(hidden)
    for output, dense in ((mean, head.mean), (log_var, head.log_var)):
        kernel, bias = (to_numpy(w) for w in dense.weights)
        np.testing.assert_allclose(
            to_numpy(output), hidden @ kernel + bias, rtol=1e-5, atol=1e-6
        )
    assert (to_numpy(mean) != to_numpy(log_var)).all()


def test_log_variance_is_clipped_and_the_mean_is_not():
    head = GaussianHead(1)
    head.build((None, 1))
    for dense in (head.mean, head.log_var):
        dense.kernel.assign([[1.0]])
        dense.bias.assign([0.0])
    hidden = np.array([[-100.0], [-1.0], [100.0]], "float32")
    mean, log_var = head(hidden)
    np.testing.assert_array_equal(to_numpy(mean), hidden)
    np.testing.assert_array_equal(to_numpy(log_var), [[-15], [-1], [15]])


def test_a_bounded_log_variance_bends_smoothly():
    head = GaussianHead(1, lowest_log_var=-7.0)
    head.build((None, 1))
    head.log_var.kernel.assign([[1.0]])
    head.log_var.bias.assign([0.0])
    hidden = np.array([[-100.0], [-7.0], [3.0]], "float32")
    _, log_var = head(hidden)
    # softplus(0) = ln 2.
    np.testing.assert_allclose(
        to_numpy(log_var)[:, 0], [-7, -7 + np.log(2), 3], atol=1e-3
    )
    again = GaussianHead.from_config(head.get_config())
    assert again.lowest_log_var == -7.0


def test_a_fresh_head_is_narrow():
    hidden = np.random.default_rng(0).uniform(-1, 1, (256, 64))
    mean, log_var = (to_numpy(x) for x in GaussianHead(32)(hidden))
    assert abs(log_var + 2).max() < 0.5
    assert abs(mean.mean()) < 0.02
    assert 0.05 < mean.std() < np.exp(log_var / 2).mean()
