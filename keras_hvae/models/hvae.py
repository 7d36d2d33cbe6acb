"""The hierarchical variational autoencoder."""

import keras
import numpy as np
from keras import ops, tree

from keras_hvae import layers
from keras_hvae.arguments import check_positive_int, check_rate
from keras_hvae.ids import BOS_ID, PAD_ID
from keras_hvae.metrics import CurrentValue, Perplexity
from keras_hvae.models.documents import check_ids
from keras_hvae.models.hvae_arguments import (
    check_token_ids,
    make_softmax,
    read_vocabulary,
    split_seed,
)
from keras_hvae.models.writing_verbs import WritingVerbs


@keras.saving.register_keras_serializable("keras_hvae")
class HVAE(WritingVerbs):
    """Hierarchical variational autoencoder of sequences of sentences.

    A document x has sentences x_1 … x_n. Each has its own diagonal-Gaussian
    latent z_i, and the latents form a chain:

    p(x, z) = p(z_1) ∏_{i≥2} p(z_i | z_{i−1}) ∏_i p(x_i | z_i)

    The loss of a document is Σ_ij −log p(x_ij | x_i,<j, z_i) +
    β Σ_i KL(q_i ‖ p_i), in nats, averaged over the documents of a batch. It
    enters through `add_loss`: `compile` needs no `loss`, `fit` no targets.

    `fit` and `evaluate` report, per document, `nll` (the first sum), `kl`
    (the second, without β or free bits), `loss` (what was optimised; in
    `evaluate` nll + kl, that is −ELBO), the `kl_weight` β, and `perplexity`,
    exp((Σ nll + Σ kl) / tokens): an upper bound of the true perplexity (of
    training with a sampled softmax, nll is the sampled loss). Keras
    averages `loss` over batches by their number of rows; only where some of
    these are documents of padding does it differ from the other sums.

    Args:
        vocabulary: the words in order of falling frequency (the softmax
            starts from Zipf's law): a `keras_hvae.text.Preprocessor` (such
            as `corpus.vocabulary`), a list of words, or, for a model of ids
            only, the number of ids.
        latent_dim: dimension d of each latent.
        embedding_dim: width of the word embeddings.
        hidden_dim: width of the GRUs and of the chain.
        transition: how a latent follows the one before: `"rnn"`,
            `"concat"`, `"sum"` or `"gated"`; see `layers.Transition`.
        prior: `"shared"` or `"learned"`; see `layers.LatentChain`.
        initial_prior: `"standard"` or `"empirical"`; see
            `fit_initial_prior`.
        backward: `"inclusive"` or `"exclusive"`; see
            `layers.ContextEncoder`.
        dropout: rate of dropout on embeddings and decoder states.
        word_dropout: rate at which the decoder's input words become `[UNK]`.
        kl_weight: β to start with; `KLAnnealing` changes it.
        free_bits: floor of the KL in training, in nats a sentence.
        free_bits_mode: `"dimension"`, `"sentence"` or `"batch"`; see
            `layers.DiagGaussianKL`.
        softmax: over the words: `"full"`; `"adaptive"`, faster with many
            words (see `layers.AdaptiveSoftmax`); `"class"`
            (`layers.ClassSoftmax`); `"sampled"`, `"one_vs_each"` or
            `"nce"`, which are sampled in training; or another
            `layers.OutputSoftmax` over as many ids.
        tie_embeddings: whether the softmax takes the table of the word
            embeddings for its kernel; not with `"adaptive"` and `"class"`.
        use_cudnn: for the word-level GRUs; see `layers.PackedGRU`.
        seed: int for the latent draws and word dropout, optional.

    Call arguments:
        token_ids: int tensor of shape `(B, n, m)`: documents, sentences,
            words. Each sentence ends with `[EOS]` (3) and is padded with 0;
            sentences of padding only pad a document, documents of padding
            only pad a batch; none of them counts. Ids must be less than the
            vocabulary's size: `fit` and `evaluate` check arrays, and how
            other ids in a dataset fail is up to the backend.

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

    def __init__(
        self,
        vocabulary,
        latent_dim=32,
        embedding_dim=128,
        hidden_dim=256,
        transition="rnn",
        prior="shared",
        initial_prior="standard",
        backward="inclusive",
        dropout=0.0,
        word_dropout=0.5,
        kl_weight=1.0,
        free_bits=6.0,
        free_bits_mode="dimension",
        softmax="full",
        tie_embeddings=False,
        use_cudnn="auto",
        seed=None,
        name=None,
        dtype=None,
        **kwargs,
    ):
        preprocessor, vocabulary_size = read_vocabulary(vocabulary)
        check_positive_int(embedding_dim=embedding_dim, hidden_dim=hidden_dim)
        check_rate(dropout=dropout, word_dropout=word_dropout)
        # A seed each: generators with the same one draw the same numbers.
        dropout_seed, chain_seed, word_seed, softmax_seed = split_seed(seed)

        # === Layers ===
        embedding = layers.WordEmbedding(
            vocabulary_size, embedding_dim, dtype=dtype, name="token_embedding"
        )
        # Not as plain attributes: on PyTorch a module takes none before its
        # constructor. The functional model below tracks them all.
        self.__dict__.update(
            token_embedding=embedding,
            dropout=keras.layers.Dropout(
                dropout, dtype=dtype, seed=dropout_seed
            ),
            word_encoder=layers.WordEncoder(
                hidden_dim, use_cudnn, dtype=dtype, name="word_encoder"
            ),
            context_encoder=layers.ContextEncoder(
                hidden_dim, backward, dtype=dtype, name="context_encoder"
            ),
            latent_chain=layers.LatentChain(
                latent_dim,
                hidden_dim,
                transition,
                prior,
                initial_prior,
                chain_seed,
                dtype=dtype,
                name="latent_chain",
            ),
            kl=layers.DiagGaussianKL(
                kl_weight, free_bits, free_bits_mode, dtype=dtype, name="kl"
            ),
            word_dropout=layers.WordDropout(
                word_dropout, word_seed, name="drop"
            ),
            word_decoder=layers.WordDecoder(
                hidden_dim, use_cudnn, dtype=dtype, name="word_decoder"
            ),
            token_nll=make_softmax(
                softmax, embedding, tie_embeddings, softmax_seed
            ),
        )

        # === Functional Model ===
        token_ids = keras.Input((None, None), dtype="int32", name="token_ids")
        chain = self.read(token_ids)
        kl = self.kl(
            chain["mean"],
            chain["log_var"],
            chain["prior_mean"],
            chain["prior_log_var"],
            mask=sentence_mask(token_ids),
        )
        nll = self.token_nll(self.write(token_ids, chain["context"]), token_ids)
        outputs = {"nll": ops.sum(nll, axis=-1), "kl": kl}
        outputs.update({key: chain[key] for key in ("z", "mean", "log_var")})
        super().__init__(inputs=token_ids, outputs=outputs, name=name, **kwargs)
        # `compile` scales the loss by it; a functional model takes no `dtype`.
        self.dtype_policy = self.token_embedding.dtype_policy

        # === Config ===
        self.preprocessor = preprocessor
        self.vocabulary_size = vocabulary_size
        self.latent_dim = latent_dim
        self._config = {
            "latent_dim": latent_dim,
            "embedding_dim": embedding_dim,
            "hidden_dim": hidden_dim,
            "transition": transition,
            "prior": prior,
            "initial_prior": initial_prior,
            "backward": backward,
            "dropout": dropout,
            "word_dropout": word_dropout,
            "kl_weight": kl_weight,
            "free_bits": free_bits,
            "free_bits_mode": free_bits_mode,
            "softmax": softmax,
            "tie_embeddings": tie_embeddings,
            "use_cudnn": use_cudnn,
            "seed": seed,
        }
        self._nll = keras.metrics.Mean(name="nll")
        self._kl = keras.metrics.Mean(name="kl")
        self._kl_weight = CurrentValue(name="kl_weight")
        self._perplexity = Perplexity(name="perplexity")

    def read(self, token_ids, noise=None):
        """Posterior and prior of the latents: `LatentChain`'s dict."""
        words = self.dropout(self.token_embedding(token_ids))  # (B, n, m, E)
        sentences = self.word_encoder(words, mask=token_ids != PAD_ID)
        mask = sentence_mask(token_ids)
        contexts, backward = self.context_encoder(sentences, mask=mask)
        return self.latent_chain(contexts, backward, mask=mask, noise=noise)

    def write(self, token_ids, contexts):
        """Decoder states under teacher forcing: `(B, n, m, H)`."""
        previous = ops.pad(
            token_ids[..., :-1],
            ((0, 0), (0, 0), (1, 0)),
            constant_values=BOS_ID,
        )
        words = self.token_embedding(self.word_dropout(previous))
        states = self.word_decoder(
            self.dropout(words), contexts, mask=token_ids != PAD_ID
        )
        return self.dropout(states)

    @property
    def kl_weight(self):
        """The weight β of the KL in the training loss: a scalar variable."""
        return self.kl.kl_weight

    def call(self, inputs, training=None, mask=None):
        for token_ids in tree.flatten(inputs):
            check_token_ids(token_ids)
        return super().call(inputs, training=training, mask=mask)

    def fit(self, x=None, *args, **kwargs):
        self._check_arrays((x, kwargs.get("validation_data")))
        return super().fit(x, *args, **kwargs)

    def evaluate(self, x=None, *args, **kwargs):
        self._check_arrays(x)
        return super().evaluate(x, *args, **kwargs)

    def _check_arrays(self, x):
        for ids in tree.flatten(x):
            if isinstance(ids, np.ndarray) or ops.is_tensor(ids):
                check_token_ids(ids)
                check_ids(ops.convert_to_numpy(ids), self.vocabulary_size)

    def compute_loss(
        self,
        x=None,
        y=None,
        y_pred=None,
        sample_weight=None,
        training=True,
    ):
        """Sums the layers' losses; updates the metrics on the way."""
        if y is not None or sample_weight is not None:
            raise ValueError(
                "An HVAE takes batches of ids only, no targets and no "
                "`sample_weight`. Received: a batch of several tensors"
            )
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        (x,) = tree.flatten(x)
        documents = ops.any(x != PAD_ID, axis=(1, 2))  # (B,)
        tokens = ops.sum(ops.cast(x != PAD_ID, "float32"), axis=(1, 2))
        nll, kl = (
            ops.stop_gradient(ops.sum(y_pred[key], axis=1))
            for key in ("nll", "kl")
        )
        self._nll.update_state(nll, sample_weight=documents)
        self._kl.update_state(kl, sample_weight=documents)
        self._perplexity.update_state(nll + kl, tokens)
        self._kl_weight.update_state(self.kl_weight if training else 1.0)
        return loss

    def get_config(self):
        vocabulary = self.vocabulary_size
        if self.preprocessor is not None:
            vocabulary = keras.saving.serialize_keras_object(self.preprocessor)
        config = dict(self._config)
        if not isinstance(config["softmax"], str):
            config["softmax"] = keras.saving.serialize_keras_object(
                config["softmax"]
            )
        return {
            "vocabulary": vocabulary,
            **config,
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.saving.serialize_keras_object(
                self.token_embedding.dtype_policy
            ),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for key in ("vocabulary", "dtype", "softmax"):
            if isinstance(config.get(key), dict):
                config[key] = keras.saving.deserialize_keras_object(
                    config[key], custom_objects
                )
        return cls(**config)


def sentence_mask(token_ids):
    """True where a sentence has any word: `(B, n, m)` to `(B, n)`."""
    return ops.any(token_ids != PAD_ID, axis=-1)
