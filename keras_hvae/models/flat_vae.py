"""The variational autoencoder of single sentences."""

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from keras_hvae.models.hvae import HVAE


@keras.saving.register_keras_serializable("keras_hvae")
class FlatVAE(HVAE):
    """Variational autoencoder of sentences; documents are bags of them.

    Bowman et al.'s VAE from the layers of `HVAE`: an `HVAE` that is given
    each sentence as a document of its own. So it has no chain: every latent
    has the first one's prior.

    Args:
        vocabulary, latent_dim and all others: see `HVAE`, as are call
            arguments, what is returned, and errors. `transition` and `prior`
            change nothing.

    Example:

    >>> model = FlatVAE(["yes", "no"], 2, 4, 8)
    >>> scores = model.score([["yes", "no no"], ["no"]], seed=0)
    >>> scores["sentence_kl"].shape
    (2, 2)

    Reference:
        - [Bowman et al., 2016](https://arxiv.org/abs/1511.06349)
    """

    latent_structure = "independent"
    conditional_terms = True

    def infer(
        self, x: Any, noise: keras.KerasTensor | None = None
    ) -> dict[str, keras.KerasTensor]:
        if "each_sentence" not in self.__dict__:
            self.each_sentence = _EachSentence(
                self.context_encoder, self.latent_chain
            )
        return self.each_sentence(
            self.emission.embed(x), self.emission.mask(x), noise=noise
        )

    def fit_initial_prior(
        self, dataset: Iterable, moments: bool = False
    ) -> None:
        """As `HVAE`'s: the averages run over all sentences."""
        super().fit_initial_prior(map(self._as_sentences, dataset), moments)

    def _as_sentences(self, x):
        """A batch in which each sentence is a document of its own."""
        documents = self.emission.unbatch(
            keras.tree.map_structure(ops.convert_to_numpy, x)
        )
        sentences = [x[i : i + 1] for x in documents for i in range(len(x))]
        return self.emission.batch(sentences) if sentences else x

    def roll_out(
        self,
        noise: keras.KerasTensor,
        previous: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        batch, sentences, width = ops.shape(noise)
        flat = super().roll_out(ops.reshape(noise, (-1, 1, width)))
        return ops.reshape(flat, (batch, sentences, width))


class _EachSentence(keras.layers.Layer):
    """Gives each sentence as a document to a context encoder and a chain."""

    def __init__(self, context_encoder, latent_chain):
        super().__init__(
            dtype=latent_chain.dtype_policy,
            autocast=False,
            name="each_sentence",
        )
        self.context_encoder = context_encoder
        self.latent_chain = latent_chain

    def build(self, sentences_shape, *args, **kwargs):
        units = self.context_encoder.units
        self.context_encoder.build((None, 1, sentences_shape[-1]))
        self.latent_chain.build((None, 1, units), (None, units))

    def call(self, sentences, mask, noise=None):
        batch, count, width = ops.shape(sentences)
        mask = ops.reshape(mask, (-1, 1))
        contexts, backward = self.context_encoder(
            ops.reshape(sentences, (-1, 1, width)), mask=mask
        )
        if noise is not None:
            noise = ops.reshape(noise, (-1, 1, self.latent_chain.latent_dim))
        chain = self.latent_chain(contexts, backward, mask=mask, noise=noise)
        return {
            key: ops.reshape(x, (batch, count, x.shape[-1]))
            for key, x in chain.items()
        }

    def compute_mask(self, *args, **kwargs):
        return None  # The mask is an argument of `call`; the result has none.

    def compute_output_spec(self, sentences, *args, **kwargs):
        contexts, _ = self.context_encoder.compute_output_spec(sentences)
        return self.latent_chain.compute_output_spec(contexts)
