"""What holds for every model of vectors."""

import pathlib
import re

import keras
import numpy as np
import pytest

import keras_hvae
from keras_hvae import generative
from tests.harness import slow

D = 4
BITS = np.array([*np.ndindex(*[2] * D)], "float32")


def bits(rows=200):
    """Bits that depend on each other."""
    rng = np.random.default_rng(0)
    x = (rng.random((rows, D)) < [0.3, 0.5, 0.8, 0.5]).astype("float32")
    x[:, 3] = np.where(rng.random(rows) < 0.9, x[:, 0], 1 - x[:, 0])
    return x


def reals(rows=200):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, D))
    x[:, 3] = 0.8 * x[:, 0] + 0.6 * x[:, 3]
    return x.astype("float32")


# Classes and arguments, of bits and of real numbers.
OF_BITS = {
    "logistic_ar": (generative.LogisticAR, {"order": [3, 1, 0, 2]}),
    "neural_ar": (generative.NeuralAR, {"units": 3}),
    "nade": (generative.NADE, {"units": 6, "order": [3, 1, 0, 2]}),
    "orderless_nade": (
        generative.NADE,
        {"units": 6, "orderless": True, "hidden_layers": 2, "seed": 1},
    ),
    "bernoulli_mixture": (
        generative.BernoulliMixture,
        {"components": 3, "seed": 1},
    ),
    "vae": (generative.VAE, {"latent_dim": 2, "hidden_dims": [6], "seed": 1}),
    "dlgm": (
        generative.DLGM,
        {"latent_dims": [2, 1], "hidden_dim": 6, "covariance": "rank_one"},
    ),
}
OF_REALS = {
    "linear_ar": (generative.LinearAR, {"order": [3, 1, 0, 2]}),
    "rnade": (
        generative.NADE,
        {"units": 6, "likelihood": "mixture", "components": 3},
    ),
    **{
        f"gaussian_mixture_{covariance}": (
            generative.GaussianMixture,
            {"components": 3, "covariance": covariance, "seed": 1},
        )
        for covariance in ("diagonal", "full")
    },
    "gaussian_vae": (
        generative.VAE,
        {"latent_dim": 2, "hidden_dims": [6], "likelihood": "gaussian"},
    ),
    "gaussian_dlgm": (
        generative.DLGM,
        {"latent_dims": [2], "hidden_dim": 6, "likelihood": "gaussian"},
    ),
}
MODELS = {**OF_BITS, **OF_REALS}
QUICK = "nade", "orderless_nade", "bernoulli_mixture", "vae"


def make(name):
    cls, arguments = MODELS[name]
    return cls(D, **arguments)


def data(name):
    return bits() if name in OF_BITS else reals()


@pytest.mark.parametrize(
    "name", [*QUICK, *slow(*(x for x in MODELS if x not in QUICK))]
)
def test_model(name, tmp_path):
    model, x = make(name), data(name)
    cls, arguments = MODELS[name]
    config = model.get_config()
    size = {"shape": [D]} if cls is generative.VAE else {"dim": D}
    assert {**size, **arguments}.items() <= config.items()
    assert cls.from_config(config).get_config() == config

    eagerly = keras.config.backend() != "jax"
    model.compile(keras.optimizers.Adam(0.02), run_eagerly=eagerly)
    history = model.fit(x, epochs=6, batch_size=50, verbose=0).history
    parts = ["nll"] if model.exact else ["kl", "nll"]
    assert sorted(history) == sorted(["loss", *parts])
    total = np.sum([history[part] for part in parts], axis=0)
    assert history["loss"] == pytest.approx(total, rel=1e-5)
    assert total[-1] < total[0] - 0.02
    logs = model.evaluate(x, return_dict=True, verbose=0)
    options = {} if model.exact else {"num_samples": 1}
    bounds = model.bounds(x, **options)
    # That of all orders, and a bound, are estimates, of few draws.
    rough = getattr(model, "orderless", False) or not model.exact
    assert logs["loss"] == pytest.approx(
        -bounds["lower"].mean(), rel=0.1 if rough else 1e-4
    )
    assert sorted(bounds) == ["estimate", "lower", "upper"]
    if not model.exact:
        assert bounds["upper"] is bounds["estimate"] is None
        with pytest.raises(NotImplementedError, match="ask for its `bounds`"):
            model.log_prob(x)
    else:
        for value in bounds.values():
            np.testing.assert_array_equal(value, model.log_prob(x))

    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.models.load_model(path)
    assert type(again) is cls and again.get_config() == config
    np.testing.assert_array_equal(
        again.bounds(x, **options)["lower"], bounds["lower"]
    )
    np.testing.assert_array_equal(again.sample(3, 1), model.sample(3, 1))


@pytest.mark.eager
@pytest.mark.parametrize("name", MODELS)
def test_in_half_precision_densities_are_not(name, mixed_float16):
    model, x = make(name), data(name)
    model.compile(keras.optimizers.Adam(0.01))
    history = model.fit(x[:20], verbose=0).history
    assert np.isfinite(history["loss"]).all()
    outputs = model(x[:20])
    for tensor in (*outputs.values(), *model.losses):
        assert keras.backend.standardize_dtype(tensor.dtype) == "float32"
    # A layer's policy goes with the model, whatever the global one is then.
    keras.config.set_dtype_policy("float32")
    again = type(model).from_config(model.get_config())
    policies = [
        [
            layer.dtype_policy.name
            for layer in m._flatten_layers()
            if layer.weights and not isinstance(layer, keras.Sequential)
        ]
        for m in (model, again)
    ]
    assert policies[0] == policies[1]


@pytest.mark.eager
@pytest.mark.parametrize("name", MODELS)
def test_draws(name):
    model = make(name)
    x = model.sample(5, seed=3)
    assert x.shape == (5, D) and x.dtype == "float32"
    np.testing.assert_allclose(
        model.sample(5, seed=3, batch_size=2), x, rtol=1e-4, atol=1e-6
    )
    assert (model.sample(5, seed=4) != x).any()
    if name in OF_BITS:
        assert np.isin(x, (0, 1)).all()
    observed = np.zeros(D, "bool")
    # What any model can take: the first in its order, if it has one.
    observed[getattr(model, "order", np.arange(D))[:2]] = True
    given = np.where(observed, 1.0, np.nan)  # the rest may be anything
    y = model.sample(5, 3, given, observed)
    assert (y[:, observed] == 1).all() and np.isfinite(y).all()
    rows = model.sample(2, 3, np.eye(2, D), np.broadcast_to(observed, (2, D)))
    np.testing.assert_array_equal(rows[:, observed], np.eye(2, D)[:, observed])


@pytest.mark.eager
@pytest.mark.parametrize("name", OF_BITS)
def test_probabilities_sum_to_1_and_draws_have_them(name):
    model = make(name)
    rng = np.random.default_rng(0)
    # Far from the posterior, draws from q say little.
    scale = 1.0 if model.exact else 0.25
    model.set_weights(
        [
            scale * rng.standard_normal(w.shape) if w.dtype == "float32" else w
            for w in model.get_weights()
        ]
    )
    many = {} if model.exact else {"num_samples": 20_000}
    probs = np.exp(model.bounds(BITS, **many)["lower"])
    assert probs.sum() == pytest.approx(1, abs=0.02 if many else 1e-5)
    if getattr(model, "orderless", False):
        return  # draws are of all orders: see test_autoregressive.py
    n = 20_000
    x = model.sample(n, seed=0, batch_size=n)
    found = np.bincount((x @ [8, 4, 2, 1]).astype(int), minlength=16) / n
    assert 0.5 * np.abs(found - probs).sum() < 0.03


@pytest.mark.eager
@pytest.mark.parametrize("name", MODELS)
def test_bad_data_is_refused(name):
    model = make(name)
    model.compile("sgd")
    x = data(name)
    wrong = np.where(np.arange(D) == 1, np.nan, x)
    for bad, message in (
        (x[:, :3], rf"`x` must be of shape \(N, {D}\). Received: \(200, 3\)"),
        (x[0], r"`x` must be of shape"),
        (x[None], r"`x` must be of shape"),
        (wrong, "`x` must be finite. Received: nan"),
        (x[:0], "`x` must have a row. Received: none"),
        (x.astype(str), "`x` must be an array of numbers. Received: <U"),
    ):
        reads = (model.encode, model.reconstruct)
        if model.exact:
            reads = (model.log_prob,)
        for use in (*reads, model.bounds, model.fit, model.evaluate):
            with pytest.raises(ValueError, match=message):
                use(bad)
    if name in OF_BITS:
        for bad in (x + 1, x - 0.5):
            with pytest.raises(ValueError, match=r"in \[0, 1\]. Received: "):
                model.fit(bad)
    with pytest.raises(ValueError, match="takes batches of x only"):
        model.fit(x, x, verbose=0)
    for use in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="`sample_weight` must be None"):
            use(x, sample_weight=np.ones(len(x)))
    with pytest.raises(ValueError, match="`class_weight` must be None"):
        model.fit(x, class_weight={0: 1.0})
    for n in (0, -1, 2.5):
        with pytest.raises(ValueError, match="`n` must be an integer >= 1"):
            model.sample(n)
    seen = np.ones(D, "bool")
    for given, observed, message in (
        (None, seen, "must come together. Received: no `given`"),
        (x[0], None, "must come together. Received: no `observed`"),
        (x[0], seen[:2], "`observed` must be bool of the shape of `given`"),
        (x[0], seen.astype(int), "`observed` must be bool"),
        (x[:3], np.ones((3, D), "bool"), "`given` must have 2 rows"),
        (x[:2, :2], np.ones((2, 2), "bool"), "`given` must be of shape"),
    ):
        with pytest.raises(ValueError, match=message):
            model.sample(2, 0, given, observed)


@pytest.mark.eager
def test_models_without_latents_say_so():
    model = generative.LogisticAR(D)
    for use in (model.encode, model.reconstruct):
        with pytest.raises(NotImplementedError, match="models with latents"):
            use(BITS)


def test_the_guide_runs(tmp_path, monkeypatch):
    page = pathlib.Path(__file__).parents[2] / "docs/guides/vectors.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(blocks) == 2
    monkeypatch.chdir(tmp_path)  # it saves a model
    exec("\n".join(blocks), {})


def test_they_are_imported_when_asked_for():
    assert keras_hvae.generative is generative
    with pytest.raises(AttributeError, match="no attribute 'generatif'"):
        keras_hvae.generatif  # noqa: B018
