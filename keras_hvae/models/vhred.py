"""HRED with a latent for each sentence."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_hvae import layers
from keras_hvae.models.hred import HRED
from keras_hvae.seeds import split_seed
from keras_hvae.text.preprocessor import Preprocessor


@keras.saving.register_keras_serializable("keras_hvae")
class VHRED(HRED):
    """Latent variable hierarchical recurrent encoder-decoder.

    `HRED` with a diagonal-Gaussian latent z_i for each sentence. With the
    state c_i behind the sentences before and the sentence vector h_i:

    - prior p(z_i | x_<i) = N(f_μ(t), f_σ(t)), t = tanh(W c_i);
    - posterior q(z_i | x_≤i) the same of t = tanh(V [c_i; h_i]);
    - the words are written from [c_i; z_i].

    Unlike `HVAE`'s, its latents do not depend on each other, and the decoder
    knows the sentences before without them.

    Args:
        vocabulary: see `HVAE`.
        latent_dim: dimension d of each latent.
        embedding_dim, hidden_dim, sentence_dropout: see `HRED`.
        kl_weight, free_bits, free_bits_mode, seed, dtype, rate, **options:
            see `DocumentModel`, as are call arguments, what is returned, and
            errors.

    Example:

    >>> model = VHRED(["yes", "no"], 2, embedding_dim=4, hidden_dim=8)
    >>> model.score(["yes", "no no"])["sentence_kl"].shape
    (2,)

    Reference:
        - [Serban et al., 2017](https://arxiv.org/abs/1605.06069)
    """

    latent_structure = "conditional"

    def __init__(
        self,
        vocabulary: int | Sequence[str] | Preprocessor,
        latent_dim: int = 32,
        embedding_dim: int = 128,
        hidden_dim: int = 192,
        sentence_dropout: float = 0.0,
        kl_weight: float = 1.0,
        free_bits: float = 0.0,
        free_bits_mode: str = "dimension",
        seed: int | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        rate: float | None = None,
        **options,
    ) -> None:
        # === Layers ===
        self.sentence_latent = layers.SentenceLatent(
            latent_dim,
            hidden_dim,
            split_seed(seed)["latents"],
            dtype=dtype,
            name="sentence_latent",
        )
        self.kl = layers.DiagGaussianKL(
            kl_weight, free_bits, free_bits_mode, rate, dtype=dtype, name="kl"
        )
        self.latent_dim = latent_dim
        # === Those of HRED, and the Functional Model ===
        super().__init__(
            vocabulary,
            embedding_dim,
            hidden_dim,
            sentence_dropout,
            seed=seed,
            dtype=dtype,
            **options,
        )

    def infer(
        self, x: Any, noise: keras.KerasTensor | None = None
    ) -> dict[str, keras.KerasTensor]:
        sentences = self.emission.embed(x)
        past = self.past(x, sentences)
        latents = self.sentence_latent(past, sentences, noise)
        return {**latents, "context": join(past, latents["z"])}

    def predict_context(
        self, x: Any, noise: keras.KerasTensor, given: keras.KerasTensor
    ) -> keras.KerasTensor:
        past = self.past(x, self.emission.embed(x))
        prior = self.sentence_latent.prior(past)
        z = self.sentence_latent.sampling(*prior, noise=noise)
        return join(past, z)


def join(*parts: keras.KerasTensor) -> keras.KerasTensor:
    """Tensors side by side, in the dtype of the first one."""
    return ops.concatenate(
        [ops.cast(x, parts[0].dtype) for x in parts], axis=-1
    )
