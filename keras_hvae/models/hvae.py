"""The hierarchical variational autoencoder."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_hvae import layers
from keras_hvae.arguments import check_choice
from keras_hvae.emissions.emission import Emission
from keras_hvae.layers.latent.latent_chain import PASTS
from keras_hvae.models.document_model import DocumentModel
from keras_hvae.seeds import split_seed
from keras_hvae.text.preprocessor import Preprocessor

RATE = 5.0  # nats a sentence


@keras.saving.register_keras_serializable("keras_hvae")
class HVAE(DocumentModel):
    """Hierarchical variational autoencoder of sequences of sentences.

    A document x has sentences x_1 … x_n. Each has its own diagonal-Gaussian
    latent z_i, and the latents form a chain:

    p(x, z) = p(z_1) ∏_{i≥2} p(z_i | z_{i−1}) ∏_i p(x_i | z_i)

    or, with `past="text"`,

    p(x, z) = p(z_1) ∏_{i≥2} p(z_i | z_{i−1}, x_<i) ∏_i p(x_i | z_i, x_<i)

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
        past: `"latents"`: what earlier sentences say reaches later ones
            through the chain alone; `"text"`: prior and decoder know the text
            before, too, as in `HRED`. Such a model cannot `decode` latents or
            `interpolate`, as there is no text then.
        inference: `"smoothing"`: the posterior of z_1 reads the whole
            document; `"filtering"`: q_i reads x_1 … x_i only, so that a chat
            goes on from the latents that it had. If not given, `"smoothing"`,
            but `"filtering"` with `past="text"`, which reads what it writes:
            no latent may change as the text grows. (The terms of sentences
            2 … n then bound what the *filter* predicts, ∫ q(z_1 | x_1)
            p(x_2 … x_n | z_1), which is their likelihood given x_1 only if
            q(z_1 | x_1) is exact.)
        mean_norm: optional γ of batch normalisation of the posterior means;
            see `layers.MeanNorm`.
        rate: information that the latents are to carry, nats a sentence; see
            `layers.MinimumRate`. 0: none is asked for. If neither it nor
            `free_bits` is given, 5.
        free_bits: floor of the KL, nats a sentence, in place of a `rate`.
        bounded: see `layers.LatentChain`; if not given, with a `rate`.
        kl_weight, free_bits_mode, seed: see `DocumentModel`.
        emission: optional `emissions.Emission` in place of a vocabulary:
            with `BernoulliEmission(88)`, a Deep Markov Model of frames.
        dtype: policy, optional.
        name: optional.
        **words: `decoder_dim`, `dropout`, `word_dropout`, `bow_weight`,
            `softmax`, `tie_embeddings` and `use_cudnn`; see
            `emissions.WordEmission`.

    Call arguments:
        x: int tensor of ids `(B, n, m)`; see `DocumentModel`.

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
    ['kl', 'kl_weight', 'loss', 'multiplier', 'nll', 'perplexity', 'rate']
    """

    latent_structure = "chain"
    # z_1 is drawn from q, not from p(z_1 | x_1).
    conditional_terms = False

    def __init__(
        self,
        vocabulary: int | Sequence[str] | Preprocessor | None = None,
        latent_dim: int = 32,
        embedding_dim: int = 128,
        hidden_dim: int = 192,
        transition: str = "concat",
        prior: str = "shared",
        initial_prior: str = "standard",
        backward: str = "inclusive",
        inference: str | None = None,
        mean_norm: float | None = None,
        kl_weight: float = 1.0,
        free_bits: float | None = None,
        free_bits_mode: str = "dimension",
        seed: int | None = None,
        emission: Emission | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        name: str | None = None,
        trainable: bool = True,
        past: str = "latents",
        rate: float | None = None,
        bounded: bool | None = None,
        **words,
    ) -> None:
        self.latent_dim = latent_dim
        if rate is None and free_bits is None:
            rate = RATE
        if free_bits is None:
            free_bits = 0.0
        if bounded is None:
            bounded = bool(rate)
        check_choice(PASTS, past=past)
        if past == "text":
            if type(self).latent_structure != "chain":
                raise ValueError(
                    '`past` must be "latents" where sentences do not depend on '
                    f"each other. Received: {past!r}"
                )
            if inference == "smoothing":
                raise ValueError(
                    '`inference` must be "filtering" with `past="text"`, which '
                    "reads what it writes: no latent may change as the text "
                    "grows. "
                    f"Received: {inference!r}"
                )
            self.latent_structure = "conditional chain"
        if inference is None:
            inference = "filtering" if past == "text" else "smoothing"
        # === Layers ===
        self.emission = self.make_emission(
            vocabulary,
            words,
            emission,
            embedding_dim=embedding_dim,
            hidden_dim=hidden_dim,
            seed=seed,
            dtype=dtype,
        )
        self.context_encoder = layers.ContextEncoder(
            hidden_dim,
            backward,
            inference,
            dtype=dtype,
            name="context_encoder",
        )
        self.latent_chain = layers.LatentChain(
            latent_dim,
            hidden_dim,
            transition,
            prior,
            initial_prior,
            split_seed(seed)["latents"],
            mean_norm,
            past,
            bounded,
            dtype=dtype,
            name="latent_chain",
        )
        self.kl = layers.DiagGaussianKL(
            kl_weight, free_bits, free_bits_mode, rate, dtype=dtype, name="kl"
        )
        self.seed = seed
        # === Functional Model ===
        super().__init__(name=name, trainable=trainable)

    def infer(
        self, x: Any, noise: keras.KerasTensor | None = None
    ) -> dict[str, keras.KerasTensor]:
        """Posterior and prior of the latents: `LatentChain`'s dict."""
        mask = self.emission.mask(x)
        sentences = self.emission.embed(x)
        contexts, backward = self.context_encoder(sentences, mask=mask)
        return self.latent_chain(contexts, backward, mask=mask, noise=noise)

    def decoder_layers(self) -> list[keras.layers.Layer]:
        return [*super().decoder_layers(), self.latent_chain.lat2dec]

    def predict_context(
        self, x: Any, noise: keras.KerasTensor, given: keras.KerasTensor
    ) -> keras.KerasTensor:
        """Contexts of sentences that are still to be written.

        With `past="text"`: see `HRED.predict_context` and
        `LatentChain.write_path`.
        """
        contexts, backward = self.context_encoder(
            self.emission.embed(x), mask=self.emission.mask(x)
        )
        return self.latent_chain.write_path(contexts, backward, noise, given)

    def roll_out(
        self,
        noise: keras.KerasTensor,
        previous: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        """Latents from the prior: see `LatentChain.roll_out`."""
        return self.latent_chain.roll_out(noise, previous)

    def decoder_context(self, z: keras.KerasTensor) -> keras.KerasTensor:
        """What a sentence is written from: `(..., d)` to `(..., H)`."""
        return self.latent_chain.decoder_context(z)

    def get_config(self) -> dict:
        chain, encoder = self.latent_chain, self.context_encoder
        return {
            **super().get_config(),
            "hidden_dim": chain.units,
            "transition": chain.transition,
            "prior": chain.prior,
            "initial_prior": chain.initial_prior,
            "backward": encoder.backward,
            "inference": encoder.inference,
            "past": chain.past,
            "mean_norm": chain.mean_norm,
            "bounded": chain.bounded,
        }
