"""The parts of a KL to the prior: information and mismatch."""

import numpy as np

from keras_hvae.evaluation.estimators.mutual_information import mi_full


def kl_parts(
    mean: np.ndarray,
    log_var: np.ndarray,
    z: np.ndarray,
    prior_mean: np.ndarray | float = 0.0,
    prior_log_var: np.ndarray | float = 0.0,
) -> dict:
    """Splits the average KL of N posteriors to their priors.

    In the units of its prior, u = (z − μ_p) / σ_p, every prior is N(0, I), and
    each posterior a Gaussian with the same KL to it as before. With q(u), the
    average of the N posteriors (the aggregate posterior),

    average KL(q(u|x) ‖ N(0, I)) = I(x; u) + KL(q(u) ‖ N(0, I))

    The first term is *information*, the second *mismatch*: what q(u) differs
    from the prior by whatever x is, which tells nothing of x. Further, with
    the covariance C of q(u),

    mismatch = total correlation of N(0, C) + Σ_d KL(N(m_d, C_dd) ‖ N(0, 1)) +
    what q(u) differs by from the Gaussian of its moments.

    Where one prior is that of all rows, as p_1 of a chain, u is z in other
    units: information is I(x; z_1), mismatch KL(q(z_1) ‖ p_1). At sentence i
    of a chain a row is a document and a path up to z_{i−1}, its prior
    p(z_i | z_{i−1}): information is I(x, z_{<i}; u_i), and mismatch how far,
    over all rows, u_i is from the N(0, I) that the prior's own roll-out would
    give it. A latent that its prior foretells costs nothing and adds no
    information here, though I(x; z_i) may be large.

    Args:
        mean, log_var: posteriors, arrays of shape `(N, d)`.
        z: a draw from each, array of shape `(N, d)`.
        prior_mean, prior_log_var: priors, arrays that broadcast to the same
            shape. Defaults are the standard normal.

    Returns:
        A dict of floats, nats: `"kl"` = `"information"` + `"mismatch"`;
        `"information"`, the estimate `mi_full`, at most log N; `"mismatch"`;
        of it `"total_correlation"` and `"dimension_mismatch"`, the first two
        terms above, analytic; `"matched_kl"` = kl − dimension_mismatch, the
        KL if the prior had the mean and the variances of q(u).

    Raises:
        ValueError: for N < 2, or arrays that differ in shape.

    Example: a posterior that is the same for all, and is not the prior.

    >>> mean, log_var = np.ones((2, 1)), np.zeros((2, 1))
    >>> parts = kl_parts(mean, log_var, mean)
    >>> parts["kl"], parts["information"], parts["mismatch"]
    (0.5, 0.0, 0.5)
    """
    prior_mean, prior_log_var = (
        np.asarray(x, "float64") for x in (prior_mean, prior_log_var)
    )
    scale = np.exp(-0.5 * prior_log_var)
    mean, z = (scale * (x - prior_mean) for x in (mean, z))
    log_var = log_var - prior_log_var
    information = mi_full(mean, log_var, z)
    kl = _kl(mean, log_var).mean()
    center, covariance = aggregate_moments(mean, log_var)
    variances = np.log(np.diag(covariance))
    dimensions = float(_kl(center, variances))
    return {
        "kl": float(kl),
        "information": information,
        "mismatch": float(kl - information),
        "total_correlation": total_correlation(mean, log_var),
        "dimension_mismatch": dimensions,
        "matched_kl": float(kl - dimensions),
    }


def aggregate_moments(
    mean: np.ndarray, log_var: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the average of N posteriors.

    Args:
        mean, log_var: posteriors, arrays of shape `(N, d)`.

    Returns:
        Their mean, float64 of shape `(d,)`, and Cov(μ) + E σ², `(d, d)`, with
        N in the denominator: moments of the mixture itself.
    """
    mean = np.asarray(mean, "float64")
    center = mean.mean(axis=0)
    rest = mean - center
    noise = np.exp(np.asarray(log_var, "float64")).mean(axis=0)
    return center, rest.T @ rest / len(mean) + np.diag(noise)


def total_correlation(mean: np.ndarray, log_var: np.ndarray) -> float:
    """Total correlation of the Gaussian with the aggregate's moments.

    ½ Σ_d log C_dd − ½ log det C, with C of `aggregate_moments`: what the
    dimensions say in common, and a KL to a prior of independent dimensions
    pays for each time. With fewer rows than dimensions it is too large.

    Args:
        mean, log_var: posteriors, arrays of shape `(N, d)`.

    Returns:
        A float >= 0, nats.

    Example: two dimensions that say the same.

    >>> mean, log_var = np.array([[1, 1], [-1, -1]]), np.zeros((2, 2))
    >>> round(total_correlation(mean, log_var), 4)  # ½ log(2 · 2 / 3)
    0.1438
    """
    _, covariance = aggregate_moments(mean, log_var)
    scale = np.sqrt(np.diag(covariance))
    _, log_det = np.linalg.slogdet(covariance / np.outer(scale, scale))
    return max(0.0, float(-0.5 * log_det))


def _kl(mean, log_var):
    """KL(N(mean, var) ‖ N(0, I)) of each row, exactly 0 at equality."""
    terms = np.square(mean) + np.expm1(log_var) - log_var
    return 0.5 * terms.sum(axis=-1)
