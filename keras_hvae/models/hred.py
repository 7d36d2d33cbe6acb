"""The hierarchical recurrent encoder-decoder."""

import keras
from keras import ops

from keras_hvae import layers
from keras_hvae.arguments import check_positive_int
from keras_hvae.ids import PAD_ID
from keras_hvae.layers.reductions import sentence_mask
from keras_hvae.models.document_model import DocumentModel
from keras_hvae.models.model_arguments import split_seed


@keras.saving.register_keras_serializable("keras_hvae")
class HRED(DocumentModel):
    """Hierarchical recurrent encoder-decoder: a model without latents.

    A GRU reads the words of each sentence, a GRU the sentences; a sentence is
    written from the state behind the sentences before it:
    p(x) = ∏_i p(x_i | x_1 … x_{i−1}).

    Args:
        vocabulary, embedding_dim, hidden_dim: see `DocumentModel`.
        sentence_dropout: rate at which the GRU over sentences gets a learned
            vector for a sentence; see `layers.SentenceDropout`.
        use_cudnn, seed, dtype, **options: see `DocumentModel`, as are call
            arguments, what is returned, and errors.

    Example:

    >>> model = HRED(["yes", "no"], embedding_dim=4, hidden_dim=8)
    >>> model.score(["yes", "no no"])["sentence_nll"].shape
    (2,)

    Reference:
        - [Sordoni et al., 2015](https://arxiv.org/abs/1507.02221)
        - [Serban et al., 2016](https://arxiv.org/abs/1507.04808)
    """

    def __init__(
        self,
        vocabulary,
        embedding_dim=128,
        hidden_dim=192,
        sentence_dropout=0.0,
        use_cudnn="auto",
        seed=None,
        dtype=None,
        **options,
    ):
        check_positive_int(hidden_dim=hidden_dim)
        self.__dict__.update(
            word_encoder=layers.WordEncoder(
                hidden_dim, use_cudnn, dtype=dtype, name="word_encoder"
            ),
            sentence_dropout=layers.SentenceDropout(
                sentence_dropout,
                split_seed(seed)["sentences"],
                dtype=dtype,
                name="sentence_dropout",
            ),
            context_gru=layers.MaskedGRU(
                hidden_dim,
                return_sequences=True,
                dtype=dtype,
                name="context_gru",
            ),
        )
        super().__init__(
            vocabulary,
            {"sentence_dropout": sentence_dropout},
            embedding_dim=embedding_dim,
            hidden_dim=hidden_dim,
            use_cudnn=use_cudnn,
            seed=seed,
            dtype=dtype,
            **options,
        )

    def read(self, token_ids, noise=None):
        return {"context": self.past(token_ids, self.sentences(token_ids))}

    def sentences(self, token_ids):
        """Sentence vectors h_i: `(B, n, H)`."""
        return self.word_encoder(
            self.token_embedding(token_ids), mask=token_ids != PAD_ID
        )

    def past(self, token_ids, sentences, beside=None, initial_state=None):
        """The state before each sentence: `(B, n, H)`."""
        states = self.context_gru(
            self.sentence_dropout(sentences),
            sentence_mask(token_ids),
            beside=beside,
            initial_state=initial_state,
        )
        first = ops.zeros_like(states[:, :1])
        if initial_state is not None:
            first = initial_state[:, None]
        return ops.concatenate([first, states[:, :-1]], axis=1)

    def predict_context(self, token_ids, noise, given):
        """Contexts of sentences that are still to be written.

        Args:
            token_ids: `(B, n, m)`. Only sentences before a position count
                for it.
            noise: ε of the latents from the prior, `(B, n, noise_dim)`.
            given: bool `(B, n)`, the sentences that were not written by the
                model itself.

        Returns:
            A tensor `(B, n, H)`.
        """
        return self.read(token_ids)["context"]
