"""Densities and divergences of Gaussians, as pure functions in nats.

Every diagonal Gaussian is given by its mean and its *log-variance*.
"""

import math

from keras import ops

LOG_2PI = math.log(2.0 * math.pi)


def diag_gaussian_kl(
    mean_q, log_var_q, mean_p=0.0, log_var_p=0.0, reduce_dims=True
):
    """KL divergence KL(q || p) of two diagonal Gaussians.

    ½ Σ_d [(μ_q − μ_p)² / σ_p² + expm1(δ) − δ] with δ = log σ_q² − log σ_p².
    `expm1` makes it exactly 0 at q = p, where the textbook form cancels.

    Args:
        mean_q, log_var_q: tensors of shape `(..., d)`.
        mean_p, log_var_p: tensors that broadcast to `(..., d)`. Defaults are
            the standard normal.
        reduce_dims: whether to sum over the `d` dimensions.

    Returns:
        Nats: a tensor of shape `(...)`, or `(..., d)` if `reduce_dims=False`.

    Example:

    >>> float(diag_gaussian_kl(ops.ones((1,)), ops.zeros((1,))))
    0.5
    """
    log_var_p = ops.cast(log_var_p, log_var_q.dtype)
    delta = log_var_q - log_var_p
    kl = 0.5 * (
        ops.square(mean_q - mean_p) * ops.exp(-log_var_p)
        + ops.expm1(delta)
        - delta
    )
    return ops.sum(kl, axis=-1) if reduce_dims else kl


def diag_gaussian_log_prob(x, mean, log_var):
    """Log-density of a diagonal Gaussian, summed over the last axis.

    Args:
        x, mean, log_var: tensors that broadcast to `(..., d)`.

    Returns:
        Nats: a tensor of shape `(...)`.
    """
    return -0.5 * ops.sum(
        LOG_2PI + log_var + ops.square(x - mean) * ops.exp(-log_var), axis=-1
    )


def _solve_lower(chol, x):
    """L⁻¹ x for vectors x of shape (..., d)."""
    return ops.solve_triangular(chol, x[..., None], lower=True)[..., 0]


def _half_log_det(chol):
    return ops.sum(ops.log(ops.diagonal(chol, axis1=-2, axis2=-1)), axis=-1)


def gaussian_kl(mean_q, cov_q, mean_p, cov_p):
    """KL divergence KL(q || p) of two Gaussians with full covariance.

    ½ [log |Σ_p| / |Σ_q| − d + tr(Σ_p⁻¹ Σ_q) + (μ_p − μ_q)ᵀ Σ_p⁻¹ (μ_p − μ_q)],
    computed from the Cholesky factors of both covariances.

    Args:
        mean_q, mean_p: tensors of shape `(..., d)`.
        cov_q, cov_p: symmetric positive definite, shape `(..., d, d)`.

    Returns:
        Nats: a tensor of shape `(...)`.
    """
    chol_q, chol_p = ops.cholesky(cov_q), ops.cholesky(cov_p)
    ratio = ops.solve_triangular(chol_p, chol_q, lower=True)  # (..., d, d)
    shift = _solve_lower(chol_p, mean_q - mean_p)  # (..., d)
    return (
        _half_log_det(chol_p)
        - _half_log_det(chol_q)
        + 0.5
        * (
            ops.sum(ops.square(ratio), axis=(-2, -1))
            + ops.sum(ops.square(shift), axis=-1)
            - mean_q.shape[-1]
        )
    )


def gaussian_log_prob(x, mean, cov):
    """Log-density of a Gaussian with full covariance.

    Args:
        x, mean: tensors of shape `(..., d)`.
        cov: symmetric positive definite, shape `(..., d, d)`.

    Returns:
        Nats: a tensor of shape `(...)`.
    """
    chol = ops.cholesky(cov)
    white = _solve_lower(chol, x - mean)
    return (
        -0.5 * (mean.shape[-1] * LOG_2PI + ops.sum(ops.square(white), axis=-1))
    ) - _half_log_det(chol)
