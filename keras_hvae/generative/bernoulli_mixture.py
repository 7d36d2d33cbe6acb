"""Mixtures of independent bits."""

import keras
import numpy as np
from keras import ops

from keras_hvae.distributions import Bernoulli
from keras_hvae.generative.mixture import Mixture, check_em


@keras.saving.register_keras_serializable("keras_hvae")
class BernoulliMixture(Mixture):
    """Bits that are independent within each of K components.

    p(x) = Σ_k π_k ∏_i p_ki^x_i (1 − p_ki)^(1 − x_i). `fit` climbs log p(x) by
    gradients, `fit_em` by expectation–maximisation; most often the latter is
    faster. With one component the bits are independent. `encode` gives the
    responsibilities p(k | x), `sample` takes any part of x as observed.

    Args:
        dim: D.
        components: K.
        seed: int for the initial weights, optional.

    Call arguments:
        x: zeros and ones, `(B, D)`; numbers between give the cross-entropy.

    Returns:
        A dict: `"nll"`, −log p(x), nats, float32 `(B,)`.

    Raises:
        ValueError: for an argument out of range, or data of another kind.

    Example: all zeros or all ones; one number that is observed gives the rest.

    >>> model = generative.BernoulliMixture(3, components=2)
    >>> x = np.array([[0, 0, 0], [1, 1, 1]] * 50)
    >>> history = model.fit_em(x, smoothing=1e-4, seed=0)
    >>> round(history[-1], 2)  # log ½
    -0.69
    >>> observed = np.array([True, False, False])
    >>> model.sample(1, 0, given=np.ones(3), observed=observed).tolist()
    [[1.0, 1.0, 1.0]]

    Reference:
        - [Dempster et al., 1977](
          https://doi.org/10.1111/j.2517-6161.1977.tb01600.x) (EM)
    """

    def __init__(
        self,
        dim: int,
        components: int = 10,
        seed: int | None = None,
        **kwargs,
    ) -> None:
        super().__init__(dim, components, seed, **kwargs)
        self.build((None, dim))

    def build(self, input_shape: tuple) -> None:
        super().build(input_shape)
        self.log_odds = self.add_weight(
            shape=(self.components, self.dim),
            initializer=keras.initializers.RandomNormal(0.0, 1.0, self.seed),
            autocast=False,
            name="log_odds",
        )

    def log_likelihoods(
        self, x: keras.KerasTensor, observed: keras.KerasTensor | None = None
    ) -> keras.KerasTensor:
        log_odds = ops.transpose(ops.convert_to_tensor(self.log_odds))
        zeros = 1.0 - x
        if observed is not None:
            x, zeros = (ops.where(observed, y, 0.0) for y in (x, zeros))
        return ops.matmul(x, ops.log_sigmoid(log_odds)) + ops.matmul(
            zeros, ops.log_sigmoid(-log_odds)
        )

    def draw_from(
        self,
        one: keras.KerasTensor,
        uniforms: keras.KerasTensor,
        given: keras.KerasTensor,
        observed: keras.KerasTensor,
    ) -> keras.KerasTensor:
        return Bernoulli(ops.matmul(one, self.log_odds)).sample(uniforms)

    def centers(self) -> keras.KerasTensor:
        return ops.sigmoid(ops.convert_to_tensor(self.log_odds))

    def fit_em(
        self,
        x: np.ndarray,
        max_steps: int = 100,
        tolerance: float = 1e-4,
        seed: int | None = None,
        smoothing: float = 0.1,
    ) -> list[float]:
        """Fits the model by expectation–maximisation, in float64.

        It starts anew, with the responsibilities r_nk = p(k | x_n) of
        components half-way between the mean of the data and one of their
        different rows. These give π_k = (Σ_n r_nk + s) / (N + K s) and p_ki =
        (Σ_n r_nk x_ni + s) / (Σ_n r_nk + 2 s), with s the smoothing of
        Laplace. A step takes the responsibilities of the model, then these.

        Args:
            x: array `(N, D)`.
            max_steps: how many steps at most.
            tolerance: nats by which a step has to raise the mean of log p(x);
                the first that does not is not taken.
            seed: int that gives the rows to start from.
            smoothing: s, a number > 0: a probability of 0 or 1 would forbid
                what the data happen not to show.

        Returns:
            The mean of log p(x), nats, at the start and after each step. It
            never falls; the last is that of the fitted model.

        Raises:
            ValueError: for an argument out of range.
        """
        x = self.check(x).astype("float64")
        check_em(max_steps, tolerance)
        if not 0 < smoothing < np.inf:
            raise ValueError(
                f"`smoothing` must be a number > 0. Received: {smoothing}"
            )
        k = self.components
        # Equal components would stay equal.
        rows = np.unique(x, axis=0)
        rng = np.random.default_rng(self.seed if seed is None else seed)
        rows = rng.choice(rows, k, len(rows) < k)
        mean = (x.sum(axis=0) + smoothing) / (len(x) + 2 * smoothing)
        each, _ = expect(x, np.full(k, 1 / k), (mean + rows) / 2)
        history = []
        while len(history) <= max_steps:
            count = each.sum(axis=0)
            new = (
                (count + smoothing) / (count + smoothing).sum(),
                (each.T @ x + smoothing) / (count[:, None] + 2 * smoothing),
            )
            each, value = expect(x, *new)
            if history and value < history[-1] + tolerance:
                break
            history.append(value)
            weights, probs = new
        self.logits.assign(np.log(weights))
        self.log_odds.assign(np.log(probs) - np.log1p(-probs))
        return history


def expect(
    x: np.ndarray, weights: np.ndarray, probs: np.ndarray
) -> tuple[np.ndarray, float]:
    """The responsibilities, `(N, K)`, and the mean of log p(x)."""
    ones, zeros = np.log(probs), np.log1p(-probs)
    joint = np.log(weights) + x @ ones.T + (1 - x) @ zeros.T
    log_prob = np.logaddexp.reduce(joint, axis=1, keepdims=True)
    return np.exp(joint - log_prob), float(log_prob.mean())
