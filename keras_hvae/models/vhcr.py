"""VHRED with a latent for the whole conversation."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_hvae import layers
from keras_hvae.arguments import check_positive_int
from keras_hvae.models.vhred import VHRED, join
from keras_hvae.text.preprocessor import Preprocessor


@keras.saving.register_keras_serializable("keras_hvae")
class VHCR(VHRED):
    """Variational hierarchical conversation RNN.

    `VHRED` with a latent z_conv for the whole document besides: its prior is
    N(0, I), its posterior reads all sentence vectors with a GRU in each
    direction. z_conv starts the GRU over sentences, stands beside each of its
    inputs, and goes into prior, posterior and words of every sentence.

    Latents, means and variances have width 2 d: those of z_conv, the same at
    every sentence, then those of z_i. The KL of z_conv is part of the first
    sentence's.

    Args:
        sentence_dropout: the paper's utterance drop, in training only.
        free_bits, free_bits_mode: see `DocumentModel`; the mode is not
            `"dimension"`.
        vocabulary, **options: see `VHRED`.

    Raises:
        ValueError: for free bits by dimension; others see `DocumentModel`.

    Example:

    >>> model = VHCR(["yes", "no"], 2, embedding_dim=4, hidden_dim=8)
    >>> model.encode(["yes", "no no"])["mean"].shape
    (2, 4)

    Reference:
        - [Park et al., 2018](https://arxiv.org/abs/1804.03424)
    """

    # z_conv is drawn from all sentences.
    conditional_terms = False

    def __init__(
        self,
        vocabulary: int | Sequence[str] | Preprocessor,
        latent_dim: int = 32,
        embedding_dim: int = 128,
        hidden_dim: int = 192,
        sentence_dropout: float = 0.25,
        free_bits: float = 0.0,
        free_bits_mode: str = "batch",
        dtype: str | keras.DTypePolicy | None = None,
        **options,
    ) -> None:
        check_positive_int(hidden_dim=hidden_dim)
        if free_bits and free_bits_mode == "dimension":
            raise ValueError(
                "`free_bits_mode` must be another for a VHCR, since z_conv has "
                "a KL at the first sentence only. Received: 'dimension'"
            )
        # === Layers ===
        self.whole_forward, self.whole_backward = (
            layers.MaskedGRU(hidden_dim, dtype=dtype, name=name)
            for name in ("whole_forward", "whole_backward")
        )
        self.whole_head = layers.GaussianHead(
            latent_dim, dtype=dtype, name="whole_head"
        )
        self.start = keras.layers.Dense(
            hidden_dim, activation="tanh", dtype=dtype, name="start"
        )
        # === Those of VHRED and HRED, and the Functional Model ===
        super().__init__(
            vocabulary,
            latent_dim,
            embedding_dim,
            hidden_dim,
            sentence_dropout,
            free_bits=free_bits,
            free_bits_mode=free_bits_mode,
            dtype=dtype,
            **options,
        )

    @property
    def noise_dim(self) -> int:
        return 2 * self.latent_dim

    def infer(
        self, x: Any, noise: keras.KerasTensor | None = None
    ) -> dict[str, keras.KerasTensor]:
        sentences = self.emission.embed(x)
        mean, log_var = self._whole(sentences, self.emission.mask(x))
        whole_noise, noise = _split(noise)
        sampling = self.sentence_latent.sampling
        z_whole = sampling(mean, log_var, noise=whole_noise)
        past = self._past(x, sentences, z_whole)
        latents = self.sentence_latent(past, sentences, noise)
        whole = {"z": z_whole, "mean": mean, "log_var": log_var}
        # The KL of z_conv counts at the first sentence; at later ones posterior
        # and prior are equal.
        ones = ops.ones_like(latents["z"][..., :1])  # (B, n, 1)
        # Not `==`: of a symbolic tensor that is False.
        first = ops.equal(ops.cumsum(ones, axis=1), 1)
        for key in ("mean", "log_var"):
            whole[key] = _repeat(whole[key], latents["z"])
            whole[f"prior_{key}"] = ops.where(first, 0.0, whole[key])
        whole["z"] = _repeat(z_whole, latents["z"])
        joined = {
            key: ops.concatenate([whole[key], latents[key]], axis=-1)
            for key in whole
        }
        return {**joined, "context": join(past, latents["z"])}

    def predict_context(
        self, x: Any, noise: keras.KerasTensor, given: keras.KerasTensor
    ) -> keras.KerasTensor:
        sentences = self.emission.embed(x)
        whole_noise, noise = _split(noise)
        mean, _ = self._whole(sentences, given)
        # The posterior mean of z_conv, if there is a sentence to infer it from.
        known = ops.any(given, axis=1)[:, None]
        z_whole = ops.where(known, mean, whole_noise)
        past = self._past(x, sentences, z_whole)
        prior = self.sentence_latent.prior(past)
        z = self.sentence_latent.sampling(*prior, noise=noise)
        return join(past, z)

    def _whole(self, sentences, mask):
        """Posterior of z_conv from the sentences of the mask: `(B, d)`."""
        forward = self.whole_forward(sentences, mask)
        backward = self.whole_backward(
            ops.flip(sentences, axis=1), ops.flip(mask, axis=1)
        )
        return self.whole_head(ops.concatenate([forward, backward], axis=-1))

    def _past(self, x, sentences, z_whole):
        """[c_i; z_conv], `(B, n, H + d)`."""
        z_whole = ops.cast(z_whole, sentences.dtype)
        past = self.past(x, sentences, z_whole, self.start(z_whole))
        return join(past, _repeat(z_whole, past))


def _split(noise):
    """ε of z_conv, `(B, d)`, and of the z_i, `(B, n, d)`."""
    if noise is None:
        return None, None
    whole, noise = ops.split(noise, 2, axis=-1)
    return whole[:, 0], noise


def _repeat(x, like):
    """`(B, d)` to `(B, n, d)`."""
    return x[:, None] + ops.zeros_like(like[..., :1])
