"""HRED with a latent for each sentence."""

import keras
from keras import ops

from keras_hvae import layers
from keras_hvae.arguments import check_positive_int
from keras_hvae.models.hred import HRED
from keras_hvae.models.model_arguments import split_seed


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
        word_dropout, kl_weight, free_bits, free_bits_mode, bow_weight,
            **options: see `DocumentModel`, as are call arguments, what is
            returned, and errors.

    Example:

    >>> model = VHRED(["yes", "no"], 2, embedding_dim=4, hidden_dim=8)
    >>> model.score(["yes", "no no"])["sentence_kl"].shape
    (2,)

    Reference:
        - [Serban et al., 2017](https://arxiv.org/abs/1605.06069)
    """

    def __init__(
        self,
        vocabulary,
        latent_dim=32,
        embedding_dim=128,
        hidden_dim=192,
        seed=None,
        dtype=None,
        **options,
    ):
        check_positive_int(hidden_dim=hidden_dim)
        self.__dict__["sentence_latent"] = layers.SentenceLatent(
            latent_dim,
            hidden_dim,
            split_seed(seed)["latents"],
            dtype=dtype,
            name="sentence_latent",
        )
        super().__init__(
            vocabulary,
            embedding_dim,
            hidden_dim,
            latent_dim=latent_dim,
            seed=seed,
            dtype=dtype,
            **options,
        )

    def read(self, token_ids, noise=None):
        sentences = self.sentences(token_ids)
        past = self.past(token_ids, sentences)
        latents = self.sentence_latent(past, sentences, noise)
        return {**latents, "context": _join(past, latents["z"])}

    def predict_context(self, token_ids, noise, given):
        past = self.past(token_ids, self.sentences(token_ids))
        prior = self.sentence_latent.prior(past)
        z = self.sentence_latent.sampling(*prior, noise=noise)
        return _join(past, z)


def _join(past, z):
    return ops.concatenate([past, ops.cast(z, past.dtype)], axis=-1)
