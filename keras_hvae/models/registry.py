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


def parameters_of(cls) -> dict[str, inspect.Parameter]:
    """What a model of words takes, by name.

    Example:

    >>> parameters_of(HVAE)["latent_dim"].default
    32
    >>> {"latent_dim", "softmax"} - set(parameters_of(HVAE))
    set()
    >>> "latent_dim" in parameters_of(MODELS["gru_lm"])
    False
    """
    own = cls.__mro__[: cls.__mro__.index(DocumentModel)]
    found = {}
    for base in (*own, WordEmission):
        for name, x in inspect.signature(base.__init__).parameters.items():
            found.setdefault(name, x)
    others = {"self", "vocabulary_size", "decoder"}
    return {
        name: x
        for name, x in found.items()
        if name not in others and x.kind is not x.VAR_KEYWORD
    }
