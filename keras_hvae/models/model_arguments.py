"""What the arguments of a model stand for."""

import numbers

import keras
import numpy as np

from keras_hvae import layers
from keras_hvae.arguments import check_choice
from keras_hvae.ids import SPECIAL_TOKENS

SOFTMAXES = {
    "full": layers.TokenNLL,
    "adaptive": layers.AdaptiveSoftmax,
    "class": layers.ClassSoftmax,
    "sampled": layers.SampledSoftmax,
    "one_vs_each": layers.OneVsEach,
    "nce": layers.NoiseContrastive,
}


def split_seed(seed):
    """A seed each for whatever is random, by name."""
    names = ("dropout", "latents", "words", "softmax", "sentences")
    if seed is None:
        return dict.fromkeys(names)
    state = np.random.SeedSequence(seed).generate_state(len(names))
    return {n: int(x) % 2**31 for n, x in zip(names, state)}  # int32 on PyTorch


def make_softmax(softmax, embedding, tie_embeddings, seed):
    """The layer that a name stands for, or the one that was given."""
    vocabulary_size = embedding.input_dim
    if isinstance(softmax, layers.OutputSoftmax):
        if tie_embeddings:
            raise ValueError(
                "`tie_embeddings` needs the name of a softmax. "
                f"Received: softmax={softmax}"
            )
        if softmax.vocabulary_size != vocabulary_size:
            raise ValueError(
                f"`softmax` must be over the vocabulary's {vocabulary_size} "
                f"ids. Received: one over {softmax.vocabulary_size}"
            )
        return softmax
    check_choice(tuple(SOFTMAXES), softmax=softmax)
    cls = SOFTMAXES[softmax]
    options = {"seed": seed} if issubclass(cls, layers.SampledOutput) else {}
    if tie_embeddings:
        if not issubclass(cls, layers.LinearSoftmax):
            raise ValueError(
                "`tie_embeddings` needs a softmax of one linear layer: "
                '"full", "sampled", "nce" or "one_vs_each". '
                f"Received: softmax={softmax!r}"
            )
        options["embedding"] = embedding
    return cls(
        vocabulary_size,
        bias_initializer=layers.Zipf(),
        dtype=embedding.dtype_policy,
        name="token_nll",
        **options,
    )


def read_vocabulary(vocabulary):
    """A preprocessor, or None for a model of ids, and the number of ids."""
    if isinstance(vocabulary, numbers.Integral):
        if vocabulary <= len(SPECIAL_TOKENS):
            raise ValueError(
                "`vocabulary` must have room for a word besides the "
                f"{len(SPECIAL_TOKENS)} special ones. Received: {vocabulary}"
            )
        return None, int(vocabulary)
    from keras_hvae.text import Preprocessor

    if not isinstance(vocabulary, Preprocessor):
        vocabulary = Preprocessor(vocabulary)
    return vocabulary, len(vocabulary)


def check_token_ids(token_ids):
    """Raises `ValueError` unless they are integers of rank 3."""
    dtype = keras.backend.standardize_dtype(token_ids.dtype)
    if len(token_ids.shape) != 3 or "int" not in dtype:
        raise ValueError(
            "`token_ids` must be an integer tensor of rank 3, (documents, "
            f"sentences, words). Received: {dtype} of shape "
            f"{tuple(token_ids.shape)}"
        )
