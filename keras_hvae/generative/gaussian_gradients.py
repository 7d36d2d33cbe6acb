"""Gradients of expectations under a Gaussian."""

from collections.abc import Callable

import keras
from keras import ops


def gaussian_gradients(
    mean: keras.KerasTensor,
    cov: keras.KerasTensor,
    noise: keras.KerasTensor,
    gradient: Callable,
    hessian: Callable | None = None,
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Estimates ∇_μ E f(z) and ∇_C E f(z), z ~ N(μ, C), from draws of z.

    ∇_μ E f = E ∇f,   ∇_C E f = ½ E ∇²f. Without the Hessian, by E ∇²f =
    E C⁻¹ (z − μ) ∇fᵀ: it needs gradients alone, but more draws.

    Args:
        mean: μ, tensor of shape `(d,)`.
        cov: C, symmetric positive definite, shape `(d, d)`.
        noise: draws from N(0, I), shape `(n, d)`.
        gradient: gives ∇f of z `(n, d)`, shape `(n, d)`.
        hessian: optional, gives ∇²f of z, shape `(n, d, d)`.

    Returns:
        Tensors of shape `(d,)` and, symmetric, `(d, d)`.

    Example: f(z) = zᵀ z, so that E f = μᵀ μ + tr C.

    >>> mean, cov = ops.array([1.0, 2.0]), ops.eye(2)
    >>> noise = ops.array([[0.5, 0.0], [-0.5, 0.0]])
    >>> by_mean, by_cov = gaussian_gradients(
    ...     mean, cov, noise, lambda z: 2 * z,
    ...     lambda z: 2 * ops.broadcast_to(ops.eye(2), (len(z), 2, 2)))
    >>> ops.convert_to_numpy(by_mean).tolist()  # 2 μ
    [2.0, 4.0]
    >>> ops.convert_to_numpy(by_cov).tolist()  # I
    [[1.0, 0.0], [0.0, 1.0]]

    Reference:
        - [Rezende et al., 2014](https://arxiv.org/abs/1401.4082), section 3
        - [Price, 1958](https://doi.org/10.1109/TIT.1958.1057444)
    """
    chol = ops.cholesky(cov)
    z = mean + ops.matmul(noise, ops.transpose(chol))
    slopes = gradient(z)
    if hessian is not None:
        curvature = ops.mean(hessian(z), axis=0)
    else:
        # C⁻¹ (z − μ) = L⁻ᵀ ε.
        product = ops.matmul(ops.transpose(noise), slopes) / noise.shape[0]
        curvature = ops.solve_triangular(
            ops.transpose(chol), product, lower=False
        )
        curvature = 0.5 * (curvature + ops.transpose(curvature))
    return ops.mean(slopes, axis=0), 0.5 * curvature
