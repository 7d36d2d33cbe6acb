"""The base class of models with Gaussian latents."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_hvae.arguments import check_choice, check_positive_int
from keras_hvae.data import replicas
from keras_hvae.distributions import (
    Bernoulli,
    DiagGaussian,
    split_last,
    standard_normal,
)
from keras_hvae.generative.conditionals import LOG_VAR_RANGE
from keras_hvae.generative.vector_model import VectorModel, draw

LIKELIHOODS = ("bernoulli", "gaussian")
ESTIMATORS = ("A", "B")
# How many draws of latents `bounds` decodes at once.
DRAWS = 2**12


class LatentModel(VectorModel):
    """p(x) = ∫ p(x | z) N(z | 0, I) dz, with an inference network q(z | x).

    The loss is a bound of −log p(x). With one draw z ~ q(z | x) for each x:

    - estimator B: −log p(x | z) + KL(q(z | x) ‖ N(0, I)), the KL in closed
      form;
    - estimator A: −log p(x | z) + log q(z | x) − log p(z).

    Both are −ELBO on average. With K > 1 draws it is the importance-weighted
    bound −log 1/K Σ_k p(x | z_k) p(z_k) / q(z_k | x), which is nearer to
    −log p(x); then `nll` and `kl` are still the averages of the two terms
    above, so that their sum, −ELBO, is above the loss.

    A subclass creates its layers, defines `posterior` and `decode`, and builds
    itself.

    Args:
        shape: of one x, a tuple of ints.
        latent_dim: how many latents an x has.
        likelihood: `"bernoulli"`, for x in [0, 1], or `"gaussian"`, for real
            numbers.
        sigma: standard deviation of the Gaussian likelihood, one for all
            numbers; learned if not given.
        estimator: `"B"` or `"A"`, see above.
        num_samples: K.
        seed: int for the noise of the draws in training, optional.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int,
        likelihood: str = "bernoulli",
        sigma: float | None = None,
        estimator: str = "B",
        num_samples: int = 1,
        seed: int | None = None,
        **kwargs,
    ) -> None:
        check_choice(LIKELIHOODS, likelihood=likelihood)
        check_choice(ESTIMATORS, estimator=estimator)
        check_positive_int(latent_dim=latent_dim, num_samples=num_samples)
        if sigma is not None and likelihood != "gaussian":
            raise ValueError(
                '`sigma` must be None without `likelihood="gaussian"`. '
                f"Received: {sigma}"
            )
        if sigma is not None and not 0 < sigma < math.inf:
            raise ValueError(f"`sigma` must be > 0. Received: {sigma}")
        self.latent_dim = latent_dim
        super().__init__(shape, **kwargs)
        self.binary = likelihood == "bernoulli"
        self.likelihood = likelihood
        self.sigma = sigma
        self.estimator = estimator
        self.num_samples = num_samples
        self.seed = seed
        self.seeds = keras.random.SeedGenerator(seed)

    def build(self, input_shape: tuple) -> None:
        """Creates the weight of a learned σ; subclasses build their layers."""
        if not self.binary and self.sigma is None:
            self.log_var = self.add_weight(
                shape=(), initializer="zeros", autocast=False, name="log_var"
            )

    # === What a subclass defines ===

    def posterior(
        self, x: keras.KerasTensor, training: bool | None = None
    ) -> Any:
        """q(z | x): of `distributions`, with `mean` `(B, latent_dim)`."""
        raise NotImplementedError

    def decode(
        self, z: keras.KerasTensor, training: bool | None = None
    ) -> keras.KerasTensor:
        """Logits, or means, of p(x | z): D numbers for each z `(B, d)`."""
        raise NotImplementedError

    # === Training ===

    def given_z(
        self, z: keras.KerasTensor, training: bool | None = None
    ) -> Bernoulli | DiagGaussian:
        """p(x | z), of vectors of D numbers, for z `(..., d)`."""
        flat = self.decode(ops.reshape(z, (-1, self.latent_dim)), training)
        parameters = ops.reshape(
            ops.cast(flat, "float32"), (-1, *ops.shape(z)[1:-1], self.dim)
        )
        if self.binary:
            return Bernoulli(parameters)
        if self.sigma is not None:
            return DiagGaussian(parameters, 2.0 * math.log(self.sigma))
        return DiagGaussian(parameters, ops.clip(self.log_var, *LOG_VAR_RANGE))

    def terms(
        self,
        x: keras.KerasTensor,
        noise: keras.KerasTensor,
        training: bool | None = None,
    ) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:
        """What the bounds are made of, nats, float32.

        Args:
            x: `(B, *shape)`.
            noise: standard normal numbers, `(B, K, d)`.
            training: for layers such as a dropout of the user's.

        Returns:
            log p(x | z_k) and log q(z_k | x) − log p(z_k), `(B, K)`, and
            KL(q(z | x) ‖ p(z)), `(B,)`.
        """
        posterior = self.posterior(x, training)
        each = tree.map_structure(lambda a: a[:, None], posterior)
        z = each.sample(noise)
        prior = DiagGaussian(ops.zeros_like(z), ops.zeros_like(z))
        given = self.given_z(z, training)
        log_p = given.log_prob(ops.reshape(x, (-1, 1, self.dim)))
        return log_p, each.log_prob(z) - prior.log_prob(z), posterior.kl()

    def call(
        self, x: keras.KerasTensor, training: bool | None = None
    ) -> dict[str, keras.KerasTensor]:
        self.check_shape(x.shape)
        x = ops.cast(x, "float32")
        noise = replicas.draw(
            keras.random.normal,
            (ops.shape(x)[0], self.num_samples, self.latent_dim),
            dtype="float32",
            seed=self.seeds,
        )
        log_p, log_ratio, kl = self.terms(x, noise, training)
        if self.estimator == "A":
            kl = ops.mean(log_ratio, axis=-1)
        nll = -ops.mean(log_p, axis=-1)
        loss = nll + kl
        if self.num_samples > 1:
            total = ops.logsumexp(log_p - log_ratio, axis=-1)
            loss = math.log(self.num_samples) - total
        self.add_loss(ops.mean(loss))
        return {"nll": nll, "kl": kl}

    # === What users ask ===

    def bounds(
        self,
        x: np.ndarray,
        num_samples: int = 100,
        seed: int = 0,
        batch_size: int = 256,
    ) -> dict[str, np.ndarray | None]:
        """A lower bound of log p(x), importance-weighted.

        log 1/K Σ_k p(x | z_k) p(z_k) / q(z_k | x), z_k ~ q(z | x): on average
        below log p(x), and the nearer the more draws. One draw gives an
        estimate of the ELBO.

        Args:
            x: array `(N, *shape)`.
            num_samples: K.
            seed: int; each row has noise of its own, the same on every
                backend, and of more draws the first are those of fewer.
            batch_size: how many x at once.

        Returns:
            A dict: `"lower"`, nats, float64 `(N,)`; `"upper"` and
            `"estimate"` are `None`.

        Raises:
            ValueError: for an argument out of range, or data of another kind.
        """
        check_positive_int(num_samples=num_samples, batch_size=batch_size)
        x = self.check(x)
        lower = np.full(len(x), -np.inf)
        for start in range(0, len(x), batch_size):
            rows = slice(start, start + batch_size)
            part = x[rows]
            rngs = [
                np.random.default_rng((seed, start + row))
                for row in range(len(part))
            ]
            size = max(1, DRAWS // len(part))
            for first in range(0, num_samples, size):
                shape = min(size, num_samples - first), self.latent_dim
                noise = [rng.standard_normal(shape, "float32") for rng in rngs]
                weights = self.run(
                    log_weights, batch_size, x=part, noise=np.stack(noise)
                )["log_weights"]
                lower[rows] = np.logaddexp(
                    lower[rows], np.logaddexp.reduce(weights, axis=1)
                )
        return {
            "lower": lower - math.log(num_samples),
            "upper": None,
            "estimate": None,
        }

    @property
    def num_uniforms(self) -> int:
        return self.latent_dim + self.dim

    def draw(
        self,
        uniforms: keras.KerasTensor,
        given: keras.KerasTensor,
        observed: keras.KerasTensor,
    ) -> dict[str, keras.KerasTensor]:
        """z from the prior, then x from p(x | z)."""
        noise, uniforms = self.split_uniforms(uniforms)
        return {"x": self.write(noise, uniforms, given, observed)}

    def split_uniforms(
        self, uniforms: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Standard normal numbers for z, and uniform ones for x."""
        noise, rest = split_last(uniforms, (self.latent_dim, self.dim))
        return standard_normal(noise), rest

    def write(
        self,
        z: keras.KerasTensor,
        uniforms: keras.KerasTensor,
        given: keras.KerasTensor,
        observed: keras.KerasTensor,
    ) -> keras.KerasTensor:
        """Draws from p(x | z), but for what is observed: `(B, *shape)`."""
        if not self.binary:
            uniforms = standard_normal(uniforms)
        x = self.given_z(z).sample(uniforms)
        return ops.where(observed, given, ops.reshape(x, (-1, *self.shape)))

    def sample(
        self,
        n: int,
        seed: int | None = None,
        given: np.ndarray | None = None,
        observed: np.ndarray | None = None,
        batch_size: int = 256,
        steps: int = 30,
    ) -> np.ndarray:
        """Draws n x, some of whose numbers may be given.

        z ~ N(0, I), x ~ p(x | z). Given some numbers, from there by the chain
        of Rezende et al. (2014, appendix F): z ~ q(z | x), new numbers from
        p(x | z) where they are not observed, and so on. That is approximate:
        q stands in for p(z | x), and the chain is stopped after `steps`.

        Args:
            n: how many.
            seed: int that repeats the draws on every backend.
            given: array `(*shape)`, or one for each, `(n, *shape)`.
            observed: bool array of the same shape as `given`: True where an x
                is to have the number of `given`.
            batch_size: how many at once.
            steps: of the chain, if something is observed.

        Returns:
            float32 array `(n, *shape)`.

        Raises:
            ValueError: for an argument out of range.
        """
        check_positive_int(n=n, steps=steps)
        given, observed = self.check_given(n, given, observed)
        rng = np.random.default_rng(seed)
        functions = [draw] + [draw_again] * (steps if observed.any() else 0)
        some = observed.any(axis=tuple(range(1, observed.ndim)), keepdims=True)
        x = given
        for function in functions:
            uniforms = rng.random((n, self.num_uniforms), "float32")
            new = self.run(
                function,
                batch_size,
                uniforms=uniforms,
                given=x,
                observed=observed,
            )["x"].astype("float32")
            # An x of which nothing is given is done with the first draw.
            x = new if function is draw else np.where(some, new, x)
        return x

    def encode(self, x: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """The means of q(z | x).

        Args:
            x: array `(N, *shape)`.
            batch_size: how many at once.

        Returns:
            float64 `(N, latent_dim)`.

        Raises:
            ValueError: for an array that is none of such x.
        """
        return self.run(read, batch_size, x=self.check(x))["mean"]

    def reconstruct(self, x: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """The mean of p(x | z) at the mean of q(z | x).

        Args:
            x: array `(N, *shape)`.
            batch_size: how many at once.

        Returns:
            float64 `(N, *shape)`.

        Raises:
            ValueError: for an array that is none of such x.
        """
        return self.run(rewrite, batch_size, x=self.check(x))["x"]

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "likelihood": self.likelihood,
            "sigma": self.sigma,
            "estimator": self.estimator,
            "num_samples": self.num_samples,
            "seed": self.seed,
        }


# === Compiled steps ===


def log_weights(
    model: LatentModel, x: keras.KerasTensor, noise: keras.KerasTensor
) -> dict[str, keras.KerasTensor]:
    """log p(x | z_k) p(z_k) / q(z_k | x), `(B, K)`."""
    log_p, log_ratio, _ = model.terms(x, noise)
    return {"log_weights": log_p - log_ratio}


def draw_again(
    model: LatentModel,
    uniforms: keras.KerasTensor,
    given: keras.KerasTensor,
    observed: keras.KerasTensor,
) -> dict[str, keras.KerasTensor]:
    """A step of the chain: z from q(z | given), then what is not observed."""
    noise, uniforms = model.split_uniforms(uniforms)
    z = model.posterior(given).sample(noise)
    return {"x": model.write(z, uniforms, given, observed)}


def read(
    model: LatentModel, x: keras.KerasTensor
) -> dict[str, keras.KerasTensor]:
    """The mean of q(z | x), `(B, latent_dim)`."""
    return {"mean": model.posterior(x).mean}


def rewrite(
    model: LatentModel, x: keras.KerasTensor
) -> dict[str, keras.KerasTensor]:
    """The mean of p(x | z) at that of q(z | x), `(B, *shape)`."""
    given = model.given_z(model.posterior(x).mean)
    mean = given.probs if isinstance(given, Bernoulli) else given.mean
    return {"x": ops.reshape(mean, (-1, *model.shape))}
