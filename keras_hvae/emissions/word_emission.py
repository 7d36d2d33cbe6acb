"""Sentences of words as the steps of a document."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hvae import layers, samplers
from keras_hvae.arguments import check_positive_int, check_rate
from keras_hvae.emissions.documents import Documents, check_ids
from keras_hvae.emissions.emission import Emission
from keras_hvae.emissions.softmaxes import make_softmax
from keras_hvae.emissions.writing import never_written, write
from keras_hvae.ids import BOS_ID, PAD_ID
from keras_hvae.layers.reductions import sentence_mask
from keras_hvae.layers.text.dropout import ReplicaDropout
from keras_hvae.samplers.sampler import Sampler
from keras_hvae.seeds import split_seed
from keras_hvae.text.preprocessor import Preprocessor

# The longest sentence that is written if `max_words` is not given.
MAX_WORDS = 30


@keras.saving.register_keras_serializable("keras_hvae")
class WordEmission(Emission):
    """A step is a sentence: a GRU reads its words, another writes them.

    log p(x_i | context_i) = Σ_j log softmax(state_j)[x_ij], where state_j is
    that of a GRU that has read the words before j beside the context.

    A batch is an int tensor of ids `(B, n, m)`. Each sentence ends with
    `[EOS]` (3) and is padded with 0; sentences of padding only pad a document.

    Args:
        vocabulary_size: number of ids, the special ones included.
        embedding_dim: width of the word embeddings.
        hidden_dim: width of the GRU that reads: that of h_i.
        decoder_dim: width of the GRU that writes, twice `hidden_dim` if not
            given.
        dropout: rate of dropout in training, on the words that the decoder
            gets and on its states; none where words are read.
        word_dropout: rate at which the decoder's input words become `[UNK]`.
        bow_weight: weight of the bag-of-words loss in training; see
            `layers.BagOfWords`.
        softmax: over the words: `"full"`; `"adaptive"`, faster with many
            words (see `layers.AdaptiveSoftmax`); `"class"`
            (`layers.ClassSoftmax`); `"sampled"`, `"one_vs_each"` or
            `"nce"`, which are sampled in training; or another
            `layers.OutputSoftmax` over as many ids.
        tie_embeddings: whether the softmax takes the table of the word
            embeddings for its kernel; not with `"adaptive"` and `"class"`.
        use_cudnn: for the GRUs; see `layers.PackedGRU`.
        seed: int for dropout, optional.
        decoder: layer that writes the words; a `layers.WordDecoder` if not
            given. With one of its own, such as `layers.DocumentDecoder`, a
            model reads no sentence vectors.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> emission = WordEmission(20, embedding_dim=4, hidden_dim=8, seed=0)
    >>> ids = ops.array([[[5, 6, 3], [7, 3, 0]]])
    >>> tuple(emission.embed(ids).shape)
    (1, 2, 8)
    >>> tuple(emission.log_prob(ids, ops.zeros((1, 2, 5))).shape)
    (1, 2)
    """

    unit = "token"
    sampler = "top_p"

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int = 128,
        hidden_dim: int = 192,
        decoder_dim: int | None = None,
        dropout: float = 0.3,
        word_dropout: float = 0.0,
        bow_weight: float = 0.0,
        softmax: str | keras.layers.Layer = "full",
        tie_embeddings: bool = False,
        use_cudnn: bool | str = "auto",
        seed: int | None = None,
        decoder: keras.layers.Layer | None = None,
        **kwargs,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        check_positive_int(embedding_dim=embedding_dim, hidden_dim=hidden_dim)
        check_rate(dropout=dropout, word_dropout=word_dropout)
        if decoder is not None and decoder_dim is not None:
            raise ValueError(
                "`decoder_dim` is not for a model whose decoder is all it "
                f"has. Received: {decoder_dim}"
            )
        self.vocabulary_size = vocabulary_size
        self.embedding_dim = embedding_dim
        self.hidden_dim = hidden_dim
        self.decoder_dim = decoder_dim
        self.dropout_rate = dropout
        self.word_dropout_rate = word_dropout
        self.bow_weight = bow_weight
        self.softmax = softmax
        self.tie_embeddings = tie_embeddings
        self.use_cudnn = use_cudnn
        self.seed = seed
        self.own_decoder = decoder

        policy = self.dtype_policy
        # Different seeds: generators with equal seeds draw equal numbers.
        seeds = split_seed(seed)
        self.token_embedding = layers.WordEmbedding(
            vocabulary_size, embedding_dim, dtype=policy, name="token_embedding"
        )
        self.dropout = ReplicaDropout(
            dropout, dtype=policy, seed=seeds["dropout"]
        )
        self.word_dropout = layers.WordDropout(
            word_dropout, seeds["words"], name="drop"
        )
        self.word_encoder: Any = None
        if decoder is None:
            self.word_encoder = layers.WordEncoder(
                hidden_dim, use_cudnn, dtype=policy, name="word_encoder"
            )
            width = 2 * hidden_dim if decoder_dim is None else decoder_dim
            check_positive_int(decoder_dim=width)
            decoder = layers.WordDecoder(
                width, use_cudnn, dtype=policy, name="word_decoder"
            )
        self.word_decoder = decoder
        self.token_nll = make_softmax(
            softmax, self.token_embedding, tie_embeddings, seeds["softmax"]
        )
        self.bag_of_words = None
        if bow_weight:
            self.bag_of_words = layers.BagOfWords(
                vocabulary_size,
                hidden_dim,
                bow_weight,
                bias_initializer=layers.Zipf(),
                dtype=policy,
                name="bag_of_words",
            )

    def inputs(self) -> keras.KerasTensor:
        return keras.Input((None, None), dtype="int32", name="token_ids")

    def mask(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return sentence_mask(x)

    def embed(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return self.word_encoder(self.token_embedding(x), mask=x != PAD_ID)

    def states(
        self, x: keras.KerasTensor, context: keras.KerasTensor
    ) -> keras.KerasTensor:
        """Decoder states under teacher forcing: `(B, n, m, H)`."""
        previous = ops.pad(
            x[..., :-1], ((0, 0), (0, 0), (1, 0)), constant_values=BOS_ID
        )
        words = self.token_embedding(self.word_dropout(previous))
        states = self.word_decoder(
            self.dropout(words), context, mask=x != PAD_ID
        )
        return self.dropout(states)

    def log_prob(
        self, x: keras.KerasTensor, context: keras.KerasTensor
    ) -> keras.KerasTensor:
        states = self.states(x, context)
        if not self.token_nll.built:  # `nll` of a layer does not build it
            self.token_nll.build(states.shape, x.shape)
        return -ops.sum(self.token_nll.nll(states, x), axis=-1)

    def nll(
        self, x: keras.KerasTensor, context: keras.KerasTensor
    ) -> keras.KerasTensor:
        if self.bag_of_words is not None:
            context = self.bag_of_words(context, x)
        return ops.sum(self.token_nll(self.states(x, context), x), axis=-1)

    def best(
        self, x: keras.KerasTensor, context: keras.KerasTensor
    ) -> keras.KerasTensor:
        """The most probable word after the true ones before, `(B, n, m)`."""
        states = self.states(x, context)
        banned = never_written(self.vocabulary_size)

        # A sentence at a time: all logits at once would take much memory.
        def best(row):
            return ops.argmax(self.token_nll.logits(row) + banned, axis=-1)

        rows = ops.reshape(states, (-1, ops.shape(states)[2], states.shape[-1]))
        return ops.reshape(ops.map(best, rows), ops.shape(x))

    def sample(
        self,
        context: keras.KerasTensor,
        uniforms: keras.KerasTensor,
        real: keras.KerasTensor,
        sampler: Sampler | None = None,
        softmax: keras.layers.Layer | None = None,
    ) -> keras.KerasTensor:
        """Words of each sentence: ids `(B, n, k)`, `[EOS]` included.

        Args:
            context, uniforms, real: see `Emission`.
            sampler: a sampler; greedy if not given.
            softmax: layer with `logits`; the model's if not given.
        """
        return write(
            self,
            context,
            uniforms,
            real,
            samplers.get("greedy") if sampler is None else sampler,
            self.token_nll if softmax is None else softmax,
        )

    def sample_options(
        self,
        sampler: str | Sampler | None = None,
        softmax: Any = None,
        **options,
    ) -> dict:
        if softmax is not None:
            self._check_softmax(softmax)
        name = "greedy" if sampler is None else sampler
        return {"sampler": samplers.get(name, **options), "softmax": softmax}

    def num_uniforms(self, max_words: int | None = None) -> int:
        max_words = MAX_WORDS if max_words is None else max_words
        check_positive_int(max_words=max_words)
        return max_words + 1

    def decoder_layers(self) -> list[keras.layers.Layer]:
        return [self.word_decoder, self.token_nll]

    def _check_softmax(self, softmax):
        size = getattr(softmax, "vocabulary_size", None)
        if size != self.vocabulary_size or not softmax.built:
            raise ValueError(
                "`softmax` must be a built layer with logits of the model's "
                f"{self.vocabulary_size} ids, such as an SVDSoftmax. "
                f"Received: {softmax!r}"
            )

    # === Data of the user ===

    def read(
        self,
        sequences: Sequence | np.ndarray,
        preprocessor: Preprocessor | None = None,
    ) -> Documents:
        return Documents(sequences, preprocessor, self.vocabulary_size)

    def check(self, x: np.ndarray) -> None:
        dtype = keras.backend.standardize_dtype(x.dtype)
        if len(x.shape) != 3 or "int" not in dtype:
            raise ValueError(
                "`token_ids` must be an integer tensor of rank 3, (documents, "
                f"sentences, words). Received: {dtype} of shape "
                f"{tuple(x.shape)}"
            )
        if isinstance(x, np.ndarray):
            check_ids(x, self.vocabulary_size)

    def batch(self, sequences: Sequence[np.ndarray]) -> np.ndarray:
        shape = np.max([x.shape for x in sequences], axis=0)
        shape += -shape % (2, 8)  # rounded up: fewer shapes are compiled
        ids = np.zeros((len(sequences), *shape), "int32")
        for row, document in zip(ids, sequences):
            row[: document.shape[0], : document.shape[1]] = document
        return ids

    def unbatch(self, x: np.ndarray) -> list[np.ndarray]:
        documents = []
        for row in x:
            length = (row != PAD_ID).any(axis=-1).sum()
            words = (row != PAD_ID).any(axis=0).sum()
            documents.append(row[:length, :words])
        return documents

    def checked_batch(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x)
        if x.ndim != 3 or x.dtype.kind not in "iu":
            raise ValueError(
                "`dataset` must give batches of int ids (documents, "
                f"sentences, words). Received: {x.dtype} of shape {x.shape}"
            )
        return x.astype("int32", copy=False)

    def crc32(self, steps: np.ndarray) -> int:
        # The checksum must not depend on the padding.
        return super().crc32(steps[steps != PAD_ID].astype("int32"))

    def units(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return ops.sum(ops.cast(x != PAD_ID, "float32"), axis=-1)

    def get_config(self) -> dict:
        config = {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            **self.arguments(),
            "seed": self.seed,
        }
        if self.own_decoder is not None:
            config["decoder"] = keras.saving.serialize_keras_object(
                self.own_decoder
            )
        return config

    def arguments(self) -> dict:
        """The arguments that shape the words, as a model's config has them."""
        softmax = self.softmax
        if not isinstance(softmax, str):
            softmax = keras.saving.serialize_keras_object(softmax)
        return {
            "embedding_dim": self.embedding_dim,
            "hidden_dim": self.hidden_dim,
            "decoder_dim": self.decoder_dim,
            "dropout": self.dropout_rate,
            "word_dropout": self.word_dropout_rate,
            "bow_weight": self.bow_weight,
            "softmax": softmax,
            "tie_embeddings": self.tie_embeddings,
            "use_cudnn": self.use_cudnn,
        }

    @classmethod
    def from_config(cls, config: dict):
        config = dict(config)
        for key in ("softmax", "decoder"):
            if isinstance(config.get(key), dict):
                config[key] = keras.saving.deserialize_keras_object(config[key])
        return cls(**config)
