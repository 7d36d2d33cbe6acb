"""What a chain reads and writes at each step of a sequence."""

from keras_hvae.emissions.bernoulli_emission import BernoulliEmission
from keras_hvae.emissions.emission import Emission
from keras_hvae.emissions.frame_emission import FrameEmission
from keras_hvae.emissions.gaussian_emission import GaussianEmission
from keras_hvae.emissions.gaussian_mixture_emission import (
    GaussianMixtureEmission,
)
from keras_hvae.emissions.nade_emission import NADEEmission
from keras_hvae.emissions.word_emission import WordEmission

__all__ = [
    "BernoulliEmission",
    "Emission",
    "FrameEmission",
    "GaussianEmission",
    "GaussianMixtureEmission",
    "NADEEmission",
    "WordEmission",
]
