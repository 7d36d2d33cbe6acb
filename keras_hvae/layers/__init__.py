"""The layers, each usable alone in other models."""

from keras_hvae.layers.latent.diag_gaussian_kl import DiagGaussianKL
from keras_hvae.layers.latent.gaussian_head import GaussianHead
from keras_hvae.layers.latent.latent_chain import LatentChain
from keras_hvae.layers.latent.mean_norm import MeanNorm
from keras_hvae.layers.latent.minimum_rate import MinimumRate
from keras_hvae.layers.latent.sampling import Sampling
from keras_hvae.layers.latent.sentence_latent import SentenceLatent
from keras_hvae.layers.latent.transition import Transition
from keras_hvae.layers.recurrent.context_encoder import ContextEncoder
from keras_hvae.layers.recurrent.masked_gru import MaskedGRU
from keras_hvae.layers.recurrent.packed_gru import PackedGRU
from keras_hvae.layers.softmax.adaptive_softmax import AdaptiveSoftmax
from keras_hvae.layers.softmax.class_softmax import ClassSoftmax
from keras_hvae.layers.softmax.linear_softmax import LinearSoftmax
from keras_hvae.layers.softmax.noise_contrastive import NoiseContrastive
from keras_hvae.layers.softmax.one_vs_each import OneVsEach
from keras_hvae.layers.softmax.output_softmax import OutputSoftmax
from keras_hvae.layers.softmax.sampled_output import SampledOutput
from keras_hvae.layers.softmax.sampled_softmax import SampledSoftmax
from keras_hvae.layers.softmax.svd_softmax import SVDSoftmax
from keras_hvae.layers.softmax.token_nll import TokenNLL
from keras_hvae.layers.softmax.zipf import Zipf
from keras_hvae.layers.step_nll import StepNLL
from keras_hvae.layers.text.bag_of_words import BagOfWords
from keras_hvae.layers.text.document_decoder import DocumentDecoder
from keras_hvae.layers.text.sentence_dropout import SentenceDropout
from keras_hvae.layers.text.word_decoder import WordDecoder
from keras_hvae.layers.text.word_dropout import WordDropout
from keras_hvae.layers.text.word_embedding import WordEmbedding
from keras_hvae.layers.text.word_encoder import WordEncoder
from keras_hvae.layers.vectors.masked_dense import MaskedDense
from keras_hvae.layers.vectors.nade_conditionals import NADEConditionals
from keras_hvae.layers.vectors.orderless_conditionals import (
    OrderlessConditionals,
)

__all__ = [
    "StepNLL",
    "SentenceLatent",
    "MaskedGRU",
    "DocumentDecoder",
    "AdaptiveSoftmax",
    "BagOfWords",
    "ClassSoftmax",
    "ContextEncoder",
    "DiagGaussianKL",
    "GaussianHead",
    "LatentChain",
    "LinearSoftmax",
    "MaskedDense",
    "MeanNorm",
    "MinimumRate",
    "NADEConditionals",
    "NoiseContrastive",
    "OneVsEach",
    "OrderlessConditionals",
    "OutputSoftmax",
    "PackedGRU",
    "SampledOutput",
    "SampledSoftmax",
    "SVDSoftmax",
    "Sampling",
    "SentenceDropout",
    "TokenNLL",
    "Transition",
    "WordDecoder",
    "WordDropout",
    "WordEmbedding",
    "WordEncoder",
    "Zipf",
]
