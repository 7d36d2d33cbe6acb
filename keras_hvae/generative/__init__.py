"""Models of vectors and images: the relatives of the chain.

`import keras_hvae` does not import them; `keras_hvae.generative` does.
"""

from keras_hvae.generative.bernoulli_mixture import BernoulliMixture
from keras_hvae.generative.gaussian_mixture import GaussianMixture
from keras_hvae.generative.linear_ar import LinearAR
from keras_hvae.generative.logistic_ar import LogisticAR
from keras_hvae.generative.nade import NADE
from keras_hvae.generative.neural_ar import NeuralAR
from keras_hvae.generative.vector_model import VectorModel

__all__ = [
    "NADE",
    "BernoulliMixture",
    "GaussianMixture",
    "LinearAR",
    "LogisticAR",
    "NeuralAR",
    "VectorModel",
]
