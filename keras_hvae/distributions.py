"""Distributions of latents and of data, in nats.

The classes are named tuples of tensors: they go through `keras.tree`,
`ops.scan` and compiled functions as any tuple does.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import keras
from keras import ops

LOG_2PI = math.log(2.0 * math.pi)


class DiagGaussian(NamedTuple):
    """A Gaussian with a diagonal covariance, N(μ, diag(exp(log σ²))).

    Leading axes are a batch; the last one holds the dimensions.

    Args:
        mean: tensor of shape `(..., d)`.
        log_var: log σ², tensor of shape `(..., d)`.

    Example:

    >>> q = DiagGaussian(ops.ones((3, 2)), ops.zeros((3, 2)))
    >>> [float(x) for x in q.kl()]
    [1.0, 1.0, 1.0]
    >>> bool(ops.all(q.sample(ops.zeros((3, 2))) == q.mean))
    True
    """

    mean: keras.KerasTensor
    log_var: keras.KerasTensor

    def sample(self, noise: keras.KerasTensor) -> keras.KerasTensor:
        """μ + σ ε, through which gradients reach the mean and log-variance.

        Args:
            noise: ε, a draw from N(0, I), tensor of shape `(..., d)`; zeros
                give the mean.

        Returns:
            A tensor of shape `(..., d)`.
        """
        # Not `*`: PyTorch multiplies no array of NumPy.
        return self.mean + ops.multiply(ops.exp(0.5 * self.log_var), noise)

    def log_prob(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Log-density, summed over the dimensions.

        Args:
            x: tensor that broadcasts to `(..., d)`.

        Returns:
            Nats: a tensor of shape `(...)`.
        """
        square = ops.square(x - self.mean) * ops.exp(-self.log_var)
        return -0.5 * ops.sum(LOG_2PI + self.log_var + square, axis=-1)

    def kl(
        self, other: "DiagGaussian | None" = None, per_dimension: bool = False
    ) -> keras.KerasTensor:
        """KL divergence KL(self || other).

        ½ Σ_d [(μ_q − μ_p)² / σ_p² + expm1(δ) − δ], δ = log σ_q² − log σ_p².
        `expm1` makes it exactly 0 at q = p, where the textbook form cancels.

        Args:
            other: a `DiagGaussian` whose tensors broadcast to `(..., d)`.
                Default: the standard normal.
            per_dimension: whether to leave the dimensions apart.

        Returns:
            Nats: a tensor of shape `(...)`, or `(..., d)` per dimension.
        """
        mean, log_var = (0.0, 0.0) if other is None else other
        log_var = ops.cast(log_var, self.log_var.dtype)
        delta = self.log_var - log_var
        kl = 0.5 * (
            ops.square(self.mean - mean) * ops.exp(-log_var)
            + ops.expm1(delta)
            - delta
        )
        return kl if per_dimension else ops.sum(kl, axis=-1)


class RankOneGaussian(NamedTuple):
    """A Gaussian whose precision is diagonal but for one direction.

    N(μ, C), C⁻¹ = D + u uᵀ, D = diag(exp(−log σ²)): u = 0 makes it
    `DiagGaussian(mean, log_var)`. With s = uᵀ D⁻¹ u and η = 1 / (1 + s),

    C = D⁻¹ − η D⁻¹ u uᵀ D⁻¹,   log |C| = −log |D| − log (1 + s),
    C = R Rᵀ with R = (I − η / (1 + √η) D⁻¹ u uᵀ) D^(−½),

    so that everything takes O(d) numbers and steps.

    Args:
        mean: μ, tensor of shape `(..., d)`.
        log_var: log σ², tensor of shape `(..., d)`.
        direction: u, tensor of shape `(..., d)`.

    Example:

    >>> q = RankOneGaussian(ops.zeros(2), ops.zeros(2), ops.array([1.0, 0.0]))
    >>> round(float(q.kl()), 4)  # of a variance of ½: ½ (½ − 1 + log 2)
    0.0966
    >>> [round(float(x), 4) for x in q.sample(ops.ones(2))]
    [0.7071, 1.0]

    Reference:
        - [Rezende et al., 2014](https://arxiv.org/abs/1401.4082), section 4.3
          and appendix B
    """

    mean: keras.KerasTensor
    log_var: keras.KerasTensor
    direction: keras.KerasTensor

    def sample(self, noise: keras.KerasTensor) -> keras.KerasTensor:
        """μ + R ε, through which gradients reach all parameters.

        Args:
            noise: ε, a draw from N(0, I), tensor of shape `(..., d)`.

        Returns:
            A tensor of shape `(..., d)`.
        """
        white = ops.multiply(ops.exp(0.5 * self.log_var), noise)
        eta = 1.0 / (1.0 + self._s(keepdims=True))
        # (1 − √η) / s, without the difference.
        along = eta / (1.0 + ops.sqrt(eta))
        along = along * ops.sum(self.direction * white, axis=-1, keepdims=True)
        scaled = ops.exp(self.log_var) * self.direction
        return self.mean + white - scaled * along

    def log_prob(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Log-density.

        Args:
            x: tensor that broadcasts to `(..., d)`.

        Returns:
            Nats: a tensor of shape `(...)`.
        """
        diagonal = DiagGaussian(self.mean, self.log_var).log_prob(x)
        along = ops.sum(self.direction * (x - self.mean), axis=-1)
        return diagonal + 0.5 * (ops.log1p(self._s()) - ops.square(along))

    def kl(self) -> keras.KerasTensor:
        """KL divergence from the standard normal, KL(self || N(0, I)).

        That of `DiagGaussian`, and ½ (log (1 + s) − η uᵀ D⁻² u).

        Returns:
            Nats: a tensor of shape `(...)`.
        """
        s = self._s()
        scaled = ops.exp(self.log_var) * self.direction
        less = ops.sum(ops.square(scaled), axis=-1) / (1.0 + s)  # of the trace
        diagonal = DiagGaussian(self.mean, self.log_var).kl()
        return diagonal + 0.5 * (ops.log1p(s) - less)

    def _s(self, keepdims=False):
        square = ops.exp(self.log_var) * ops.square(self.direction)
        return ops.sum(square, axis=-1, keepdims=keepdims)


class SideBySide(NamedTuple):
    """Vectors made of independent parts.

    Args:
        parts: tuple of distributions with a `mean`, as `DiagGaussian` and
            `RankOneGaussian`.

    Example:

    >>> one = DiagGaussian(ops.ones(2), ops.zeros(2))
    >>> two = RankOneGaussian(ops.zeros(3), ops.zeros(3), ops.ones(3))
    >>> q = SideBySide((one, two))
    >>> tuple(q.mean.shape)
    (5,)
    >>> float(q.kl()) == float(one.kl()) + float(two.kl())
    True
    """

    parts: tuple

    @property
    def mean(self) -> keras.KerasTensor:
        """Tensor of shape `(..., d)`, d the sum of the parts' dimensions."""
        return ops.concatenate([part.mean for part in self.parts], axis=-1)

    def sample(self, noise: keras.KerasTensor) -> keras.KerasTensor:
        """A draw, of noise of the same shape `(..., d)`."""
        draws = [part.sample(x) for part, x in self._each(noise)]
        return ops.concatenate(draws, axis=-1)

    def log_prob(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Log-density, nats, of `(..., d)` a tensor `(...)`."""
        return sum(part.log_prob(x) for part, x in self._each(x))

    def kl(self) -> keras.KerasTensor:
        """KL divergence from the standard normal, nats, `(...)`."""
        return sum(part.kl() for part in self.parts)

    def _each(self, x):
        widths = [part.mean.shape[-1] for part in self.parts]
        return zip(self.parts, split_last(x, widths))


class Bernoulli(NamedTuple):
    """Independent coins along the last axis, computed in float32.

    Args:
        logits: log p − log (1 − p), finite, tensor of shape `(..., d)` of
            any float type.

    Example:

    >>> coins = Bernoulli(ops.zeros((2, 3)))
    >>> round(float(coins.log_prob(ops.ones((2, 3)))[0]), 4)  # 3 log ½
    -2.0794
    """

    logits: keras.KerasTensor

    @property
    def probs(self) -> keras.KerasTensor:
        """Probabilities of a 1, a float32 tensor of shape `(..., d)`."""
        return ops.sigmoid(ops.cast(self.logits, "float32"))

    def sample(self, uniforms: keras.KerasTensor) -> keras.KerasTensor:
        """1 where a uniform number lies below the probability.

        Args:
            uniforms: numbers in [0, 1), tensor of shape `(..., d)`.

        Returns:
            Zeros and ones, a float32 tensor of shape `(..., d)`.
        """
        return ops.cast(ops.less(uniforms, self.probs), "float32")

    def log_prob(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Log-probability, summed over the last axis.

        Args:
            x: zeros and ones, tensor that broadcasts to `(..., d)`. Numbers
                between give the cross-entropy.

        Returns:
            Nats: a float32 tensor of shape `(...)`.
        """
        logits, x = (ops.cast(value, "float32") for value in (self.logits, x))
        # x · logits − softplus(logits) would round small terms to 0.
        nll = x * ops.softplus(-logits) + (1.0 - x) * ops.softplus(logits)
        return -ops.sum(nll, axis=-1)


class MixtureOfGaussians(NamedTuple):
    """A mixture of K Gaussians with diagonal covariances.

    Args:
        logits: log of the weights, up to a constant, shape `(..., K)`.
        mean: tensor of shape `(..., K, d)`.
        log_var: log σ², tensor of shape `(..., K, d)`.

    Example:

    >>> two = MixtureOfGaussians(ops.zeros(2), ops.array([[-9.0], [9.0]]),
    ...                          ops.zeros((2, 1)))
    >>> round(float(two.log_prob(ops.array([9.0]))), 4)  # log ½ − ½ log 2π
    -1.6121
    """

    logits: keras.KerasTensor
    mean: keras.KerasTensor
    log_var: keras.KerasTensor

    def log_prob(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Log-density, summed over the dimensions.

        Args:
            x: tensor of shape `(..., d)`.

        Returns:
            Nats: a tensor of shape `(...)`.
        """
        parts = DiagGaussian(self.mean, self.log_var).log_prob(x[..., None, :])
        return ops.logsumexp(ops.log_softmax(self.logits) + parts, axis=-1)

    def sample(self, uniforms: keras.KerasTensor) -> keras.KerasTensor:
        """Draws a component, then a vector from it.

        Args:
            uniforms: numbers in [0, 1), tensor of shape `(..., 1 + d)`.

        Returns:
            A tensor of shape `(..., d)`.
        """
        one = one_of(self.logits, uniforms[..., :1])[..., None]
        mean, log_var = (
            ops.sum(one * x, axis=-2) for x in (self.mean, self.log_var)
        )
        noise = standard_normal(uniforms[..., 1:])
        return DiagGaussian(mean, log_var).sample(noise)


def split_last(
    x: keras.KerasTensor, widths: Sequence[int]
) -> list[keras.KerasTensor]:
    """Parts of so many numbers of the last axis, one after the other."""
    ends = list(itertools.accumulate(widths, initial=0))
    return [x[..., a:b] for a, b in itertools.pairwise(ends)]


def standard_normal(uniforms: keras.KerasTensor) -> keras.KerasTensor:
    """Φ⁻¹ of numbers in [0, 1): draws from N(0, 1)."""
    # Clipped, so that it is finite.
    inside = ops.clip(uniforms, 2.0**-24, 1.0 - 2.0**-24)
    return math.sqrt(2.0) * ops.erfinv(2.0 * inside - 1.0)


def one_of(
    logits: keras.KerasTensor, uniforms: keras.KerasTensor
) -> keras.KerasTensor:
    """Draws one of K by the inverse of their cumulative probabilities.

    Args:
        logits: tensor of shape `(..., K)`.
        uniforms: numbers in [0, 1), tensor of shape `(..., 1)`.

    Returns:
        Tensor of shape `(..., K)`: 1 for that one, else 0.
    """
    # Not `softmax`, which warns of a K of 1.
    probs = ops.exp(ops.log_softmax(logits))
    below = ops.cumsum(probs, axis=-1)[..., :-1]
    index = ops.sum(
        ops.cast(ops.greater_equal(uniforms, below), "int32"), axis=-1
    )
    return ops.one_hot(index, logits.shape[-1], dtype=logits.dtype)


def _solve_lower(chol, x):
    """L⁻¹ x for vectors x of shape (..., d)."""
    return ops.solve_triangular(chol, x[..., None], lower=True)[..., 0]


def _half_log_det(chol):
    return ops.sum(ops.log(ops.diagonal(chol, axis1=-2, axis2=-1)), axis=-1)


def gaussian_kl(
    mean_q: keras.KerasTensor,
    cov_q: keras.KerasTensor,
    mean_p: keras.KerasTensor,
    cov_p: keras.KerasTensor,
) -> keras.KerasTensor:
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


def gaussian_log_prob(
    x: keras.KerasTensor, mean: keras.KerasTensor, cov: keras.KerasTensor
) -> keras.KerasTensor:
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
