"""Deep latent Gaussian models."""

from collections.abc import Sequence

import keras
from keras import layers, ops

from keras_hvae.arguments import check_choice, check_positive_int
from keras_hvae.distributions import (
    DiagGaussian,
    RankOneGaussian,
    SideBySide,
    split_last,
)
from keras_hvae.generative.latent_model import LatentModel
from keras_hvae.layers.latent.gaussian_head import GaussianHead

COVARIANCES = ("diagonal", "rank_one")


@keras.saving.register_keras_serializable("keras_hvae")
class DLGM(LatentModel):
    """A deep latent Gaussian model: Gaussian noise in each layer.

    h_L = G_L ξ_L,   h_l = T_l(h_{l+1}) + G_l ξ_l,   x ~ p(x | T_0(h_1)),

    all ξ_l ~ N(0, I), each T_l a network with a hidden layer. What is inferred
    is ξ = (ξ_1, …, ξ_L): q(ξ | x) = ∏_l N(μ_l(x), C_l(x)), where C_l⁻¹ is
    diagonal, or that and u_l u_lᵀ. All h_l are functions of ξ, so that the loss
    and the bounds are those of a `LatentModel` with the latents ξ.

    A prior N(0, κ I) of the generative networks' weights adds ‖θ‖² / (2 κ),
    divided by the number of training examples, to the loss (not to `nll` and
    `kl`).

    log p(x) is not known exactly: `bounds` has a lower bound, of the weights
    as they are.

    Args:
        dim: D.
        latent_dims: dimensions of ξ_1 (next to x) to ξ_L.
        hidden_dim: width of the hidden layers of the T_l, and of the layers of
            the recognition network, one above the other, that give μ_l and C_l.
        covariance: of q: `"diagonal"`, or `"rank_one"`, see
            `distributions.RankOneGaussian`.
        weight_prior: κ, optional.
        num_examples: how many examples the model is trained on, with
            `weight_prior`.
        likelihood: `"bernoulli"`, for x in [0, 1], or `"gaussian"`, for real
            numbers.
        sigma: standard deviation of the Gaussian likelihood, one number;
            learned if not given.
        seed: int for the noise of the draws in training, optional.
        **kwargs: `estimator` and `num_samples` of `LatentModel`; `name`.

    Call arguments:
        x: `(B, D)`.

    Returns:
        A dict, nats, float32 `(B,)`: `"nll"`, −log p(x | ξ), and `"kl"`.

    Raises:
        ValueError: for an argument out of range, or data of another kind.

    Example:

    >>> model = generative.DLGM(
    ...     4, latent_dims=(3, 2), hidden_dim=8, covariance="rank_one"
    ... )
    >>> x = model.sample(10, seed=0)
    >>> x.shape, model.encode(x).shape
    ((10, 4), (10, 5))
    >>> bool((model.bounds(x, num_samples=5)["lower"] < 0).all())
    True

    Reference:
        - [Rezende et al., 2014](https://arxiv.org/abs/1401.4082)
    """

    def __init__(
        self,
        dim: int,
        latent_dims: Sequence[int] = (50, 50),
        hidden_dim: int = 200,
        covariance: str = "diagonal",
        weight_prior: float | None = None,
        num_examples: int | None = None,
        likelihood: str = "bernoulli",
        sigma: float | None = None,
        seed: int | None = None,
        **kwargs,
    ) -> None:
        check_positive_int(dim=dim, hidden_dim=hidden_dim)
        check_choice(COVARIANCES, covariance=covariance)
        if not latent_dims:
            raise ValueError(
                "`latent_dims` must have an int for each layer. Received: "
                f"{latent_dims}"
            )
        for width in latent_dims:
            check_positive_int(latent_dims=width)
        if weight_prior is not None:
            if not weight_prior > 0:
                raise ValueError(
                    f"`weight_prior` must be > 0. Received: {weight_prior}"
                )
            # The loss is a mean over examples; the prior's term is not.
            check_positive_int(num_examples=num_examples)
        elif num_examples is not None:
            raise ValueError(
                "`num_examples` must be None without a `weight_prior`. "
                f"Received: {num_examples}"
            )
        super().__init__(
            (dim,),
            sum(latent_dims),
            likelihood,
            sigma,
            seed=seed,
            **kwargs,
        )
        self.latent_dims = tuple(latent_dims)
        self.hidden_dim = hidden_dim
        self.covariance = covariance
        self.weight_prior = weight_prior
        self.num_examples = num_examples
        policy = self.dtype_policy
        # T_0 … T_{L−1} and G_1 … G_L.
        self.transforms = [
            keras.Sequential(
                [
                    layers.Dense(hidden_dim, "tanh", dtype=policy),
                    layers.Dense(width, dtype=policy),
                ],
                name=f"transform_{i}",
            )
            for i, width in enumerate((dim, *self.latent_dims[:-1]))
        ]
        self.noise_mixers = [
            layers.Dense(
                width, use_bias=False, dtype=policy, name=f"noise_mixer_{i}"
            )
            for i, width in enumerate(self.latent_dims, 1)
        ]
        self.readers = [
            layers.Dense(hidden_dim, "tanh", dtype=policy, name=f"reader_{i}")
            for i in range(1, len(self.latent_dims) + 1)
        ]
        self.heads = [
            GaussianHead(width, dtype=policy, name=f"head_{i}")
            for i, width in enumerate(self.latent_dims, 1)
        ]
        self.directions = [
            layers.Dense(width, dtype="float32", name=f"direction_{i}")
            for i, width in enumerate(self.latent_dims, 1)
            if covariance == "rank_one"
        ]
        self.build((None, dim))

    def build(self, input_shape: tuple) -> None:
        super().build(input_shape)
        # Layers are built by their first call.
        self.posterior(keras.Input(self.shape))
        self.decode(keras.Input((self.latent_dim,)))

    def posterior(
        self, x: keras.KerasTensor, training: bool | None = None
    ) -> SideBySide:
        parts: list[DiagGaussian | RankOneGaussian] = []
        for i, reader in enumerate(self.readers):
            x = reader(x)
            mean, log_var = self.heads[i](x)
            if self.covariance == "diagonal":
                parts.append(DiagGaussian(mean, log_var))
            else:
                u = self.directions[i](x)
                parts.append(RankOneGaussian(mean, log_var, u))
        return SideBySide(tuple(parts))

    def decode(
        self, z: keras.KerasTensor, training: bool | None = None
    ) -> keras.KerasTensor:
        parts = split_last(z, self.latent_dims)
        noises = [mixer(x) for mixer, x in zip(self.noise_mixers, parts)]
        h = noises[-1]
        for transform, noise in zip(self.transforms[:0:-1], noises[-2::-1]):
            h = transform(h) + noise
        return self.transforms[0](h)

    def call(
        self, x: keras.KerasTensor, training: bool | None = None
    ) -> dict[str, keras.KerasTensor]:
        outputs = super().call(x, training=training)
        if self.weight_prior and self.num_examples:
            squares = [
                ops.sum(ops.square(ops.cast(weight, "float32")))
                for layer in (*self.transforms, *self.noise_mixers)
                for weight in layer.trainable_variables
            ]
            scale = 2.0 * self.weight_prior * self.num_examples
            self.add_loss(sum(squares) / scale)
        return outputs

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "dim": self.dim,
            "latent_dims": list(self.latent_dims),
            "hidden_dim": self.hidden_dim,
            "covariance": self.covariance,
            "weight_prior": self.weight_prior,
            "num_examples": self.num_examples,
        }
