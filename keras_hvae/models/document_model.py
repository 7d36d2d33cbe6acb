"""The base class of models of documents."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_hvae.emissions import Emission, WordEmission
from keras_hvae.inference.generation import GenerationMethods
from keras_hvae.metrics import CurrentValue, Perplexity
from keras_hvae.models.distributed_training import DistributedTraining
from keras_hvae.models.saved_parts import read_parts
from keras_hvae.models.training_arguments import announced, refuse_ignored
from keras_hvae.models.vocabulary import read_vocabulary
from keras_hvae.presets.preset import PresetMixin
from keras_hvae.text.preprocessor import Preprocessor
from keras_hvae.vocabularies import check_vocabulary


class DocumentModel(PresetMixin, DistributedTraining, GenerationMethods):
    """A model of documents: what `HVAE` and its baselines share.

    A model reads the sentences of a document and gives each a *context*; an
    emission (`keras_hvae.emissions`) reads sentences and writes them from
    their contexts. Where a sentence has a latent, the KL of its posterior to
    its prior counts too. A subclass makes its layers, defines `infer`, and
    says what its latents are in `latent_structure`.

    The loss of a document is Σ −log p(sentence) + β Σ KL, in nats, averaged
    over the documents of a batch. Its two terms enter by `add_loss`, that of
    the emission and that of the layer `kl`: `compile` needs no `loss`, `fit`
    no targets.

    `fit` and `evaluate` report, per document, `nll` (the first sum), `loss`
    (what was optimised; in `evaluate` nll + kl, that is −ELBO), and, of
    words, `perplexity`, exp((Σ nll + Σ kl) / tokens): of a model with latents
    an upper bound of the true one (of training with a sampled softmax, nll is
    the sampled loss). A model with latents also reports `kl` (without β or
    free bits) and the `kl_weight` β; one with a `rate` also the `rate` that
    the training has reached and its `multiplier`, see
    `layers.MinimumRate`. Keras averages `loss` over batches by
    their number of rows; only where some of these are documents of padding
    does it differ from the other sums.

    Args:
        vocabulary: the words in order of falling frequency (the softmax
            starts from Zipf's law): a `keras_hvae.text.Preprocessor` (such
            as `corpus.vocabulary`), a list of words, or, for a model of ids
            only, the number of ids.
        kl_weight: β to start with; `KLAnnealing` changes it.
        free_bits: floor of the KL in training, in nats a sentence.
        free_bits_mode: `"dimension"`, `"sentence"` or `"batch"`; see
            `layers.DiagGaussianKL`.
        rate: optional information to be held in training, in nats a sentence,
            in place of `free_bits`.
        seed: int for latent draws and dropout, optional.
        emission: optional `emissions.Emission` in place of a vocabulary: what
            a step is if not a sentence of words.
        **words: `embedding_dim`, `decoder_dim`, `dropout`, `word_dropout`,
            `bow_weight`, `softmax`, `tie_embeddings` and `use_cudnn`; see
            `emissions.WordEmission`.

    Call arguments:
        x: a batch of documents, what `emission.inputs` describes. Of words:
            an int tensor of shape `(B, n, m)`: documents, sentences, words.
            Each sentence ends with `[EOS]` (3) and is padded with 0;
            sentences of padding only pad a document, documents of padding
            only pad a batch; none of them counts. Ids must be less than the
            vocabulary's size: `fit` and `evaluate` check arrays, and how
            other ids in a dataset fail is up to the backend.

    Returns:
        A dict: `"nll"`, and with latents `"kl"`, `(B, n)`, nats; with
        latents also `"z"`, `"mean"`, `"log_var"`, `(B, n, d)`.

    Raises:
        TypeError: for an argument that the model does not have.
        ValueError: for an argument out of range, or a batch that is not what
            it must be.
    """

    # How the latents of a document depend on each other: `"none"`: there are
    # none; `"independent"`: one for each sentence; `"conditional"`: given the
    # text before, which the decoder reads too; `"chain"`: each given the one
    # before; `"conditional chain"`: given both.
    latent_structure = "none"
    # Whether the terms of sentences 2 … n alone bound their likelihood given
    # the text before. Not so where they share latents with the first one.
    conditional_terms = True

    latent_dim = 0
    preprocessor: Preprocessor | None = None
    emission: Emission
    _given_emission = False

    def __init__(self, **kwargs) -> None:
        """Ends a subclass' constructor: traces the layers that it has made."""
        # === Functional Model ===
        x = self.emission.inputs()
        reading = self.infer(x)
        outputs = {"nll": self.emission.nll(x, reading.get("context"))}
        if self.latent_dim:
            outputs["kl"] = self.kl(
                *(reading[key] for key in GAUSSIANS),
                mask=self.emission.mask(x),
                sample=reading["z"],
            )
            outputs |= {key: reading[key] for key in ("z", "mean", "log_var")}
        object.__setattr__(self, "_layers_are_made", True)
        super().__init__(inputs=x, outputs=outputs, **kwargs)
        # `compile` reads it for loss scaling; functional models take no
        # `dtype`. An emission of the user's may have another.
        layer = self.kl if self.latent_dim else self.emission
        self.dtype_policy = layer.dtype_policy

        self._nll = keras.metrics.Mean(name="nll")
        if self.latent_dim:
            self._kl = keras.metrics.Mean(name="kl")
            self._kl_weight = CurrentValue(name="kl_weight")
            if self.kl.minimum_rate is not None:
                self._rate = CurrentValue(name="rate")
                self._multiplier = CurrentValue(name="multiplier")
        if isinstance(self.emission, WordEmission):
            self._perplexity = Perplexity(name="perplexity")

    def __setattr__(self, name, value):
        # The functional model tracks all layers, and PyTorch's modules take
        # no attributes before their constructor.
        if "_layers_are_made" in self.__dict__:
            super().__setattr__(name, value)
        else:
            object.__setattr__(self, name, value)

    def make_emission(
        self,
        vocabulary: int | Sequence[str] | Preprocessor | None,
        words: dict,
        emission: Emission | None = None,
        **options,
    ) -> Emission:
        """The emission of the arguments, and what reads words for it.

        Args:
            vocabulary: see the class.
            words: further arguments of the user, a dict.
            emission: one of the user's, optional.
            **options: of `WordEmission`, as the model has them.
        """
        for key in ("kl_weight", "free_bits", "rate", "bow_weight"):
            if not self.latent_dim and words.get(key):
                raise ValueError(
                    f"`{key}` is for models with latents. "
                    f"Received: {key}={words[key]}"
                )
        known = set(inspect.signature(WordEmission).parameters)
        known -= {"vocabulary_size", "decoder", "kwargs"}
        if unknown := sorted(set(words) - known):
            raise TypeError(
                f"{type(self).__name__} has no such arguments. "
                f"Received: {', '.join(unknown)}"
            )
        self.preprocessor = None
        if emission is None:
            self.preprocessor, size = read_vocabulary(vocabulary)
            self.vocabulary_size: Any = size  # None of other emissions
            return WordEmission(size, name="emission", **options, **words)
        if words:
            raise TypeError(
                "What shapes the words is for a `vocabulary`, not for an "
                f"`emission`. Received: {', '.join(sorted(words))}"
            )
        if vocabulary is not None:
            raise ValueError(
                "`vocabulary` must be None with an `emission` of its own. "
                f"Received: {vocabulary!r:.80}"
            )
        if not isinstance(emission, Emission):
            raise ValueError(
                "`emission` must be a keras_hvae.emissions.Emission. "
                f"Received: {emission!r:.80}"
            )
        self.vocabulary_size = getattr(emission, "vocabulary_size", None)
        self._given_emission = True
        return emission

    def infer(
        self, x: Any, noise: keras.KerasTensor | None = None
    ) -> dict[str, keras.KerasTensor]:
        """Contexts of the sentences and, with latents, their Gaussians.

        Args:
            x: a batch of documents.
            noise: optional ε of the latents, `(B, n, noise_dim)`; zeros give
                the path of the posterior means.

        Returns:
            A dict: `"context"`, `(B, n, H)`; with latents also `"z"`,
            `"mean"`, `"log_var"`, `"prior_mean"` and `"prior_log_var"`,
            float32 `(B, n, d)`.
        """
        raise NotImplementedError

    def decoder_layers(self) -> list[keras.layers.Layer]:
        """The layers that write: what is reset, or held fixed, by cures."""
        return self.emission.decoder_layers()

    @property
    def writes_from_latents(self) -> bool:
        """Whether a sentence is written from its latent alone."""
        return self.latent_structure in ("independent", "chain")

    @property
    def has_chain(self) -> bool:
        """Whether each latent depends on the one before."""
        return self.latent_structure in ("chain", "conditional chain")

    @property
    def noise_dim(self) -> int:
        """Width of the ε of a sentence that `infer` takes."""
        return self.latent_dim

    @property
    def kl_weight(self) -> keras.Variable:
        """The weight β of the KL in the training loss: a scalar variable."""
        return self.kl.kl_weight

    def call(
        self, inputs: Any, training: bool | None = None, mask: Any = None
    ) -> Any:
        self.emission.check(inputs)
        return super().call(inputs, training=training, mask=mask)

    def fit(
        self, x: Any = None, y: Any = None, *args: Any, **kwargs
    ) -> keras.callbacks.History:
        refuse_ignored(self, y=y, **kwargs)
        self._check_arrays(x)
        self._check_arrays(kwargs.get("validation_data"))
        # TensorFlow traces a step twice if the step creates variables.
        self.build_optimizer()
        # Behind `x` and `y`, it is the fourth.
        callbacks = kwargs.get("callbacks", (*args[3:4], None)[0])
        with announced(x, callbacks):
            return super().fit(x, y, *args, **kwargs)

    def evaluate(
        self, x: Any = None, y: Any = None, *args: Any, **kwargs
    ) -> Any:
        refuse_ignored(self, y=y, **kwargs)
        self._check_arrays(x)
        return super().evaluate(x, y, *args, **kwargs)

    def _check_arrays(self, x):
        """Checks the numbers of arrays; of a dataset, its vocabulary."""
        if isinstance(x, (tuple, list)) and len(x):
            x = x[0]
        leaves = tree.flatten(x)
        check_vocabulary(self, *leaves)
        arrays = [isinstance(a, np.ndarray) or ops.is_tensor(a) for a in leaves]
        if arrays and all(arrays):
            self.emission.check(tree.map_structure(ops.convert_to_numpy, x))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: keras.KerasTensor | None = None,
        training: bool = True,
    ) -> keras.KerasTensor:
        """Sums the layers' losses; updates the metrics on the way."""
        if y is not None or sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} takes batches of documents only, no "
                "targets and no `sample_weight`. Received: a batch of several "
                "tensors"
            )
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        documents = ops.any(self.emission.mask(x), axis=1)  # (B,)
        nats = nll = ops.stop_gradient(ops.sum(y_pred["nll"], axis=1))
        self._nll.update_state(nll, sample_weight=documents)
        if self.latent_dim:
            kl = ops.stop_gradient(ops.sum(y_pred["kl"], axis=1))
            nats = nll + kl
            self._kl.update_state(kl, sample_weight=documents)
            self._kl_weight.update_state(self.kl_weight if training else 1.0)
            if (minimum := self.kl.minimum_rate) is not None:
                self._rate.update_state(minimum.mean_of(minimum.held()))
                self._multiplier.update_state(minimum.mean_of(minimum.level()))
        if hasattr(self, "_perplexity"):
            units = ops.sum(self.emission.units(x), axis=1)
            self._perplexity.update_state(nats, units)
        return loss

    def get_config(self) -> dict:
        """The arguments of all models; a subclass adds its own."""
        emission = self.emission
        policy = self.dtype_policy
        quantised = {
            x.path: x.dtype_policy
            for x in self._flatten_layers()
            if x.quantization_mode is not None
        }
        if quantised:
            policy = keras.dtype_policies.DTypePolicyMap(policy, quantised)
        config = {
            "seed": self.seed,
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.saving.serialize_keras_object(policy),
        }
        if self._given_emission:
            config["vocabulary"] = None
            config["emission"] = keras.saving.serialize_keras_object(emission)
        else:
            words = self.preprocessor
            if words is not None:
                words = keras.saving.serialize_keras_object(words)
            config["vocabulary"] = words or self.vocabulary_size
            config |= emission.arguments()
        if self.latent_dim:
            config |= {
                "latent_dim": self.latent_dim,
                "kl_weight": self.kl.initial_kl_weight,
                "free_bits": self.kl.free_bits,
                "free_bits_mode": self.kl.free_bits_mode,
                "rate": self.kl.rate,
            }
        return config

    @classmethod
    def from_config(
        cls, config: dict, custom_objects: dict | None = None
    ) -> "DocumentModel":
        return cls(**read_parts(config, custom_objects))


GAUSSIANS = ("mean", "log_var", "prior_mean", "prior_log_var")
