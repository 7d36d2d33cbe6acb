"""The model against brute force: is the ELBO a bound of the right number?

A model of three words (two and `[EOS]`), of two sentences with at most two
words each, and with one-dimensional latents is so small that

- all documents can be listed, and
- integrals over z_1 and z_2 are sums over a grid.

The list. The decoder never ends by force, so sentences of one and two words
alone do not have probability 1 together: longer ones have the rest. But the
words after the second one change neither the encoder's input, if we cut them
off, nor what the first two had cost. So an *event* is a sentence that ended
(`E`, `aE`, `bE`) or a *beginning* of two words that goes on in whatever way
(`aa`, `ab`, `ba`, `bb`); its probability is the product over the words it
has, and these 7 events are all that can happen: they sum to 1. A document is
a pair of events: 49 of them. Their number of sentences, two, is given.

The softmax also has the ids of padding, `[UNK]` and `[BOS]`. A large negative
bias makes them impossible.

The grid. Both latents are mean + σ ε with ε standard normal, so a grid over
(ε_1, ε_2) with the weights of the normal density integrates over whatever
distribution made mean and σ: the prior (by `roll_out`) or the posterior (by
the encoder with ε as its `noise`). The trapezoidal rule converges
exponentially for such smooth integrands.
"""

import itertools

import numpy as np
import pytest
import scipy.stats
from keras import ops

from keras_hvae.ids import BOS_ID, EOS_ID, PAD_ID, UNK_ID
from keras_hvae.inference import compiled
from tests.harness import slow

pytestmark = pytest.mark.eager

to_numpy = ops.convert_to_numpy
A, B, E = 4, 5, EOS_ID
EVENTS = [(E, PAD_ID), (A, E), (B, E), (A, A), (A, B), (B, A), (B, B)]
DOCUMENTS = np.array(list(itertools.product(EVENTS, EVENTS)), "int32")
PAIRS = np.array(list(itertools.product(range(7), range(7))))  # their events

POINTS = np.linspace(-7, 7, 43)
WEIGHTS = scipy.stats.norm.pdf(POINTS) * (POINTS[1] - POINTS[0])
GRID = np.array(list(itertools.product(POINTS, POINTS)), "float32")[..., None]
GRID_WEIGHTS = np.outer(WEIGHTS, WEIGHTS).ravel()

SETTINGS = {
    "rnn-shared": {},
    "concat-learned": {"transition": "concat", "prior": "learned"},
    "sum-shared-empirical": {
        "transition": "sum",
        "initial_prior": "empirical",
        "backward": "exclusive",
    },
    "gated-learned": {"transition": "gated", "prior": "learned"},
}


@pytest.fixture(
    scope="module",
    params=[
        "gated-learned",
        *slow("rnn-shared", "concat-learned", "sum-shared-empirical"),
    ],
)
def model(request, make_hvae):
    model = make_hvae(6, scale=0.5, latent_dim=1, **SETTINGS[request.param])
    bias = to_numpy(model.emission.token_nll.bias).copy()
    bias[[PAD_ID, UNK_ID, BOS_ID]] = -100.0
    model.emission.token_nll.bias.assign(bias)
    # Keep posterior and prior wide enough for the grid, yet not alike.
    for layer in (model.latent_chain.head, model.latent_chain.prior_head):
        for weight in layer.log_var.weights:
            weight.assign(0.6 * weight)
    if "empirical" in request.param:
        model.latent_chain.initial_mean.assign([0.4])
        model.latent_chain.initial_log_var.assign([-0.5])
    return model


def read(model, x, noise):
    """All that `compiled.score` says, and the parameters of q and p."""
    chain = model.infer(x, noise)
    return {**chain, **compiled.score(model, x, noise)}


def run(model, function, **inputs):
    return compiled.run_padded(model.runner.compiled(function), inputs)


@pytest.fixture(scope="module")
def log_p(model):
    """log p(x) of the 49 documents, by the prior's grid. No KL, no encoder."""
    z = run(model, compiled.roll_out, noise=GRID)["z"]
    # p(event | z_i) for every event and grid point: the events stand as the
    # seven sentences of one document, all with the same latent.
    likelihoods = []
    for i in range(2):
        ids = np.tile(np.array(EVENTS, "int32"), (len(z), 1, 1))
        latents = np.repeat(z[:, i : i + 1], 7, axis=1)
        nll = run(model, compiled.nll_given_z, x=ids, z=latents)["nll"]
        likelihoods.append(np.exp(-nll.astype("float64")))
    first, second = likelihoods  # (grid, 7)
    joint = np.einsum("g,ga,gb->ab", GRID_WEIGHTS, first, second)
    return np.log(joint[tuple(PAIRS.T)])


@pytest.fixture(scope="module")
def posterior(model):
    """What the model says of each document along the posterior's grid."""
    return [
        run(
            model,
            read,
            x=np.tile(document, (len(GRID), 1, 1)),
            noise=GRID,
        )
        for document in DOCUMENTS
    ]


def expectation(values):
    return float(GRID_WEIGHTS @ values.astype("float64"))


def log_ratio(row):
    """log q(z | x) − log p(z) at the grid's latents, from the densities."""
    densities = [
        scipy.stats.norm.logpdf(
            row["z"],
            row[f"{prior}mean"],
            np.exp(row[f"{prior}log_var"].astype("float64") / 2),
        )
        for prior in ("", "prior_")
    ]
    return (densities[0] - densities[1]).sum(axis=(1, 2))


def test_documents_have_probability_one_together(log_p):
    assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-6)
    # ... and are not all alike: a constant would sum to 1, too.
    assert np.exp(log_p).max() > 4 * np.exp(log_p).min()


def test_importance_weights_average_to_the_likelihood(posterior, log_p):
    # E_q[p(x | z) p(z) / q(z | x)] = p(x): the densities of prior and
    # posterior and the words' probabilities belong to one and the same model.
    for row, expected in zip(posterior, log_p):
        weight = np.exp(-row["nll"].sum(axis=1) - log_ratio(row))
        assert np.log(expectation(weight)) == pytest.approx(expected, abs=1e-3)


def test_kl_is_that_of_the_densities(posterior):
    # Σ_i E[KL(q_i ‖ p_i)] = E_q[log q(z | x) − log p(z)]: a KL that is
    # reversed, halved or that misses a sentence is not.
    for row in posterior:
        kl = expectation(row["kl"].sum(axis=1))
        assert kl == pytest.approx(expectation(log_ratio(row)), abs=1e-5)


def test_elbo_is_a_lower_bound(posterior, log_p):
    elbos = [-expectation((row["nll"] + row["kl"]).sum(1)) for row in posterior]
    assert (elbos < log_p).all()
    # The posteriors are near enough for the KL to be what makes it a bound.
    nlls = [expectation(row["nll"].sum(1)) for row in posterior]
    assert (-np.array(nlls) > log_p).any()


def test_scores_elbo_is_the_exact_one(model, posterior, log_p):
    exact = [-expectation((row["nll"] + row["kl"]).sum(1)) for row in posterior]
    copies = 64
    scores = model.score(
        np.repeat(DOCUMENTS, copies, axis=0),
        num_samples=4,
        seed=0,
        batch_size=4096,
    )
    draws = scores["elbo"].reshape(len(DOCUMENTS), copies)
    error = draws.std(axis=1, ddof=1) / np.sqrt(copies)
    assert (np.abs(draws.mean(axis=1) - exact) < 4.5 * error).all()
    assert (draws.mean(axis=1) < log_p + 4.5 * error).all()


def test_generated_documents_have_these_probabilities(model, log_p):
    # The other way round: what `generate` writes, counted.
    count = 4096
    ids = model.generate(
        num_documents=count,
        num_sentences=2,
        max_words=2,
        sampler="categorical",
        seed=0,
        batch_size=4096,
    )[..., :2]  # of the second id: `[EOS]`, or a word that goes on
    events = {event: i for i, event in enumerate(EVENTS)}
    observed = np.zeros((7, 7))
    for document in ids.tolist():
        observed[tuple(events[tuple(sentence)] for sentence in document)] += 1
    pvalue = scipy.stats.chisquare(
        observed[tuple(PAIRS.T)], count * np.exp(log_p) / np.exp(log_p).sum()
    ).pvalue
    assert pvalue > 1e-3


def test_chains_kl_by_monte_carlo(make_hvae, make_ids):
    # The same as on the grid, for more dimensions than a grid can have.
    model = make_hvae(latent_dim=3, scale=0.7)
    draws = 20_000
    ids = np.repeat(make_ids(1, sentences=2), draws, axis=0)
    noise = np.random.default_rng(0).standard_normal((draws, 2, 3), "float32")
    out = run(model, read, x=ids, noise=noise)
    difference = log_ratio(out) - out["kl"].sum(axis=1)
    error = difference.std(ddof=1) / np.sqrt(draws)
    assert abs(difference.mean()) < 4 * error
    assert out["kl"].mean() > 50 * error  # enough draws to tell
