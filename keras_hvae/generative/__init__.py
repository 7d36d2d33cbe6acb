"""Models of vectors and images: the relatives of the chain.

`import keras_hvae` does not import them; `keras_hvae.generative` does.
"""

from keras_hvae.generative.bernoulli_mixture import BernoulliMixture
from keras_hvae.generative.dlgm import DLGM
from keras_hvae.generative.gaussian_gradients import gaussian_gradients
from keras_hvae.generative.gaussian_mixture import GaussianMixture
from keras_hvae.generative.latent_model import LatentModel
from keras_hvae.generative.linear_ar import LinearAR
from keras_hvae.generative.logistic_ar import LogisticAR
from keras_hvae.generative.nade import NADE
from keras_hvae.generative.neural_ar import NeuralAR
from keras_hvae.generative.vae import VAE
from keras_hvae.generative.vector_model import VectorModel

__all__ = [
    "DLGM",
    "NADE",
    "VAE",
    "BernoulliMixture",
    "GaussianMixture",
    "LatentModel",
    "LinearAR",
    "LogisticAR",
    "NeuralAR",
    "VectorModel",
    "gaussian_gradients",
]
