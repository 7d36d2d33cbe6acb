"""Deep latent Gaussian models against what is known of them."""

import keras
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from keras_hvae import generative

to_numpy = keras.ops.convert_to_numpy


def make(covariance="diagonal", **arguments):
    model = generative.DLGM(
        3,
        latent_dims=(2, 1),
        hidden_dim=4,
        covariance=covariance,
        seed=0,
        **arguments,
    )
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(0.4 * rng.standard_normal(weight.shape))
    return model


@pytest.mark.eager
def test_noise_goes_down_through_the_layers():
    model = make()
    xi = np.random.default_rng(1).standard_normal((5, 3)).astype("float32")
    (top, bottom) = model.noise_mixers[1], model.noise_mixers[0]
    h2 = xi[:, 2:] @ to_numpy(top.kernel)

    def transform(h, network):
        first, last = network.layers
        hidden = np.tanh(h @ to_numpy(first.kernel) + to_numpy(first.bias))
        return hidden @ to_numpy(last.kernel) + to_numpy(last.bias)

    h1 = transform(h2, model.transforms[1])
    h1 = h1 + xi[:, :2] @ to_numpy(bottom.kernel)
    np.testing.assert_allclose(
        to_numpy(model.decode(xi)),
        transform(h1, model.transforms[0]),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.eager
@pytest.mark.parametrize("covariance", ["diagonal", "rank_one"])
def test_the_posterior_is_a_gaussian_of_blocks(covariance):
    model = make(covariance)
    x = np.random.default_rng(1).random((4, 3)).astype("float32")
    q = model.posterior(x)
    assert len(q.parts) == 2
    np.testing.assert_allclose(model.encode(x), to_numpy(q.mean), rtol=1e-5)
    # KL(q ‖ N(0, I)) is the average of estimator A's.
    noise = np.random.default_rng(2).standard_normal((4, 20_000, 3), "float32")
    _, log_ratio, kl = (to_numpy(a) for a in model.terms(x, noise))
    error = log_ratio.std(axis=1).max() / 20_000**0.5
    np.testing.assert_allclose(log_ratio.mean(axis=1), kl, atol=5 * error)
    # Weights of the same draws by SciPy's densities.
    part, draws = q.parts[0], noise[:1, :5, :2]
    first = type(part)(*(a[:1, None] for a in part))
    z = first.sample(draws)
    log_prob = to_numpy(first.log_prob(z))[0]
    precision = np.diag(np.exp(-to_numpy(part.log_var)[0]))
    if covariance == "rank_one":
        u = to_numpy(part.direction)[0]
        precision = precision + np.outer(u, u)
    law = multivariate_normal(to_numpy(part.mean)[0], np.linalg.inv(precision))
    expected = law.logpdf(to_numpy(z)[0])
    np.testing.assert_allclose(log_prob, expected, rtol=1e-4)


@pytest.mark.eager
def test_the_bound_of_a_linear_model_comes_to_log_p():
    """T linear about 0: x is a Gaussian."""
    model = make(likelihood="gaussian", sigma=0.5)
    small = 1e-3
    for network, bias in zip(model.transforms, (0.3, -0.2)):
        first, last = network.layers
        first.kernel.assign(small * first.kernel)
        first.bias.assign(0 * first.bias)
        last.kernel.assign(last.kernel / small)
        last.bias.assign(0 * last.bias + bias)
    maps = [
        to_numpy(network.layers[0].kernel) @ to_numpy(network.layers[1].kernel)
        for network in model.transforms
    ]
    bottom, top = (to_numpy(mixer.kernel) for mixer in model.noise_mixers)
    # x = T_0(T_1(G_2 ξ_2) + G_1 ξ_1) + 0.5 ε
    loadings = np.concatenate([bottom, top @ maps[1]]) @ maps[0]
    mean = np.full(2, -0.2) @ maps[0] + 0.3
    law = multivariate_normal(mean, loadings.T @ loadings + 0.25 * np.eye(3))
    x = law.rvs(20, random_state=0)
    lower = [model.bounds(x, k)["lower"].mean() for k in (1, 20, 4000)]
    exact = law.logpdf(x).mean()
    assert lower[0] < lower[1] < exact
    assert lower[2] == pytest.approx(exact, abs=0.02)
    draws = model.sample(20_000, 0, batch_size=20_000)
    np.testing.assert_allclose(np.cov(draws.T), law.cov, atol=0.05)


@pytest.mark.eager
def test_the_prior_of_weights_is_divided_by_the_examples():
    x = np.random.default_rng(1).random((4, 3)).astype("float32")
    model = make(weight_prior=0.5, num_examples=20)
    model(x)
    bound, prior = (float(to_numpy(loss)) for loss in model.losses)
    generative_layers = (*model.transforms, *model.noise_mixers)
    squares = sum(
        np.square(weight).sum()
        for layer in generative_layers
        for weight in layer.get_weights()
    )
    # −log N(θ; 0, κ I), less a constant.
    assert prior == pytest.approx(squares / (2 * 0.5) / 20, rel=1e-5)
    model.compile(keras.optimizers.SGD(0.0))
    history = model.fit(x, verbose=0).history
    (total,), (nll,), (kl,) = (history[key] for key in ("loss", "nll", "kl"))
    assert total == pytest.approx(nll + kl + prior, rel=1e-5)
    config = model.get_config()
    assert config["weight_prior"] == 0.5 and config["num_examples"] == 20
    assert generative.DLGM.from_config(config).get_config() == config


def test_arguments_that_do_not_go_together_are_refused():
    for arguments, message in (
        ({"latent_dims": ()}, "`latent_dims` must have an int for each layer"),
        ({"latent_dims": (2, 0)}, "`latent_dims` must be an integer"),
        ({"hidden_dim": 0}, "`hidden_dim` must be an integer"),
        ({"covariance": "full"}, "`covariance` must be one of"),
        ({"weight_prior": 0.0}, "`weight_prior` must be > 0. Received: 0.0"),
        (
            {"weight_prior": 1.0},
            "`num_examples` must be an integer >= 1. Received: None",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            generative.DLGM(3, **arguments)


@pytest.mark.eager
@pytest.mark.parametrize("layers", [1, 3])
def test_any_number_of_layers(layers):
    model = generative.DLGM(3, latent_dims=(2,) * layers, hidden_dim=4)
    assert model.encode(np.ones((2, 3))).shape == (2, 2 * layers)
    assert model.sample(2, 0).shape == (2, 3)
