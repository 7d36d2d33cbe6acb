"""Gradients of expectations of polynomials, which are known."""

import numpy as np
import pytest
from keras import ops

from keras_hvae import generative

MEAN = np.array([0.5, -1.0, 0.3])
ROOT = np.array([[1.0, 0, 0], [0.5, 0.8, 0], [-0.3, 0.2, 0.6]])
COV = ROOT @ ROOT.T


def estimate(gradient, hessian, noise):
    found = generative.gaussian_gradients(
        *(ops.convert_to_tensor(x, "float32") for x in (MEAN, COV, noise)),
        gradient,
        hessian,
    )
    return [ops.convert_to_numpy(x) for x in found]


@pytest.mark.parametrize("with_hessian", [True, False])
def test_of_a_quadratic_form(with_hessian):
    """f = zᵀ A z: E f = μᵀ A μ + tr A C."""
    form = np.array([[1.0, 0.4, 0], [0.4, -2.0, 1.0], [0, 1.0, 0.5]])
    a = ops.convert_to_tensor(form, "float32")

    def hessian(z):
        return ops.broadcast_to(2 * a, (z.shape[0], 3, 3))

    # Mean 0 and covariance I exactly: no draws are needed.
    noise = np.sqrt(3) * np.concatenate([np.eye(3), -np.eye(3)])
    by_mean, by_cov = estimate(
        lambda z: 2 * ops.matmul(z, a), hessian if with_hessian else None, noise
    )
    np.testing.assert_allclose(by_mean, 2 * form @ MEAN, rtol=1e-5)
    np.testing.assert_allclose(by_cov, form, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("with_hessian", [True, False])
def test_of_a_fourth_power(with_hessian):
    """f = (aᵀ z)⁴: E f = m⁴ + 6 m² s² + 3 s⁴, m = aᵀ μ, s² = aᵀ C a."""
    a = np.array([0.6, -0.3, 0.8])
    m, s2 = a @ MEAN, a @ COV @ a
    direction = ops.convert_to_tensor(a, "float32")

    def along(z):
        return ops.sum(z * direction, axis=-1)

    def gradient(z):
        return 4 * along(z)[:, None] ** 3 * direction

    def hessian(z):
        square = 12 * along(z)[:, None, None] ** 2
        return square * direction[:, None] * direction

    noise = np.random.default_rng(0).standard_normal((400_000, 3))
    by_mean, by_cov = estimate(
        gradient, hessian if with_hessian else None, noise
    )
    np.testing.assert_allclose(
        by_mean, (4 * m**3 + 12 * m * s2) * a, rtol=0.03, atol=0.02
    )
    np.testing.assert_allclose(
        by_cov,
        (6 * m**2 + 6 * s2) * np.outer(a, a),
        rtol=0.02,
        atol=0.0 if with_hessian else 0.05,
    )
