"""Mixtures of Gaussians."""

import math
import warnings

import keras
import numpy as np
from keras import ops

from keras_hvae.arguments import check_choice
from keras_hvae.distributions import (
    LOG_2PI,
    DiagGaussian,
    gaussian_log_prob,
    standard_normal,
)
from keras_hvae.generative.conditionals import LOG_VAR_RANGE
from keras_hvae.generative.mixture import Mixture, check_em

COVARIANCES = ("diagonal", "full")


@keras.saving.register_keras_serializable("keras_hvae")
class GaussianMixture(Mixture):
    """Real numbers from one of K Gaussians.

    p(x) = Σ_k π_k N(x; μ_k, Σ_k). Σ_k is diagonal, or full: L_k L_kᵀ, L_k
    lower triangular. The logarithm of the square of the diagonal of L_k is
    clipped to [−12, 12]. `fit` climbs log p(x) by gradients, `fit_em` by
    expectation–maximisation; most often the latter is faster. `encode` gives
    the responsibilities p(k | x), `sample` takes any part of x as observed.
    With full covariances `sample` holds `batch_size` · K · D² numbers. Give
    numbers of a mean near 0 and a variance near 1.

    Args:
        dim: D.
        components: K.
        covariance: `"diagonal"` or `"full"`.
        seed: int for the initial weights, optional.

    Call arguments:
        x: real numbers, `(B, D)`.

    Returns:
        A dict: `"nll"`, −log p(x), nats, float32 `(B,)`.

    Raises:
        ValueError: for an argument out of range, or data of another kind.

    Example:

    >>> model = generative.GaussianMixture(2, components=1)
    >>> _ = model.means.assign(np.zeros((1, 2)))
    >>> round(float(model.log_prob(np.zeros((1, 2)))[0]), 4)  # −log 2π
    -1.8379
    >>> observed = np.array([True, False])
    >>> x = model.sample(1, 0, given=np.array([3, 0]), observed=observed)
    >>> float(x[0, 0])
    3.0
    """

    binary = False

    def __init__(
        self,
        dim: int,
        components: int = 10,
        covariance: str = "diagonal",
        seed: int | None = None,
        **kwargs,
    ) -> None:
        check_choice(COVARIANCES, covariance=covariance)
        super().__init__(dim, components, seed, **kwargs)
        self.covariance = covariance
        self.build((None, dim))

    def build(self, input_shape: tuple) -> None:
        super().build(input_shape)
        shape = (self.components, self.dim)
        self.means = self.add_weight(
            shape=shape,
            initializer=keras.initializers.RandomNormal(0.0, 1.0, self.seed),
            autocast=False,
            name="means",
        )
        # Of a variance, or of the square of a number of L_k's diagonal.
        self.log_var = self.add_weight(
            shape=shape, initializer="zeros", autocast=False, name="log_var"
        )
        if self.covariance == "full":
            self.lower = self.add_weight(
                shape=(*shape, self.dim),
                initializer="zeros",
                autocast=False,
                name="lower",
            )

    def clipped_log_var(self) -> keras.KerasTensor:
        """log σ_k², or log of the squared diagonal of L_k, `(K, D)`."""
        return ops.clip(ops.convert_to_tensor(self.log_var), *LOG_VAR_RANGE)

    def factors(self) -> keras.KerasTensor:
        """L_k, lower triangular, `(K, D, D)`."""
        diagonal = ops.exp(0.5 * self.clipped_log_var())[..., None]
        lower = ops.tril(ops.convert_to_tensor(self.lower), -1)
        return lower + diagonal * ops.eye(self.dim)

    def log_likelihoods(
        self, x: keras.KerasTensor, observed: keras.KerasTensor | None = None
    ) -> keras.KerasTensor:
        means = ops.convert_to_tensor(self.means)
        if self.covariance == "diagonal":
            each = DiagGaussian(
                means[..., None], self.clipped_log_var()[..., None]
            ).log_prob(x[:, None, :, None])  # (B, K, D)
            if observed is not None:
                each = ops.where(observed[:, None], each, 0.0)
            return ops.sum(each, axis=-1)
        shift = x[:, None] - means  # (B, K, D)
        if observed is None:
            white = ops.solve_triangular(
                self.factors(), ops.transpose(shift, (1, 2, 0)), lower=True
            )  # (K, D, B)
            square = ops.transpose(ops.sum(ops.square(white), axis=1))
            log_det = ops.sum(self.clipped_log_var(), axis=-1)
            return -0.5 * (self.dim * LOG_2PI + log_det + square)
        # What is not observed is N(0, 1) in place, and taken away again.
        factors = self.factors()
        cov = ops.matmul(factors, ops.swapaxes(factors, -1, -2))
        shift = ops.where(observed[:, None], shift, 0.0)
        others = self.dim - ops.sum(ops.cast(observed, "float32"), axis=-1)
        return (
            gaussian_log_prob(
                shift, ops.zeros_like(shift), among(cov, observed[:, None])
            )
            + 0.5 * LOG_2PI * others[:, None]
        )

    def draw_from(
        self,
        one: keras.KerasTensor,
        uniforms: keras.KerasTensor,
        given: keras.KerasTensor,
        observed: keras.KerasTensor,
    ) -> keras.KerasTensor:
        mean = ops.matmul(one, self.means)
        noise = standard_normal(uniforms)
        if self.covariance == "diagonal":
            log_var = ops.matmul(one, self.clipped_log_var())
            return DiagGaussian(mean, log_var).sample(noise)
        factor = ops.einsum("bk,kij->bij", one, self.factors())
        cov = ops.matmul(factor, ops.swapaxes(factor, -1, -2))
        x = mean + ops.matmul(factor, noise[..., None])[..., 0]
        # A draw of all numbers, moved by the regression on the difference
        # at those observed, is a draw given them.
        shift = ops.where(observed, given - x, 0.0)
        weights = ops.solve(among(cov, observed), shift[..., None])
        return x + ops.matmul(cov, weights)[..., 0]

    def centers(self) -> keras.KerasTensor:
        return ops.convert_to_tensor(self.means)

    def fit_em(
        self,
        x: np.ndarray,
        max_steps: int = 100,
        tolerance: float = 1e-4,
        seed: int | None = None,
    ) -> list[float]:
        """Fits the model by expectation–maximisation, by scikit-learn.

        It starts anew, from the clusters of k-means. Each variance gets e⁻¹²
        more, the least that the model can have, so that no component shrinks
        to a point.

        Args:
            x: array `(N, D)`, of at least K rows.
            max_steps: how many steps at most.
            tolerance: the last step is the first that raises the mean of log
                p(x) by less than these nats.
            seed: int that gives the clusters.

        Returns:
            The mean of log p(x), nats, at the start and after each step. It
            never falls, but for the e⁻¹²; the last is that of the fitted model.

        Raises:
            ImportError: if there is no scikit-learn.
            ValueError: for an argument out of range.
        """
        try:
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.mixture import GaussianMixture as Estimator
        except ModuleNotFoundError as error:
            raise ImportError(
                "`fit_em` of a GaussianMixture needs the library "
                'scikit-learn: `pip install "keras-hvae[generative]"`'
            ) from error
        x = self.check(x).astype("float64")
        check_em(max_steps, tolerance)
        if len(x) < self.components:
            raise ValueError(
                f"`x` must have a row for each of the {self.components} "
                f"components. Received: {len(x)} rows"
            )
        full = self.covariance == "full"
        found = Estimator(
            self.components,
            covariance_type="full" if full else "diag",
            tol=tolerance,
            reg_covar=math.exp(LOG_VAR_RANGE[0]),
            max_iter=max_steps,
            random_state=self.seed if seed is None else seed,
        )
        with warnings.catch_warnings():
            # The length of the history tells that it has not converged.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found.fit(x)
        if full:
            factors = np.linalg.cholesky(found.covariances_)
            diagonal = np.diagonal(factors, axis1=1, axis2=2)
            log_var = 2 * np.log(diagonal)
            self.lower.assign(factors)
        else:
            log_var = np.log(found.covariances_)
        if log_var.max() > LOG_VAR_RANGE[1]:
            raise ValueError(
                "`x` must have variances near 1: at most exp("
                f"{LOG_VAR_RANGE[1]:.0f}) in a component. Received: "
                f"exp({log_var.max():.1f})"
            )
        self.logits.assign(np.log(found.weights_))
        self.means.assign(found.means_)
        self.log_var.assign(log_var)
        return [*map(float, found.lower_bounds_), float(found.score(x))]

    def get_config(self) -> dict:
        return {**super().get_config(), "covariance": self.covariance}


def among(
    cov: keras.KerasTensor, observed: keras.KerasTensor
) -> keras.KerasTensor:
    """Covariances of what is observed; the identity of the rest."""
    both = observed[..., None] & observed[..., None, :]
    return ops.where(both, cov, ops.eye(cov.shape[-1], dtype=cov.dtype))
