"""Emissions that the user gives: they are what is saved."""

import keras
import numpy as np
import pytest

from keras_hvae import GRULM, HRED, HVAE, VHCR, VHRED, FlatVAE
from keras_hvae.emissions import BernoulliEmission, Emission, WordEmission

pytestmark = pytest.mark.eager

FRAMES = [np.eye(4, dtype="float32"), np.ones((2, 4), "float32")]


@keras.saving.register_keras_serializable("tests")
class Coins(Emission):
    """An emission by contract alone: a `BernoulliEmission` does the work."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.coins = BernoulliEmission(4, hidden_dim=3)

    def inputs(self):
        return self.coins.inputs()

    def mask(self, x):
        return self.coins.mask(x)

    def embed(self, x):
        return self.coins.embed(x)

    def log_prob(self, x, context):
        return self.coins.log_prob(x, context)

    def nll(self, x, context):
        return self.coins.nll(x, context)

    def sample(self, context, uniforms, real):
        return self.coins.sample(context, uniforms, real)

    def num_uniforms(self, max_words=None):
        return self.coins.num_uniforms(max_words)

    def read(self, sequences, preprocessor=None):
        return self.coins.read(sequences)

    def check(self, x):
        self.coins.check(x)

    def batch(self, sequences):
        return self.coins.batch(sequences)

    def unbatch(self, x):
        return self.coins.unbatch(x)

    def units(self, x):
        return self.coins.units(x)

    def decoder_layers(self):
        return self.coins.decoder_layers()


def assert_comes_back(model, x, path):
    model.compile("adam")
    model.fit(model.emission.batch(x), verbose=0)
    model.save(path)
    loaded = keras.saving.load_model(path)
    assert type(loaded.emission) is type(model.emission)
    assert loaded.get_config() == model.get_config()
    np.testing.assert_allclose(
        loaded.score(x[0], seed=0)["elbo"], model.score(x[0], seed=0)["elbo"]
    )
    return loaded


def test_given_words_are_saved_with_their_own_widths(tmp_path):
    emission = WordEmission(20, 4, 8, dropout=0.0)
    model = HVAE(emission=emission, hidden_dim=16, latent_dim=2)
    ids = [np.array([[5, 6, 3], [7, 3, 0]], "int32")]
    loaded = assert_comes_back(model, ids, tmp_path / "model.keras")
    assert (loaded.emission.embedding_dim, loaded.emission.hidden_dim) == (4, 8)
    assert loaded.context_encoder.units == 16


def test_an_emission_by_contract_alone_is_saved(tmp_path):
    model = HVAE(emission=Coins(), hidden_dim=4, latent_dim=2)
    assert_comes_back(model, FRAMES, tmp_path / "model.keras")


def test_the_dtype_is_that_of_the_model():
    model = HVAE(
        emission=BernoulliEmission(4, hidden_dim=3, dtype="float32"),
        hidden_dim=4,
        latent_dim=2,
        dtype="mixed_bfloat16",
    )
    again = HVAE.from_config(model.get_config())
    for x in (model, again):
        assert x.context_encoder.dtype_policy.name == "mixed_bfloat16"
        assert x.emission.dtype_policy.name == "float32"


@pytest.mark.parametrize(
    ("cls", "arguments", "match"),
    [
        (HVAE, {"vocabulary": 20, "decoder": None}, "HVAE .*Received: decoder"),
        (HVAE, {"vocabulary": 20, "vocabulary_size": 9}, "vocabulary_size"),
        (HVAE, {"vocabulary": 20, "kwargs": 1}, "Received: kwargs"),
        (GRULM, {"vocabulary": 20, "decoder": None}, "Received: decoder"),
        (HVAE, {"dropout": 0.1, "softmax": "full"}, "dropout, softmax"),
        *(
            (cls, {"vocabulary": None}, f"{cls.__name__} .*Received: emission")
            for cls in (HRED, VHRED, VHCR, GRULM)
        ),
    ],
)
def test_arguments_that_would_be_lost_are_refused(cls, arguments, match):
    if arguments.get("vocabulary") is None:
        arguments = {**arguments, "emission": BernoulliEmission(4)}
    with pytest.raises(TypeError, match=match):
        cls(**arguments)


def test_a_flat_vae_of_frames_fits_its_initial_prior():
    model = FlatVAE(
        emission=BernoulliEmission(4, hidden_dim=3),
        hidden_dim=4,
        latent_dim=2,
        initial_prior="empirical",
    )
    model.fit_initial_prior([model.emission.batch(FRAMES)])
    means = model.encode(FRAMES)
    np.testing.assert_allclose(
        model.latent_chain.initial_mean,
        means["mean"][means["mask"]].mean(axis=0),
        atol=1e-5,
    )
