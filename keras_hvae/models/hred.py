"""The hierarchical recurrent encoder-decoder."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_hvae import layers
from keras_hvae.models.document_model import DocumentModel
from keras_hvae.seeds import split_seed
from keras_hvae.text.preprocessor import Preprocessor


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
        seed, dtype, name, **words: see `DocumentModel`, as are call
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
        vocabulary: int | Sequence[str] | Preprocessor,
        embedding_dim: int = 128,
        hidden_dim: int = 192,
        sentence_dropout: float = 0.0,
        seed: int | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        name: str | None = None,
        trainable: bool = True,
        **words,
    ) -> None:
        # === Layers ===
        self.emission = self.make_emission(
            vocabulary,
            words,
            embedding_dim=embedding_dim,
            hidden_dim=hidden_dim,
            seed=seed,
            dtype=dtype,
        )
        self.sentence_dropout = layers.SentenceDropout(
            sentence_dropout,
            split_seed(seed)["sentences"],
            dtype=dtype,
            name="sentence_dropout",
        )
        self.context_gru = layers.MaskedGRU(
            hidden_dim,
            return_sequences=True,
            dtype=dtype,
            name="context_gru",
        )
        self.seed = seed
        # === Functional Model ===
        super().__init__(name=name, trainable=trainable)

    def infer(
        self, x: Any, noise: keras.KerasTensor | None = None
    ) -> dict[str, keras.KerasTensor]:
        return {"context": self.past(x, self.emission.embed(x))}

    def past(
        self,
        x: Any,
        sentences: keras.KerasTensor,
        beside: keras.KerasTensor | None = None,
        initial_state: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        """The state before each sentence: `(B, n, H)`."""
        states = self.context_gru(
            self.sentence_dropout(sentences),
            self.emission.mask(x),
            beside=beside,
            initial_state=initial_state,
        )
        first = ops.zeros_like(states[:, :1])
        if initial_state is not None:
            first = initial_state[:, None]
        return ops.concatenate([first, states[:, :-1]], axis=1)

    def predict_context(
        self, x: Any, noise: keras.KerasTensor, given: keras.KerasTensor
    ) -> keras.KerasTensor:
        """Contexts of sentences that are still to be written.

        Args:
            x: a batch of documents. Only sentences before a position count
                for it.
            noise: ε of the latents from the prior, `(B, n, noise_dim)`.
            given: bool `(B, n)`, the sentences that were not written by the
                model itself.

        Returns:
            A tensor `(B, n, H)`.
        """
        return self.infer(x)["context"]

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "sentence_dropout": self.sentence_dropout.rate,
        }
