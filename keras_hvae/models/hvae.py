"""The hierarchical variational autoencoder."""

import keras

from keras_hvae import layers
from keras_hvae.arguments import check_positive_int
from keras_hvae.ids import PAD_ID
from keras_hvae.layers.reductions import sentence_mask
from keras_hvae.models.document_model import DocumentModel
from keras_hvae.models.model_arguments import split_seed


@keras.saving.register_keras_serializable("keras_hvae")
class HVAE(DocumentModel):
    """Hierarchical variational autoencoder of sequences of sentences.

    A document x has sentences x_1 … x_n. Each has its own diagonal-Gaussian
    latent z_i, and the latents form a chain:

    p(x, z) = p(z_1) ∏_{i≥2} p(z_i | z_{i−1}) ∏_i p(x_i | z_i)

    The loss of a document is Σ_ij −log p(x_ij | x_i,<j, z_i) +
    β Σ_i KL(q_i ‖ p_i), in nats, averaged over the documents of a batch. It
    enters through `add_loss`: `compile` needs no `loss`, `fit` no targets.
    What `fit` and `evaluate` report is said in `DocumentModel`.

    Args:
        vocabulary: the words in order of falling frequency: a
            `keras_hvae.text.Preprocessor` (such as `corpus.vocabulary`), a
            list of words, or, for a model of ids only, the number of ids.
        latent_dim: dimension d of each latent.
        embedding_dim: width of the word embeddings.
        hidden_dim: width of the GRUs that read, and of the chain.
        transition: how a latent follows the one before: `"rnn"`,
            `"concat"`, `"sum"` or `"gated"`; see `layers.Transition`.
        prior: `"shared"` or `"learned"`; see `layers.LatentChain`.
        initial_prior: `"standard"` or `"empirical"`; see
            `fit_initial_prior`.
        backward: `"inclusive"` or `"exclusive"`; see
            `layers.ContextEncoder`.
        word_dropout: rate at which the decoder's input words become `[UNK]`.
        free_bits: floor of the KL in training, in nats a sentence.
        mean_norm: optional γ of batch normalisation of the posterior means;
            see `layers.MeanNorm`.
        use_cudnn: for the word-level GRUs; see `layers.PackedGRU`.
        seed: int for latent draws and dropout, optional.
        dtype: policy, optional.
        **options: `decoder_dim`, `dropout`, `kl_weight`, `free_bits_mode`,
            `bow_weight`, `softmax`, `tie_embeddings` and `name`; see
            `DocumentModel`.

    Call arguments:
        token_ids: int tensor of shape `(B, n, m)`; see `DocumentModel`.

    Returns:
        A dict: `"nll"` and `"kl"`, `(B, n)`, nats; `"z"`, `"mean"`,
        `"log_var"`, `(B, n, d)`.

    Raises:
        ValueError: for an argument out of range, or ids that are not of rank
            3 and an integer type.

    Example:

    >>> model = HVAE(20, latent_dim=2, embedding_dim=4, hidden_dim=8)
    >>> model.compile("adam")
    >>> ids = np.array([[[5, 6, 3], [7, 3, 0]]])
    >>> history = model.fit(ids, verbose=0)
    >>> sorted(history.history)
    ['kl', 'kl_weight', 'loss', 'nll', 'perplexity']
    """

    # The first latent is drawn from all sentences.
    conditional_terms = False
    writes_from_latents = True

    def __init__(
        self,
        vocabulary,
        latent_dim=32,
        embedding_dim=128,
        hidden_dim=192,
        transition="rnn",
        prior="shared",
        initial_prior="standard",
        backward="inclusive",
        word_dropout=0.0,
        free_bits=4.0,
        mean_norm=None,
        use_cudnn="auto",
        seed=None,
        dtype=None,
        **options,
    ):
        check_positive_int(hidden_dim=hidden_dim)
        self.__dict__.update(
            word_encoder=layers.WordEncoder(
                hidden_dim,
                use_cudnn,
                dtype=dtype,
                name="word_encoder",
            ),
            context_encoder=layers.ContextEncoder(
                hidden_dim,
                backward,
                dtype=dtype,
                name="context_encoder",
            ),
            latent_chain=layers.LatentChain(
                latent_dim,
                hidden_dim,
                transition,
                prior,
                initial_prior,
                split_seed(seed)["latents"],
                mean_norm,
                dtype=dtype,
                name="latent_chain",
            ),
        )
        super().__init__(
            vocabulary,
            {
                "transition": transition,
                "prior": prior,
                "initial_prior": initial_prior,
                "backward": backward,
                "mean_norm": mean_norm,
            },
            latent_dim=latent_dim,
            embedding_dim=embedding_dim,
            hidden_dim=hidden_dim,
            word_dropout=word_dropout,
            free_bits=free_bits,
            use_cudnn=use_cudnn,
            seed=seed,
            dtype=dtype,
            **options,
        )

    def read(self, token_ids, noise=None):
        """Posterior and prior of the latents: `LatentChain`'s dict."""
        mask = sentence_mask(token_ids)
        sentences = self.sentences(token_ids)
        contexts, backward = self.context_encoder(sentences, mask=mask)
        return self.latent_chain(contexts, backward, mask=mask, noise=noise)

    def sentences(self, token_ids):
        """Sentence vectors h_i: `(B, n, H)`."""
        return self.word_encoder(
            self.token_embedding(token_ids), mask=token_ids != PAD_ID
        )

    def decoder_layers(self):
        return [*super().decoder_layers(), self.latent_chain.lat2dec]

    def roll_out(self, noise, previous=None):
        """Latents from the prior: see `LatentChain.roll_out`."""
        return self.latent_chain.roll_out(noise, previous)

    def decoder_context(self, z):
        """What the words are written from: `(..., d)` to `(..., H)`."""
        return self.latent_chain.decoder_context(z)
