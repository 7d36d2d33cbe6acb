"""The layers, each usable alone in other models."""

from keras_hvae.layers.adaptive_softmax import AdaptiveSoftmax
from keras_hvae.layers.bag_of_words import BagOfWords
from keras_hvae.layers.class_softmax import ClassSoftmax
from keras_hvae.layers.context_encoder import ContextEncoder
from keras_hvae.layers.diag_gaussian_kl import DiagGaussianKL
from keras_hvae.layers.document_decoder import DocumentDecoder
from keras_hvae.layers.gaussian_head import GaussianHead
from keras_hvae.layers.latent_chain import LatentChain
from keras_hvae.layers.linear_softmax import LinearSoftmax
from keras_hvae.layers.masked_gru import MaskedGRU
from keras_hvae.layers.mean_norm import MeanNorm
from keras_hvae.layers.noise_contrastive import NoiseContrastive
from keras_hvae.layers.one_vs_each import OneVsEach
from keras_hvae.layers.output_softmax import OutputSoftmax
from keras_hvae.layers.packed_gru import PackedGRU
from keras_hvae.layers.sampled_output import SampledOutput
from keras_hvae.layers.sampled_softmax import SampledSoftmax
from keras_hvae.layers.sampling import Sampling
from keras_hvae.layers.sentence_dropout import SentenceDropout
from keras_hvae.layers.sentence_latent import SentenceLatent
from keras_hvae.layers.svd_softmax import SVDSoftmax
from keras_hvae.layers.token_nll import TokenNLL
from keras_hvae.layers.transition import Transition
from keras_hvae.layers.word_decoder import WordDecoder
from keras_hvae.layers.word_dropout import WordDropout
from keras_hvae.layers.word_embedding import WordEmbedding
from keras_hvae.layers.word_encoder import WordEncoder
from keras_hvae.layers.zipf import Zipf

__all__ = [
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
    "MeanNorm",
    "NoiseContrastive",
    "OneVsEach",
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
