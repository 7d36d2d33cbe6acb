"""What all models of documents have in common."""

import keras
import numpy as np
from keras import ops, tree

from keras_hvae import layers
from keras_hvae.arguments import check_positive_int, check_rate
from keras_hvae.ids import BOS_ID, PAD_ID
from keras_hvae.inference.documents import check_ids
from keras_hvae.inference.writing_verbs import WritingVerbs
from keras_hvae.layers.reductions import sentence_mask
from keras_hvae.metrics import CurrentValue, Perplexity
from keras_hvae.models.model_arguments import (
    check_token_ids,
    make_softmax,
    read_vocabulary,
    split_seed,
)
from keras_hvae.presets.preset import PresetMixin
from keras_hvae.vocabularies import check_vocabulary


class DocumentModel(PresetMixin, WritingVerbs):
    """A model of documents: what `HVAE` and its baselines share.

    A model reads a document's sentences and gives each a *context*; a decoder
    writes a sentence's words from its context. Where a sentence has a latent,
    the KL of its posterior to its prior counts too. A subclass defines
    `read`, and gives its own layers and arguments to the constructor.

    The loss of a document is Σ −log p(word) + β Σ KL, in nats, averaged over
    the documents of a batch. It enters through `add_loss`: `compile` needs no
    `loss`, `fit` no targets.

    `fit` and `evaluate` report, per document, `nll` (the first sum), `loss`
    (what was optimised; in `evaluate` nll + kl, that is −ELBO), and
    `perplexity`, exp((Σ nll + Σ kl) / tokens): of a model with latents an
    upper bound of the true one (of training with a sampled softmax, nll is
    the sampled loss). A model with latents also reports `kl` (without β or
    free bits) and the `kl_weight` β. Keras averages `loss` over batches by
    their number of rows; only where some of these are documents of padding
    does it differ from the other sums.

    Args:
        vocabulary: the words in order of falling frequency (the softmax
            starts from Zipf's law): a `keras_hvae.text.Preprocessor` (such
            as `corpus.vocabulary`), a list of words, or, for a model of ids
            only, the number of ids.
        config: the subclass' own arguments, for `get_config`.
        latent_dim: dimension d of each latent; 0 for a model without.
        embedding_dim: width of the word embeddings.
        hidden_dim: width of the GRUs that read.
        decoder_dim: width of the GRU that writes, twice `hidden_dim` if not
            given.
        dropout: rate of dropout in training, on the words that the decoder
            gets and on its states; none in the encoders.
        word_dropout: rate at which the decoder's input words become `[UNK]`.
        kl_weight: β to start with; `KLAnnealing` changes it.
        free_bits: floor of the KL in training, in nats a sentence.
        free_bits_mode: `"dimension"`, `"sentence"` or `"batch"`; see
            `layers.DiagGaussianKL`.
        bow_weight: weight of the bag-of-words loss in training; see
            `layers.BagOfWords`. It is part of `loss` in `fit` only.
        softmax: over the words: `"full"`; `"adaptive"`, faster with many
            words (see `layers.AdaptiveSoftmax`); `"class"`
            (`layers.ClassSoftmax`); `"sampled"`, `"one_vs_each"` or
            `"nce"`, which are sampled in training; or another
            `layers.OutputSoftmax` over as many ids.
        tie_embeddings: whether the softmax takes the table of the word
            embeddings for its kernel; not with `"adaptive"` and `"class"`.
        use_cudnn: for the word-level GRUs; see `layers.PackedGRU`.
        seed: int for latent draws and dropout, optional.
        decoder: layer that writes the words; a `layers.WordDecoder` if not
            given.

    Call arguments:
        token_ids: int tensor of shape `(B, n, m)`: documents, sentences,
            words. Each sentence ends with `[EOS]` (3) and is padded with 0;
            sentences of padding only pad a document, documents of padding
            only pad a batch; none of them counts. Ids must be less than the
            vocabulary's size: `fit` and `evaluate` check arrays, and how
            other ids in a dataset fail is up to the backend.

    Returns:
        A dict: `"nll"`, and with latents `"kl"`, `(B, n)`, nats; with
        latents also `"z"`, `"mean"`, `"log_var"`, `(B, n, d)`.

    Raises:
        TypeError: for an argument that the model does not have.
        ValueError: for an argument out of range, or ids that are not of rank
            3 and an integer type.
    """

    # Whether the terms of sentences 2 … n alone bound their likelihood given
    # the text before. Not so where they share latents with the first one.
    conditional_terms = True

    def __init__(
        self,
        vocabulary,
        config=None,
        latent_dim=0,
        embedding_dim=128,
        hidden_dim=192,
        decoder_dim=None,
        dropout=0.3,
        word_dropout=0.0,
        kl_weight=1.0,
        free_bits=0.0,
        free_bits_mode="dimension",
        bow_weight=0.0,
        softmax="full",
        tie_embeddings=False,
        use_cudnn="auto",
        seed=None,
        decoder=None,
        name=None,
        dtype=None,
        **kwargs,
    ):
        if unknown := sorted(set(kwargs) - {"trainable"}):  # Keras takes any
            raise TypeError(
                f"{type(self).__name__} has no such arguments. "
                f"Received: {', '.join(unknown)}"
            )
        preprocessor, vocabulary_size = read_vocabulary(vocabulary)
        check_positive_int(embedding_dim=embedding_dim, hidden_dim=hidden_dim)
        if decoder is None:
            width = 2 * hidden_dim if decoder_dim is None else decoder_dim
            check_positive_int(decoder_dim=width)
            decoder = layers.WordDecoder(
                width, use_cudnn, dtype=dtype, name="word_decoder"
            )
        elif decoder_dim is not None:
            raise ValueError(
                "`decoder_dim` is not for a model whose decoder is all it "
                f"has. Received: {decoder_dim}"
            )
        check_rate(dropout=dropout, word_dropout=word_dropout)
        # A seed each: generators with the same one draw the same numbers.
        seeds = split_seed(seed)

        # === Layers ===
        embedding = layers.WordEmbedding(
            vocabulary_size, embedding_dim, dtype=dtype, name="token_embedding"
        )
        # Not as plain attributes: on PyTorch a module takes none before its
        # constructor. The functional model below tracks them all.
        self.__dict__.update(
            token_embedding=embedding,
            dropout=keras.layers.Dropout(
                dropout, dtype=dtype, seed=seeds["dropout"]
            ),
            word_dropout=layers.WordDropout(
                word_dropout, seeds["words"], name="drop"
            ),
            word_decoder=decoder,
            token_nll=make_softmax(
                softmax, embedding, tie_embeddings, seeds["softmax"]
            ),
        )
        if latent_dim:
            self.__dict__["kl"] = layers.DiagGaussianKL(
                kl_weight, free_bits, free_bits_mode, dtype=dtype, name="kl"
            )
        elif kl_weight != 1.0 or free_bits or bow_weight:
            raise ValueError(
                "`kl_weight`, `free_bits` and `bow_weight` are for models "
                f"with latents. Received: kl_weight={kl_weight}, "
                f"free_bits={free_bits}, bow_weight={bow_weight}"
            )
        if bow_weight:
            self.__dict__["bag_of_words"] = layers.BagOfWords(
                vocabulary_size,
                hidden_dim,
                bow_weight,
                bias_initializer=layers.Zipf(),
                dtype=dtype,
                name="bag_of_words",
            )

        # === Functional Model ===
        token_ids = keras.Input((None, None), dtype="int32", name="token_ids")
        reading = self.read(token_ids)
        if latent_dim and "mean" not in reading:
            raise ValueError(
                f"`latent_dim` is not for {type(self).__name__}, which has no "
                f"latents. Received: {latent_dim}"
            )
        outputs = {}
        if latent_dim:
            outputs["kl"] = self.kl(
                reading["mean"],
                reading["log_var"],
                reading["prior_mean"],
                reading["prior_log_var"],
                mask=sentence_mask(token_ids),
            )
        context = reading.get("context")
        if bow_weight:
            context = self.bag_of_words(context, token_ids)
        hidden = self.write(token_ids, context)
        nll = self.token_nll(hidden, token_ids)
        outputs["nll"] = ops.sum(nll, axis=-1)
        if latent_dim:
            outputs |= {key: reading[key] for key in ("z", "mean", "log_var")}
        super().__init__(inputs=token_ids, outputs=outputs, name=name, **kwargs)
        # `compile` scales the loss by it; a functional model takes no `dtype`.
        self.dtype_policy = self.token_embedding.dtype_policy

        # === Config ===
        self.preprocessor = preprocessor
        self.vocabulary_size = vocabulary_size
        self.latent_dim = latent_dim
        self._config = {
            **(config or {}),
            "embedding_dim": embedding_dim,
            "hidden_dim": hidden_dim,
            "decoder_dim": decoder_dim,
            "dropout": dropout,
            "word_dropout": word_dropout,
            "softmax": softmax,
            "tie_embeddings": tie_embeddings,
            "use_cudnn": use_cudnn,
            "seed": seed,
        }
        self._nll = keras.metrics.Mean(name="nll")
        if latent_dim:
            self._config |= {
                "latent_dim": latent_dim,
                "kl_weight": kl_weight,
                "free_bits": free_bits,
                "free_bits_mode": free_bits_mode,
                "bow_weight": bow_weight,
            }
            self._kl = keras.metrics.Mean(name="kl")
            self._kl_weight = CurrentValue(name="kl_weight")
        self._perplexity = Perplexity(name="perplexity")

    def read(self, token_ids, noise=None):
        """Contexts of the sentences and, with latents, their Gaussians.

        Args:
            token_ids: `(B, n, m)`.
            noise: optional ε of the latents, `(B, n, noise_dim)`; zeros give
                the path of the posterior means.

        Returns:
            A dict: `"context"`, `(B, n, H)`; with latents also `"z"`,
            `"mean"`, `"log_var"`, `"prior_mean"` and `"prior_log_var"`,
            float32 `(B, n, d)`.
        """
        raise NotImplementedError

    def write(self, token_ids, contexts):
        """Decoder states under teacher forcing: `(B, n, m, H)`."""
        words = self.previous_words(token_ids)
        states = self.word_decoder(words, contexts, mask=token_ids != PAD_ID)
        return self.dropout(states)

    def decoder_layers(self):
        """The layers that write: what is reset, or held fixed, by cures."""
        return [self.word_decoder, self.token_nll]

    def previous_words(self, token_ids):
        """Embeddings of the words before each, to write: `(B, n, m, E)`."""
        previous = ops.pad(
            token_ids[..., :-1],
            ((0, 0), (0, 0), (1, 0)),
            constant_values=BOS_ID,
        )
        return self.dropout(self.token_embedding(self.word_dropout(previous)))

    @property
    def noise_dim(self):
        """Width of the ε of a sentence that `read` takes."""
        return self.latent_dim

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
        # TensorFlow would trace a step twice that creates variables.
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return super().fit(x, *args, **kwargs)

    def evaluate(self, x=None, *args, **kwargs):
        self._check_arrays(x)
        return super().evaluate(x, *args, **kwargs)

    def _check_arrays(self, x):
        check_vocabulary(self, *tree.flatten(x))
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
                f"{type(self).__name__} takes batches of ids only, no targets "
                "and no `sample_weight`. Received: a batch of several tensors"
            )
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        (x,) = tree.flatten(x)
        documents = ops.any(x != PAD_ID, axis=(1, 2))  # (B,)
        tokens = ops.sum(ops.cast(x != PAD_ID, "float32"), axis=(1, 2))
        nats = nll = ops.stop_gradient(ops.sum(y_pred["nll"], axis=1))
        self._nll.update_state(nll, sample_weight=documents)
        if self.latent_dim:
            kl = ops.stop_gradient(ops.sum(y_pred["kl"], axis=1))
            nats = nll + kl
            self._kl.update_state(kl, sample_weight=documents)
            self._kl_weight.update_state(self.kl_weight if training else 1.0)
        self._perplexity.update_state(nats, tokens)
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
