"""The GRU language model."""

import keras

from keras_hvae import layers
from keras_hvae.arguments import check_positive_int
from keras_hvae.ids import PAD_ID
from keras_hvae.models.document_model import DocumentModel


@keras.saving.register_keras_serializable("keras_hvae")
class GRULM(DocumentModel):
    """GRU language model: a GRU writes word after word, nothing else.

    Args:
        vocabulary, embedding_dim, hidden_dim: see `DocumentModel`.
        scope: `"document"`: the GRU reads on from sentence to sentence;
            `"sentence"`: it starts anew with each.
        use_cudnn, dtype, **options: see `DocumentModel`, as are call
            arguments, what is returned, and errors.

    Example:

    >>> model = GRULM(["yes", "no"], embedding_dim=4, hidden_dim=8)
    >>> model.score(["yes", "no no"])["sentence_nll"].shape
    (2,)

    Reference:
        - [Mikolov et al., 2010](https://www.isca-archive.org/interspeech_2010/mikolov10_interspeech.html)
    """

    def __init__(
        self,
        vocabulary,
        embedding_dim=128,
        hidden_dim=384,
        scope="document",
        use_cudnn="auto",
        dtype=None,
        **options,
    ):
        check_positive_int(hidden_dim=hidden_dim)
        super().__init__(
            vocabulary,
            {"scope": scope},
            embedding_dim=embedding_dim,
            hidden_dim=hidden_dim,
            use_cudnn=use_cudnn,
            decoder=layers.DocumentDecoder(
                hidden_dim, scope, use_cudnn, dtype=dtype, name="word_decoder"
            ),
            dtype=dtype,
            **options,
        )

    def read(self, token_ids, noise=None):
        return {}

    def write(self, token_ids, contexts=None):
        return self.dropout(self._states(token_ids))

    def predict_context(self, token_ids, noise, given):
        return self.word_decoder.contexts(self._states(token_ids))

    def _states(self, token_ids):
        return self.word_decoder(
            self.previous_words(token_ids), token_ids != PAD_ID
        )
