"""Variational autoencoders against what is known of them."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

from keras_hvae import generative

to_numpy = keras.ops.convert_to_numpy


def linear(decoder, encoder, sigma, **arguments):
    """A linear VAE: its weights are W, b and (M, m, log σ²)."""
    kernel, bias = decoder
    model = generative.VAE(
        len(bias),
        latent_dim=len(kernel),
        hidden_dims=(),
        likelihood="gaussian",
        sigma=sigma,
        seed=0,
        **arguments,
    )
    model.decoder.set_weights([kernel, bias])
    read, mean, log_var = encoder
    model.head.mean.set_weights([read, mean])
    model.head.log_var.set_weights([np.zeros_like(read), log_var])
    return model


@pytest.fixture
def factors():
    """W (2, 3), b, σ, x, and log p(x): N(b, WᵀW + σ² I)."""
    rng = np.random.default_rng(0)
    kernel, bias, sigma = rng.standard_normal((2, 3)), rng.random(3), 0.7
    law = multivariate_normal(bias, kernel.T @ kernel + sigma**2 * np.eye(3))
    x = law.rvs(6, random_state=0)
    return (kernel, bias), sigma, x, law.logpdf(x)


def posterior(decoder, sigma):
    """Of p(z | x): the matrix and the constant of its mean, its covariance."""
    kernel, bias = decoder
    cov = np.linalg.inv(np.eye(len(kernel)) + kernel @ kernel.T / sigma**2)
    read = kernel.T @ cov / sigma**2
    return read, -bias @ read, cov


def nll_and_kl(model, x):
    outputs = model(x)
    return [to_numpy(outputs[key]) for key in ("nll", "kl")]


@pytest.mark.slow
@pytest.mark.eager
def test_squared_errors_and_cross_entropies_are_likelihoods():
    x = np.random.default_rng(0).random((5, 3)).astype("float32")
    sigma = 0.3
    model = generative.VAE(
        3, 2, hidden_dims=(4,), likelihood="gaussian", sigma=sigma
    )
    model.head.log_var.set_weights([np.zeros((4, 2)), np.full(2, -15.0)])
    # σ of q is nearly 0: z is its mean.
    nll, _ = nll_and_kl(model, x)
    mse = np.square(x - model.reconstruct(x)).mean(axis=1)
    constant = 1.5 * np.log(2 * np.pi * sigma**2)
    np.testing.assert_allclose(
        nll, 3 * mse / (2 * sigma**2) + constant, rtol=1e-2
    )
    model = generative.VAE(3, 2, hidden_dims=(4,))
    model.head.log_var.set_weights([np.zeros((4, 2)), np.full(2, -15.0)])
    nll, _ = nll_and_kl(model, x)
    bce = keras.losses.binary_crossentropy(x, model.reconstruct(x))
    np.testing.assert_allclose(nll, 3 * to_numpy(bce), rtol=1e-2)


@pytest.mark.eager
def test_a_learned_sigma_is_one_number():
    model = generative.VAE(3, 2, hidden_dims=(4,), likelihood="gaussian")
    model.head.log_var.set_weights([np.zeros((4, 2)), np.full(2, -15.0)])
    model.log_var.assign(2 * np.log(0.5))
    x = np.random.default_rng(0).random((5, 3))
    nll, _ = nll_and_kl(model, x)
    mean = model.reconstruct(x)
    expected = -norm(mean, 0.5).logpdf(x).sum(axis=1)
    np.testing.assert_allclose(nll, expected, rtol=1e-2)


@pytest.mark.eager
@pytest.mark.parametrize("estimator", ["A", "B"])
def test_estimators_have_the_mean_and_the_variance_they_should(estimator):
    """Of one latent and one number: each is a quadratic in the noise ε."""
    w, b, sigma, x = 1.5, 0.2, 0.7, 0.9
    m, s = 0.3, 0.6
    model = linear(
        (np.array([[w]]), np.array([b])),
        (np.zeros((1, 1)), np.array([m]), np.array([2 * np.log(s)])),
        sigma,
        estimator=estimator,
    )
    n = 100_000
    loss = sum(nll_and_kl(model, np.full((n, 1), x, "float32")))
    # −log p(x | z) = c₀ + c₁ ε + c₂ ε² …
    error = x - w * m - b
    quadratic = [
        0.5 * error**2 / sigma**2 + np.log(sigma) + 0.5 * np.log(2 * np.pi),
        -error * w * s / sigma**2,
        0.5 * (w * s / sigma) ** 2,
    ]
    kl = 0.5 * (m**2 + s**2 - 1) - np.log(s)
    mean = quadratic[0] + quadratic[2] + kl
    if estimator == "A":
        # … and log q(z) − log p(z) is another one.
        quadratic[1] += m * s
        quadratic[2] += 0.5 * (s**2 - 1)
    variance = quadratic[1] ** 2 + 2 * quadratic[2] ** 2
    assert loss.mean() == pytest.approx(mean, abs=4 * (variance / n) ** 0.5)
    assert loss.var() == pytest.approx(variance, rel=0.05)


@pytest.mark.eager
def test_at_the_posterior_estimator_a_has_no_variance(factors):
    _, sigma, x, _ = factors
    kernel, bias = np.array([[1.0, 0.5, -2.0]]), np.array([0.1, 0.2, 0.3])
    law = multivariate_normal(bias, kernel.T @ kernel + sigma**2 * np.eye(3))
    read, mean, cov = posterior((kernel, bias), sigma)
    weights = (kernel, bias), (read, mean, np.log(np.diag(cov))), sigma
    for options in ({}, {"num_samples": 7}):
        model = linear(*weights, estimator="A", **options)
        loss = sum(nll_and_kl(model, x))
        np.testing.assert_allclose(loss, -law.logpdf(x), rtol=1e-4)
        np.testing.assert_allclose(
            model.bounds(x, num_samples=3)["lower"], law.logpdf(x), rtol=1e-4
        )
    np.testing.assert_allclose(model.encode(x), x @ read + mean, atol=1e-4)
    np.testing.assert_allclose(
        model.reconstruct(x), (x @ read + mean) @ kernel + bias, atol=1e-4
    )


@pytest.mark.eager
def test_the_bound_grows_with_its_draws_up_to_log_p(factors):
    decoder, sigma, x, log_prob = factors
    read, mean, cov = posterior(decoder, sigma)
    # Off the posterior, and wider: the weights are bounded.
    off = read, mean + 0.2, np.log(3 * np.diag(cov))
    model = linear(decoder, off, sigma)
    many = np.tile(x, (20, 1))
    bounds = [model.bounds(many, k)["lower"].mean() for k in (1, 5, 50, 1000)]
    exact = log_prob.mean()
    assert bounds[0] < bounds[1] < bounds[2] < bounds[3] < exact + 0.01
    assert bounds[0] < exact - 0.3
    assert bounds[3] == pytest.approx(exact, abs=0.01)
    # One draw is an ELBO.
    nll, kl = nll_and_kl(model, np.tile(many, (50, 1)))
    assert bounds[0] == pytest.approx(-(nll + kl).mean(), abs=0.2)


@pytest.mark.eager
def test_log_p_is_the_elbo_and_a_kl():
    """One latent, on a grid: log p(x) = ELBO + KL(q(z | x) ‖ p(z | x))."""
    model = generative.VAE(3, latent_dim=1, hidden_dims=(4,), seed=0)
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(0.4 * rng.standard_normal(weight.shape))
    x = np.array([[0, 1, 1], [1, 0, 0.3]], "float32")
    grid = np.linspace(-8, 8, 2001)
    step = grid[1] - grid[0]
    given = model.given_z(grid[:, None].astype("float32"))
    joint = norm.logpdf(grid) + np.stack(
        [to_numpy(given.log_prob(row)) for row in x]
    )
    log_p = logsumexp(joint, axis=1) + np.log(step)
    mean, log_var = (to_numpy(a) for a in model.posterior(x))
    log_q = norm(mean, np.exp(log_var / 2)).logpdf(grid)
    q = np.exp(log_q) * step
    elbo = (q * (joint - log_q)).sum(axis=1)
    kl = (q * (log_q - (joint - log_p[:, None]))).sum(axis=1)
    np.testing.assert_allclose(elbo + kl, log_p, rtol=1e-5)
    assert (kl > 1e-3).all()
    n = 20_000
    nll, prior_kl = nll_and_kl(model, np.repeat(x, n, axis=0))
    loss = (nll + prior_kl).reshape(2, n)
    np.testing.assert_allclose(-loss.mean(axis=1), elbo, atol=0.03)
    lower = model.bounds(x, num_samples=20_000)["lower"]
    np.testing.assert_allclose(lower, log_p, atol=0.02)


@pytest.mark.eager
def test_bounds_do_not_depend_on_the_batches(factors, monkeypatch):
    decoder, sigma, x, _ = factors
    read, mean, _ = posterior(decoder, sigma)
    model = linear(decoder, (read, mean, np.zeros(2)), sigma)
    lower = model.bounds(x, num_samples=9, seed=3)["lower"]
    np.testing.assert_allclose(
        model.bounds(x, num_samples=9, seed=3, batch_size=4)["lower"],
        lower,
        rtol=1e-5,
    )
    assert (model.bounds(x, num_samples=9, seed=4)["lower"] != lower).all()
    # So many draws that they do not fit into one call.
    monkeypatch.setattr(generative.latent_model, "DRAWS", 12)
    np.testing.assert_allclose(
        model.bounds(x, num_samples=9, seed=3)["lower"], lower, rtol=1e-5
    )


@pytest.mark.eager
def test_the_loss_of_several_draws_is_a_tighter_bound(factors):
    decoder, sigma, x, _ = factors
    read, mean, _ = posterior(decoder, sigma)
    model = linear(
        decoder, (read, mean, np.zeros(2)), sigma, num_samples=5, estimator="A"
    )
    outputs = model(x)
    (loss,) = (float(to_numpy(x)) for x in model.losses)
    total = to_numpy(outputs["nll"] + outputs["kl"]).mean()
    assert loss < total - 0.1
    # The same noise gives the same bound.
    noise = keras.random.normal((6, 5, 2), seed=keras.random.SeedGenerator(0))
    weights = model.run(
        generative.latent_model.log_weights,
        6,
        x=x.astype("float32"),
        noise=to_numpy(noise),
    )["log_weights"]
    bound = logsumexp(weights, axis=1) - np.log(5)
    assert loss == pytest.approx(-bound.mean(), rel=1e-5)
    np.testing.assert_allclose(total, -weights.mean(), rtol=1e-5)


@pytest.mark.slow
def test_training_with_several_draws():
    x = np.random.default_rng(0).random((40, 3)).round()
    model = generative.VAE(
        3, 2, hidden_dims=(4,), estimator="A", num_samples=4, seed=0
    )
    model.compile(keras.optimizers.Adam(0.02))
    history = model.fit(x, epochs=4, batch_size=20, verbose=0).history
    history = {key: np.array(values) for key, values in history.items()}
    assert history["loss"][-1] < history["loss"][0]
    assert (history["loss"] < history["nll"] + history["kl"]).all()


@pytest.mark.eager
def test_the_chain_draws_what_is_missing(factors):
    """With the posterior for q, it is the Gibbs sampler: exact at last."""
    _, sigma, _, _ = factors
    kernel, bias = np.array([[1.0, 0.5, -2.0]]), np.array([0.1, 0.2, 0.3])
    read, mean, cov = posterior((kernel, bias), sigma)
    model = linear(
        (kernel, bias), (read, mean, np.log(np.diag(cov))), sigma=sigma
    )
    full = kernel.T @ kernel + sigma**2 * np.eye(3)
    observed, given = np.array([True, False, False]), np.array([1.5, 0, 0])
    n = 20_000
    x = model.sample(n, 0, given, observed, batch_size=n, steps=20)
    assert (x[:, 0] == 1.5).all()
    gain = full[1:, 0] / full[0, 0]
    np.testing.assert_allclose(
        x[:, 1:].mean(axis=0), bias[1:] + gain * (1.5 - bias[0]), atol=0.06
    )
    np.testing.assert_allclose(
        np.cov(x[:, 1:].T), full[1:, 1:] - np.outer(gain, full[0, 1:]), atol=0.1
    )
    # Without anything observed they are draws of the model.
    free = model.sample(n, 0, batch_size=n)
    np.testing.assert_allclose(np.cov(free.T), full, atol=0.15)


def ppca(x, latent_dim):
    """The highest log-likelihood of `x`, nats an example, and its σ."""
    count, dim = x.shape
    values = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    noise = values[latent_dim:].mean()
    log_det = np.log(values[:latent_dim]).sum()
    log_det += (dim - latent_dim) * np.log(noise)
    return -0.5 * (dim * np.log(2 * np.pi) + log_det + dim), noise**0.5


@pytest.mark.slow
def test_a_linear_vae_reaches_ppca():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1000, 2)) @ rng.standard_normal((2, 6))
    x = (x + 0.5 * rng.standard_normal((1000, 6)) + 1).astype("float32")
    best, noise = ppca(x.astype("float64"), 2)
    model = generative.VAE(
        6, latent_dim=2, hidden_dims=(), likelihood="gaussian", seed=0
    )
    rates = keras.optimizers.schedules.CosineDecay(0.02, 2000)
    model.compile(keras.optimizers.Adam(rates))
    model.fit(x, epochs=200, batch_size=100, verbose=0)
    # The ELBO, its expectation under q in closed form.
    kernel, bias = (w.astype("float64") for w in model.decoder.get_weights())
    variance = np.exp(float(to_numpy(model.log_var)))
    mean, log_var = (to_numpy(a).astype("float64") for a in model.posterior(x))
    spread = np.exp(log_var) @ np.square(kernel).sum(axis=1)
    error = np.square(x - mean @ kernel - bias).sum(axis=1) + spread
    nll = 0.5 * (6 * np.log(2 * np.pi * variance) + error / variance)
    kl = 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var).sum(axis=1)
    elbo = -(nll + kl).mean()
    law = multivariate_normal(bias, kernel.T @ kernel + variance * np.eye(6))
    log_prob = law.logpdf(x).mean()
    assert elbo < log_prob < best
    assert elbo == pytest.approx(best, rel=0.01)
    assert variance**0.5 == pytest.approx(noise, rel=0.02)
    lower = model.bounds(x, num_samples=50)["lower"].mean()
    assert elbo - 0.02 < lower < best + 0.02


IMAGE = (8, 4, 1)


def images(rows=20):
    return np.random.default_rng(0).random((rows, *IMAGE)).astype("float32")


@pytest.mark.slow
@pytest.mark.eager
def test_images():
    model = generative.VAE(
        IMAGE, latent_dim=3, hidden_dims=(5,), convolutional=True, seed=0
    )
    names = [type(layer).__name__ for layer in model.decoder.layers]
    assert names.count("Conv2DTranspose") == 2
    x = images()
    model.compile(keras.optimizers.Adam(0.01))
    history = model.fit(x, epochs=4, batch_size=10, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert model.encode(x).shape == (20, 3)
    assert model.reconstruct(x).shape == x.shape
    assert model.bounds(x, num_samples=2)["lower"].shape == (20,)
    observed = np.zeros(IMAGE, "bool")
    observed[:4] = True
    y = model.sample(3, 0, np.ones(IMAGE), observed, steps=2)
    assert y.shape == (3, *IMAGE) and (y[:, observed] == 1).all()
    # A part is one for each, or for all, and of an image's own shape.
    with pytest.raises(ValueError, match="`given` must have 3 rows"):
        model.sample(3, 0, np.ones((8, 4)), observed[..., 0])


@keras.saving.register_keras_serializable("tests")
class Thrice(layers.Layer):
    def call(self, x):
        return 3 * x


@pytest.mark.parametrize("own", ["encoder", "decoder", "both"])
def test_networks_of_the_user_are_saved(own, tmp_path):
    inputs = keras.Input(IMAGE)
    features = layers.Conv2D(2, 3, activation="relu")(inputs)
    encoder = keras.Model(inputs, features)  # not flat: (6, 2, 2)
    decoder = keras.Sequential(
        [layers.Dense(32), Thrice(), layers.Reshape(IMAGE)]
    )
    given = {"encoder": encoder, "decoder": decoder}
    if own != "both":
        given = {own: given[own]}
    model = generative.VAE(IMAGE, 3, hidden_dims=(4,), **given, seed=0)
    for name, layer in given.items():
        assert getattr(model, name) is layer
    eagerly = keras.config.backend() != "jax"
    model.compile("adam", run_eagerly=eagerly)
    x = images()
    model.fit(x, epochs=1, batch_size=10, verbose=0)
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.models.load_model(path)
    np.testing.assert_array_equal(again.encode(x), model.encode(x))
    np.testing.assert_array_equal(again.sample(2, 0), model.sample(2, 0))


class Notes(keras.layers.Layer):
    """Passes x on; keeps what it is told of `training`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.told = set()

    def call(self, x, training=None):
        self.told.add(training)
        return x


def test_layers_of_the_user_know_of_the_training():
    notes = Notes(), Notes()
    model = generative.VAE(
        4,
        2,
        encoder=notes[0],
        decoder=keras.Sequential([notes[1], keras.layers.Dense(4)]),
    )
    model.compile("sgd", run_eagerly=keras.config.backend() != "jax")
    model.fit(np.zeros((8, 4)), verbose=0)
    assert all(True in x.told for x in notes)
    for x in notes:
        x.told.clear()
    model.bounds(np.zeros((8, 4)), num_samples=2)
    assert all(x.told and True not in x.told for x in notes)


@pytest.mark.eager
def test_an_x_of_which_nothing_is_given_is_a_plain_draw():
    model = generative.VAE(4, 2, hidden_dims=(6,), seed=0)
    given = np.broadcast_to(np.array([1.0, 0, 1, 0]), (3, 4))
    observed = np.zeros((3, 4), "bool")
    plain = model.sample(3, 0)
    observed[1, :2] = True
    some = model.sample(3, 0, given, observed)
    np.testing.assert_array_equal(some[[0, 2]], plain[[0, 2]])
    assert some[1, :2].tolist() == [1, 0]


@pytest.mark.eager
@pytest.mark.parametrize("cls", [generative.VAE, generative.DLGM])
def test_arguments_out_of_range_are_refused(cls):
    for arguments, name in (
        ({"estimator": "C"}, "estimator"),
        ({"num_samples": 0}, "num_samples"),
        ({"likelihood": "poisson"}, "likelihood"),
        ({"sigma": 1.0}, "sigma"),
        ({"sigma": 0.0, "likelihood": "gaussian"}, "sigma"),
        ({"sigma": np.nan, "likelihood": "gaussian"}, "sigma"),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must be .*Received: "):
            cls(4, **arguments)
    model = cls(4)
    x = np.zeros((2, 4))
    for use in (
        lambda: model.bounds(x, num_samples=0),
        lambda: model.bounds(x, num_samples=1.5),
        lambda: model.bounds(x, batch_size=0),
        lambda: model.sample(1, steps=0),
    ):
        with pytest.raises(ValueError, match="must be an integer >= 1"):
            use()
    # Those of real numbers take any of them.
    model = cls(4, likelihood="gaussian")
    assert np.isfinite(model.bounds(x - 7, num_samples=2)["lower"]).all()


@pytest.mark.eager
def test_networks_that_do_not_fit_are_refused():
    for arguments, message in (
        ({"latent_dim": 0}, "`latent_dim` must be an integer"),
        ({"hidden_dims": (0,)}, "`hidden_dims` must be an integer"),
        ({"encoder": abs}, "`encoder` must be a Keras layer"),
        ({"decoder": "dense"}, "`decoder` must be a Keras layer"),
        ({"decoder": layers.Dense(5)}, "`decoder` must give 4 numbers"),
        ({"convolutional": True}, r"`shape` must be \(H, W, C\)"),
    ):
        with pytest.raises(ValueError, match=message):
            generative.VAE(4, **arguments)
    for shape in (0, (4, 0), 2.5, None):
        with pytest.raises(ValueError, match="`shape` must be an integer"):
            generative.VAE(shape)
    with pytest.raises(ValueError, match="multiples of 4"):
        generative.VAE((8, 6, 1), convolutional=True)
