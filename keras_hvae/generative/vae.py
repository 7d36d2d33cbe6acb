"""Variational autoencoders."""

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.distributions import DiagGaussian
from keras_hvae.generative.latent_model import LatentModel
from keras_hvae.layers.latent.gaussian_head import GaussianHead

# Of the two convolutions next to an image, each of which halves it.
FILTERS = (32, 64)
CONVOLUTION = {"kernel_size": 4, "strides": 2, "padding": "same"}


@keras.saving.register_keras_serializable("keras_hvae")
class VAE(LatentModel):
    """A variational autoencoder of vectors or images.

    p(x) = ∫ p(x | z) N(z | 0, I) dz, q(z | x) = N(μ(x), diag σ²(x)). The
    decoder gives the parameters of p(x | z): logits of Bernoullis, whose −log
    p(x | z) is the binary cross-entropy, or means of Gaussians with one
    standard deviation s, whose −log p(x | z) is D times the mean squared error,
    over 2 s², and a constant.

    The loss is −ELBO, by estimator A or B, or with `num_samples` the
    importance-weighted bound: see `LatentModel`.

    log p(x) is not known exactly: `bounds` has a lower bound.

    Args:
        shape: of one x: D, or a tuple such as `(28, 28, 1)`.
        latent_dim: dimension d of z.
        encoder: optional layer or model from x `(B, *shape)` to features of
            any shape. What makes μ and log σ² of them is added here.
        decoder: optional layer or model from z `(B, d)` to the logits or means
            of p(x | z), `(B, *shape)` or any other shape of D numbers.
        likelihood: `"bernoulli"`, for x in [0, 1], or `"gaussian"`, for real
            numbers.
        hidden_dims: widths of the dense hidden layers of an encoder that is
            made here; a decoder has them the other way round. `()` makes
            linear ones.
        convolutional: whether networks that are made here have two
            convolutions next to the image, `(H, W, C)` with H and W multiples
            of 4.
        estimator: `"B"` or `"A"`.
        num_samples: K.
        sigma: s, one number; learned if not given.
        seed: int for the noise of the draws in training, optional.

    Call arguments:
        x: `(B, *shape)`.

    Returns:
        A dict, nats, float32 `(B,)`: `"nll"`, −log p(x | z), and `"kl"`.

    Raises:
        ValueError: for an argument out of range, or data of another kind.

    Example:

    >>> model = generative.VAE(4, latent_dim=2, hidden_dims=(8,), seed=0)
    >>> model.compile("adam")
    >>> x = np.array([[0, 0, 1, 1], [1, 1, 0, 0]] * 50)
    >>> history = model.fit(x, epochs=2, verbose=0).history
    >>> sorted(history)
    ['kl', 'loss', 'nll']
    >>> model.encode(x).shape, model.sample(3, seed=0).shape
    ((100, 2), (3, 4))
    >>> one, many = (model.bounds(x, k)["lower"].mean() for k in (1, 50))
    >>> bool(one < many < 0)
    True

    Reference:
        - [Kingma and Welling, 2014](https://arxiv.org/abs/1312.6114)
        - [Burda et al., 2016](https://arxiv.org/abs/1509.00519)
          (`num_samples`)
        - [Rezende et al., 2014](https://arxiv.org/abs/1401.4082) (`sample`
          with `observed`)
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        latent_dim: int = 50,
        encoder: keras.layers.Layer | None = None,
        decoder: keras.layers.Layer | None = None,
        likelihood: str = "bernoulli",
        hidden_dims: Sequence[int] = (200, 200),
        convolutional: bool = False,
        estimator: str = "B",
        num_samples: int = 1,
        sigma: float | None = None,
        seed: int | None = None,
        **kwargs,
    ) -> None:
        sizes = tuple(np.atleast_1d(shape).tolist())
        for size in sizes:
            check_positive_int(shape=size)
        for width in hidden_dims:
            check_positive_int(hidden_dims=width)
        image = len(sizes) == 3 and not any(size % 4 for size in sizes[:2])
        if convolutional and not image:
            raise ValueError(
                "`shape` must be (H, W, C) with H and W multiples of 4 with "
                f"`convolutional=True`. Received: {sizes}"
            )
        if convolutional and None not in (encoder, decoder):
            raise ValueError(
                "`convolutional` must be False with an `encoder` and a "
                "`decoder` of your own. Received: True"
            )
        for name, layer in (("encoder", encoder), ("decoder", decoder)):
            if layer is not None and not isinstance(layer, layers.Layer):
                raise ValueError(
                    f"`{name}` must be a Keras layer or model. Received: "
                    f"{layer!r}"
                )
        super().__init__(
            sizes,
            latent_dim,
            likelihood,
            sigma,
            estimator,
            num_samples,
            seed,
            **kwargs,
        )
        self.hidden_dims = tuple(hidden_dims)
        self.convolutional = convolutional
        self._of_user = {
            "encoder": encoder is not None,
            "decoder": decoder is not None,
        }
        self.encoder = self._make_encoder() if encoder is None else encoder
        self.head = GaussianHead(
            latent_dim, dtype=self.dtype_policy, name="head"
        )
        self.decoder = self._make_decoder() if decoder is None else decoder
        self.build((None, *sizes))

    def _dense(self, widths):
        return [
            layers.Dense(width, "tanh", dtype=self.dtype_policy)
            for width in widths
        ]

    def _make_encoder(self):
        policy = self.dtype_policy
        filters = FILTERS if self.convolutional else ()
        convolutions = [
            layers.Conv2D(n, activation="relu", dtype=policy, **CONVOLUTION)
            for n in filters
        ]
        dense = self._dense(self.hidden_dims)
        return keras.Sequential(
            [*convolutions, layers.Flatten(), *dense], name="encoder"
        )

    def _make_decoder(self):
        policy = self.dtype_policy
        dense = self._dense(self.hidden_dims[::-1])
        if not self.convolutional:
            return keras.Sequential(
                [*dense, layers.Dense(self.dim, dtype=policy)], name="decoder"
            )
        height, width, channels = self.shape
        small = height // 4, width // 4, FILTERS[1]
        return keras.Sequential(
            [
                *dense,
                layers.Dense(math.prod(small), "relu", dtype=policy),
                layers.Reshape(small),
                layers.Conv2DTranspose(
                    FILTERS[0], activation="relu", dtype=policy, **CONVOLUTION
                ),
                layers.Conv2DTranspose(channels, dtype=policy, **CONVOLUTION),
            ],
            name="decoder",
        )

    def build(self, input_shape: tuple) -> None:
        super().build(input_shape)
        features = self.encoder(keras.Input(self.shape))
        self.features_dim = _size(features, "encoder")
        self.head.build((None, self.features_dim))
        parameters = self.decoder(keras.Input((self.latent_dim,)))
        if _size(parameters, "decoder") != self.dim:
            raise ValueError(
                f"`decoder` must give {self.dim} numbers for each z. Received: "
                f"an output of shape {parameters.shape}"
            )

    def posterior(
        self, x: keras.KerasTensor, training: bool | None = None
    ) -> DiagGaussian:
        features = self.encoder(x, training=training)
        features = ops.reshape(features, (-1, self.features_dim))
        return DiagGaussian(*self.head(features))

    def decode(
        self, z: keras.KerasTensor, training: bool | None = None
    ) -> keras.KerasTensor:
        return self.decoder(z, training=training)

    def get_config(self) -> dict:
        given = {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            if of_user
            else None
            for name, of_user in self._of_user.items()
        }
        return {
            **super().get_config(),
            "shape": list(self.shape),
            "latent_dim": self.latent_dim,
            **given,
            "hidden_dims": list(self.hidden_dims),
            "convolutional": self.convolutional,
        }

    @classmethod
    def from_config(cls, config: dict) -> "VAE":
        given = {
            name: keras.saving.deserialize_keras_object(config.get(name))
            for name in ("encoder", "decoder")
        }
        return cls(**{**config, **given})


def _size(tensor, name):
    """How many numbers a row of a layer's output has."""
    shape = tuple(getattr(tensor, "shape", (None,)))
    if None in shape[1:] or len(shape) < 2:
        raise ValueError(
            f"`{name}` must give a tensor (B, ...) whose sizes are known. "
            f"Received: one of shape {shape}"
        )
    return math.prod(shape[1:])
