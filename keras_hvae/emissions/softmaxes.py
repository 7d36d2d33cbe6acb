"""Softmaxes by name."""

import keras

from keras_hvae import layers
from keras_hvae.arguments import check_choice

SOFTMAXES = {
    "full": layers.TokenNLL,
    "adaptive": layers.AdaptiveSoftmax,
    "class": layers.ClassSoftmax,
    "sampled": layers.SampledSoftmax,
    "one_vs_each": layers.OneVsEach,
    "nce": layers.NoiseContrastive,
}


def make_softmax(
    softmax: str | keras.layers.Layer,
    embedding: keras.layers.Embedding,
    tie_embeddings: bool,
    seed: int | None,
) -> keras.layers.Layer:
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
