"""The models by name: what shell, tests and benchmarks read."""

import inspect

from keras_hvae.emissions import WordEmission
from keras_hvae.models.document_model import DocumentModel
from keras_hvae.models.flat_vae import FlatVAE
from keras_hvae.models.gru_lm import GRULM
from keras_hvae.models.hred import HRED
from keras_hvae.models.hvae import HVAE
from keras_hvae.models.vhcr import VHCR
from keras_hvae.models.vhred import VHRED

MODELS = {
    "hvae": HVAE,
    "flat_vae": FlatVAE,
    "gru_lm": GRULM,
    "hred": HRED,
    "vhred": VHRED,
    "vhcr": VHCR,
}


def arguments_of(cls) -> set[str]:
    """Names of the arguments that a model of words takes.

    Example:

    >>> {"latent_dim", "softmax"} - arguments_of(HVAE)
    set()
    >>> "latent_dim" in arguments_of(MODELS["gru_lm"])
    False
    """
    own = cls.__mro__[: cls.__mro__.index(DocumentModel)]
    names = set()
    for base in (*own, WordEmission):
        names |= set(inspect.signature(base.__init__).parameters)
    keywords = {"words", "options", "kwargs"}
    return names - {"self", "vocabulary_size", "decoder"} - keywords
