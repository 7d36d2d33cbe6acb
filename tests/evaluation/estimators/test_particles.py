"""Bounds on models whose log p(x) is known exactly."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from keras_hvae.evaluation.estimators.importance import iwae, iwae_sweep
from keras_hvae.evaluation.estimators.particles import particle_bound

pytestmark = pytest.mark.eager

K = 50_000


class Chain:
    """z_1 ~ N(0, 1), z_i = a z_{i−1} + N(0, s²), x_i = z_i + N(0, r²).

    `step` draws from q(z_i | z_{i−1}, x), the exact posterior, or one whose
    mean is off by `shift` standard deviations and whose standard deviation by
    the factor `width`; with `blind` from the prior.
    """

    a, s, r = 0.8, 0.7, 0.5

    def __init__(self, lengths, shift=0.0, width=1.0, blind=False, seed=0):
        self.lengths, n = np.array(lengths), max(lengths)
        self.shift, self.width, self.blind = shift, width, blind
        self.rng = np.random.default_rng(seed)
        self.noise_var = np.where(np.arange(n) == 0, 1.0, self.s**2)
        path = np.eye(n) - np.diag(np.full(n - 1, self.a), -1)
        path = np.linalg.inv(path)  # from the noise to z
        self.prior_cov = path * self.noise_var @ path.T
        self.x = self.rng.multivariate_normal(
            np.zeros(n), self.prior_cov + self.r**2 * np.eye(n), len(lengths)
        )
        self.x[np.arange(n) >= self.lengths[:, None]] = np.nan

    def log_likelihood(self):
        return np.array(
            [
                multivariate_normal.logpdf(
                    x[:n], cov=self.prior_cov[:n, :n] + self.r**2 * np.eye(n)
                )
                for x, n in zip(self.x, self.lengths)
            ]
        )

    def conditional(self, row, i):
        """Slope, intercept and standard deviation of q(z_i | z_{i−1}, x)."""
        if self.blind:
            return self.a * (i > 0), 0.0, np.sqrt(self.noise_var[i])
        # Sentences i, i + 1, … as a Gaussian in z_i, from the last backwards.
        precision = linear = 0.0
        for j in reversed(range(i, self.lengths[row])):
            if precision:
                shrink = self.a / (1 + self.s**2 * precision)
                precision, linear = (
                    shrink * self.a * precision,
                    shrink * linear,
                )
            precision += self.r**-2
            linear += self.x[row, j] / self.r**2
        var = 1 / (precision + 1 / self.noise_var[i])
        slope = var * self.a * (i > 0) / self.noise_var[i]
        mean = var * linear + self.shift * np.sqrt(var)
        return slope, mean, self.width * np.sqrt(var)

    def step(self, i, z, num_particles=K):
        real = i < self.lengths
        rows = [
            self.conditional(row, i) if here else (0.0, 0.0, 1.0)
            for row, here in enumerate(real)
        ]
        slope, mean, std = np.array(rows).T[..., None]
        last = np.zeros((len(rows), num_particles))
        if z is not None:
            last = z[..., 0]
        mean = mean + slope * last
        z = mean + std * self.rng.standard_normal(last.shape)
        log_weights = (
            norm.logpdf(self.x[:, i, None], z, self.r)
            + norm.logpdf(z, self.a * last, np.sqrt(self.noise_var[i]))
            - norm.logpdf(z, mean, std)
        )
        return z[..., None], log_weights

    def log_weights(self, num_draws=K):
        """Weights of whole documents, without resampling: (K, B)."""
        total, z = np.zeros((len(self.lengths), num_draws)), None
        for i in range(self.lengths.max()):
            z, increments = self.step(i, z, num_draws)
            real = i < self.lengths
            total[real] += increments[real]
        return total.T

    def elbo(self):
        """E_q [log p(x, z) − log q(z)], from the moments of q(z)."""
        bounds = []
        for row, n in enumerate(self.lengths):
            slope, mean, std = np.array(
                [self.conditional(row, i) for i in range(n)]
            ).T
            path = np.linalg.inv(np.eye(n) - np.diag(slope[1:], -1))
            mean, cov = path @ mean, path * std**2 @ path.T
            prior = self.prior_cov[:n, :n]
            cross = np.trace(np.linalg.solve(prior, cov))
            log_prior = multivariate_normal.logpdf(mean, cov=prior) - cross / 2
            errors = norm.logpdf(self.x[row, :n], mean, self.r)
            log_x = (errors - np.diag(cov) / (2 * self.r**2)).sum()
            entropy = n / 2 * np.log(2 * np.pi * np.e) + np.log(std).sum()
            bounds.append(log_x + log_prior + entropy)
        return np.array(bounds)


def wrong_chain(**kwargs):
    return Chain([6, 4, 1, 5], shift=0.15, width=1.15, **kwargs)


def test_the_exact_posterior_makes_all_weights_equal():
    chain = Chain([6, 4, 1, 5])
    exact = chain.log_likelihood()
    np.testing.assert_allclose(chain.elbo(), exact, rtol=1e-10)
    log_weights = chain.log_weights(100)
    np.testing.assert_allclose(
        log_weights, np.broadcast_to(exact, (100, 4)), rtol=1e-10
    )
    figures = iwae(log_weights)
    np.testing.assert_allclose(figures["log_likelihood"], exact, rtol=1e-10)
    np.testing.assert_allclose(figures["ess"], 100, rtol=1e-10)
    bound = particle_bound(
        lambda i, z: chain.step(i, z, 1), chain.lengths, 1, seed=0
    )
    np.testing.assert_allclose(bound["log_likelihood"], exact, rtol=1e-10)


def test_iwae_reaches_the_exact_likelihood():
    chain = wrong_chain()
    figures = iwae(chain.log_weights())
    np.testing.assert_allclose(
        figures["log_likelihood"], chain.log_likelihood(), atol=0.01
    )
    assert (figures["ess"] > K / 3).all()
    assert (figures["ess"] < 0.99 * K).all()


@pytest.mark.parametrize("threshold", [0.9, 1.0])
def test_particles_reach_the_exact_likelihood(threshold):
    chain = wrong_chain()
    bound = particle_bound(
        chain.step, chain.lengths, K, seed=0, threshold=threshold
    )
    np.testing.assert_allclose(
        bound["log_likelihood"], chain.log_likelihood(), atol=0.01
    )
    assert bound["resamplings"][0] > 0
    if threshold == 1:  # before every sentence but the first
        assert bound["resamplings"].tolist() == [5, 3, 0, 4]


def test_one_draw_gives_the_elbo_more_draws_a_tighter_bound():
    chain = wrong_chain()
    exact, elbo = chain.log_likelihood(), chain.elbo()
    log_weights = chain.log_weights()
    sweep = iwae_sweep(log_weights, sizes=(1, 3, 30, 300))
    error = log_weights.std(axis=0) / np.sqrt(K)
    assert (np.abs(sweep[1] - elbo) < 3 * error).all()
    assert (exact - elbo > 10 * error).all()
    assert (np.diff(list(sweep.values()), axis=0) > 0).all()
    np.testing.assert_allclose(sweep[300], exact, atol=0.02)


def test_resampling_tightens_the_bound_of_long_documents():
    chain = Chain([40] * 10, blind=True)
    exact = chain.log_likelihood()

    def step(i, z):
        return chain.step(i, z, 100)

    gaps = {
        threshold: exact
        - particle_bound(step, chain.lengths, 100, seed=0, threshold=threshold)[
            "log_likelihood"
        ]
        for threshold in (0, 0.5)
    }
    assert gaps[0].mean() > 3
    assert -0.5 < gaps[0.5].mean() < 1


# A hidden Markov model with three states and two words. q is the prior.
INITIAL = np.array([0.5, 0.3, 0.2])
MOVES = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
WORDS = np.array([[0.9, 0.1], [0.5, 0.5], [0.0, 1.0]])
SENTENCES = [0, 1, 1, 0]


def likelihood(sentences):
    """p(x) by the forward algorithm."""
    forward = INITIAL * WORDS[:, sentences[0]]
    for word in sentences[1:]:
        forward = forward @ MOVES * WORDS[:, word]
    return forward.sum()


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_the_likelihood_itself_is_unbiased(threshold):
    # Each document many times, with few particles; some weights are 0.
    repeats, particles = 10_000, 3
    lengths = np.repeat([4, 2, 1], repeats)
    rng = np.random.default_rng(0)

    def step(i, z):
        rows = INITIAL if z is None else MOVES[z[..., 0]]
        uniforms = rng.random((len(lengths), particles, 1))
        z = (uniforms > np.cumsum(rows, axis=-1)[..., :-1]).sum(axis=-1)
        with np.errstate(divide="ignore"):
            return z[..., None], np.log(WORDS[z, SENTENCES[i]])

    bound = particle_bound(step, lengths, particles, 0, threshold)
    estimates = np.exp(bound["log_likelihood"]).reshape(3, repeats)
    errors = estimates.std(axis=1) / np.sqrt(repeats)
    expected = [likelihood(SENTENCES[:n]) for n in (4, 2, 1)]
    assert (errors < 0.02 * np.array(expected)).all()
    assert (np.abs(estimates.mean(axis=1) - expected) < 3 * errors).all()
    resamplings = bound["resamplings"].reshape(3, repeats).mean(axis=1)
    if threshold:
        assert (resamplings[:2] > 0.05).all()
    assert (resamplings <= np.array([3, 1, 0]) * (threshold > 0)).all()


def scripted(weights, record=None):
    """A step that gives these weights (n, B, K); z counts the particles."""
    with np.errstate(divide="ignore"):
        log_weights = np.log(np.asarray(weights, "float64"))

    def step(i, z):
        if record is not None:
            record.append(z)
        _, rows, count = log_weights.shape
        ids = 100 * i + np.arange(count)
        return np.broadcast_to(ids[:, None], (rows, count, 1)), log_weights[i]

    return step


def test_a_bound_by_hand():
    # Averages 2 and 1.5, resampled between; products 3, 3, 0, 0, not so.
    weights = [[[8, 0, 0, 0], [3, 3, 1, 1]], [[3, 1, 1, 1], [1, 1, 0, 0]]]
    record = []
    bound = particle_bound(scripted(weights, record), [2, 2], 4, seed=0)
    np.testing.assert_allclose(
        bound["log_likelihood"], np.log([3, 1.5]), rtol=1e-12
    )
    assert bound["resamplings"].tolist() == [1, 0]
    assert record[0] is None
    assert record[1][..., 0].tolist() == [[0, 0, 0, 0], [0, 1, 2, 3]]


def test_offspring_are_the_weights_rounded():
    weights = np.array([0.5, 2.25, 0.25, 5.0, 0.0, 0.0, 0.0, 0.0])  # sum 8
    counts, repeated = np.zeros(8), 0
    for seed in range(400):
        record = []
        particle_bound(scripted([[weights]] * 3, record), [3], 8, seed=seed)
        first, second = (z.ravel() % 100 for z in record[1:])
        offspring = np.bincount(first, minlength=8)
        assert (np.abs(offspring - weights) < 1).all()
        counts += offspring
        repeated += (first == second).all()
    np.testing.assert_allclose(counts / 400, weights, atol=0.1)
    assert repeated < 300  # each resampling has a number of its own


def test_threshold_0_is_iwae_and_weights_of_0_are_no_error():
    weights = np.random.default_rng(0).random((5, 3, 7)) ** 4
    weights[2, 1] = 0.0  # a document that no particle explains
    for threshold in (0, 0.9):
        bound = particle_bound(
            scripted(weights), [5, 5, 5], 7, seed=0, threshold=threshold
        )
        assert bound["log_likelihood"][1] == -np.inf
        assert np.isfinite(bound["log_likelihood"][[0, 2]]).all()
        if not threshold:
            np.testing.assert_allclose(
                bound["log_likelihood"][[0, 2]],
                iwae(np.log(weights[:, [0, 2]]).sum(axis=0).T)[
                    "log_likelihood"
                ],
            )
            assert not bound["resamplings"].any()


def test_nothing_behind_the_end_counts():
    rng = np.random.default_rng(0)
    weights = rng.random((4, 3, 6)) ** 4
    behind = weights.copy()
    behind[2:, 1] = np.nan
    behind[:, 2] = np.nan
    bound = particle_bound(scripted(behind), [4, 2, 0], 6, seed=0)
    short = particle_bound(scripted(weights[:2]), [2, 2, 0], 6, seed=0)
    for key, values in bound.items():
        assert values[1] == short[key][1]
        assert values[2] == 0
    assert bound["resamplings"][0] > 0


def test_a_document_is_on_its_own():
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((5, 3, 9))
    lengths = np.array([5, 2, 4])

    def step_of(rows):
        def step(i, z):
            last = 0.0 if z is None else z[..., 0]
            z = 0.9 * last + noise[i, rows]
            return z[..., None], -2 * np.square(z - 1)

        return step

    def bound_of(rows, seed):
        return particle_bound(step_of(rows), lengths[rows], 9, seed)

    together = bound_of([0, 1, 2], 7)
    assert (together["resamplings"] > 0).all()
    for row in range(3):
        alone = bound_of([row], [(7, row)])
        for key, values in together.items():
            assert alone[key][0] == values[row]
    swapped = bound_of([2, 0, 1], [(7, 2), (7, 0), (7, 1)])
    np.testing.assert_array_equal(
        swapped["log_likelihood"], together["log_likelihood"][[2, 0, 1]]
    )
    other = bound_of([0, 1, 2], 8)["log_likelihood"]
    assert (other != together["log_likelihood"]).all()


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        ({"lengths": [2, -1]}, "`lengths`"),
        ({"lengths": [2.0, 1.0]}, "`lengths`"),
        ({"lengths": []}, "`lengths`"),
        ({"lengths": 2}, "`lengths`"),
        ({"num_particles": 0}, "`num_particles`"),
        ({"threshold": -0.1}, "`threshold`"),
        ({"threshold": 1.1}, "`threshold`"),
        ({"threshold": float("nan")}, "`threshold`"),
        ({"seed": -1}, "`seed`"),
        ({"seed": [1, 2, 3]}, "`seed`"),
        ({"num_particles": 5}, "`step`"),
        ({"lengths": [2]}, "`step`"),
    ],
)
def test_bad_arguments_are_named(arguments, culprit):
    step = scripted(np.ones((2, 2, 4)))
    given = {"lengths": [2, 2], "num_particles": 4, "seed": 0, **arguments}
    with pytest.raises(ValueError, match=rf"{culprit} must .* Received: "):
        particle_bound(step, **given)
