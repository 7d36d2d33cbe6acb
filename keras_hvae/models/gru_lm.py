"""The GRU language model."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_hvae import layers
from keras_hvae.arguments import check_positive_int
from keras_hvae.models.document_model import DocumentModel
from keras_hvae.text.preprocessor import Preprocessor


@keras.saving.register_keras_serializable("keras_hvae")
class GRULM(DocumentModel):
    """GRU language model: a GRU writes word after word, nothing else.

    Args:
        vocabulary, embedding_dim, hidden_dim: see `DocumentModel`.
        scope: `"document"`: the GRU reads on from sentence to sentence;
            `"sentence"`: it starts anew with each.
        use_cudnn, seed, dtype, name, **words: see `DocumentModel`, as are call
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
        vocabulary: int | Sequence[str] | Preprocessor,
        embedding_dim: int = 128,
        hidden_dim: int = 384,
        scope: str = "document",
        use_cudnn: bool | str = "auto",
        seed: int | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        name: str | None = None,
        trainable: bool = True,
        **words,
    ) -> None:
        check_positive_int(hidden_dim=hidden_dim)
        # === Layers ===
        self.emission = self.make_emission(
            vocabulary,
            words,
            embedding_dim=embedding_dim,
            hidden_dim=hidden_dim,
            use_cudnn=use_cudnn,
            seed=seed,
            dtype=dtype,
            decoder=layers.DocumentDecoder(
                hidden_dim, scope, use_cudnn, dtype=dtype, name="word_decoder"
            ),
        )
        self.seed = seed
        # === Functional Model ===
        super().__init__(name=name, trainable=trainable)

    def infer(
        self, x: Any, noise: keras.KerasTensor | None = None
    ) -> dict[str, keras.KerasTensor]:
        return {}

    def predict_context(
        self, x: Any, noise: keras.KerasTensor, given: keras.KerasTensor
    ) -> keras.KerasTensor:
        """The states of the GRU before each sentence; see `HRED`'s."""
        states = self.emission.states(x, None)
        return self.emission.word_decoder.contexts_of(states)

    def get_config(self) -> dict:
        decoder = self.emission.word_decoder
        return {**super().get_config(), "scope": decoder.scope}
