"""
Title: Variational EM, and what it bounds
Description: log p(x) = ELBO + KL(q ‖ p(h | x)), each term counted out.
Accelerator: none needed

    python variational_em.py [--out PICTURE.png]
"""

import argparse
import itertools

import numpy as np
from matplotlib.figure import Figure

parser = argparse.ArgumentParser()
parser.add_argument("--out", default="variational_em.png")
picture = parser.parse_args().out

"""
## A model with causes that are on or off

h_k ~ Bernoulli(π_k), x ~ N(hᵀ W, σ² I). Four causes have 16 states: few
enough to count out what is not known of larger models, log p(x) and p(h | x).
"""

rng = np.random.default_rng(0)
K, D, N, NOISE = 4, 3, 500, 1.0
true = rng.standard_normal((K, D)) * 2
x = (rng.random((N, K)) < 0.4) @ true + NOISE * rng.standard_normal((N, D))
states = np.array([*itertools.product([0, 1], repeat=K)])  # (16, K)


def log_joint(pi, weights, variance):
    """log p(x, h) of all x and all states, (N, 16)."""
    prior = states @ np.log(pi) + (1 - states) @ np.log(1 - pi)
    square = np.square(x[:, None] - states @ weights).sum(axis=-1)
    scale = D * np.log(2 * np.pi * variance)
    return prior - 0.5 * (square / variance + scale)


"""
## E: the best q whose causes are independent

q(h) = ∏ q_k^h_k (1 − q_k)^(1 − h_k), in place of p(h | x). With the others
held, the best log-odds of q_k are log π_k / (1 − π_k) + w_kᵀ (x − Σ_{j≠k} q_j
w_j − w_k / 2) / σ². One cause after the other, a few times.
"""


def e_step(q, pi, weights, variance, turns=3):
    for _ in range(turns):
        for k in range(K):
            left = x - q @ weights + q[:, k : k + 1] * weights[k]
            odds = (left - weights[k] / 2) @ weights[k] / variance
            odds += np.log(pi[k] / (1 - pi[k]))
            q[:, k] = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
    return q


"""
## M: the best parameters for that q

Averages and a linear regression, on E h = q and E h hᵀ.
"""


def m_step(q):
    second = q.T @ q + np.diag((q * (1 - q)).sum(axis=0))
    weights = np.linalg.solve(second, q.T @ x)
    spread = (q * (1 - q)) @ np.square(weights).sum(axis=1)
    square = np.square(x - q @ weights).sum(axis=1) + spread
    pi = np.clip(q.mean(axis=0), 1e-4, 1 - 1e-4)
    return pi, weights, square.mean() / D


def figures(q, parameters):
    """log p(x), the ELBO and KL(q ‖ p(h | x)), each by itself: averages."""
    joint = log_joint(*parameters)
    top = joint.max(axis=1, keepdims=True)
    log_p = top[:, 0] + np.log(np.exp(joint - top).sum(axis=1))
    inside = np.clip(q, 1e-12, 1 - 1e-12)
    log_q = np.log(inside) @ states.T + np.log(1 - inside) @ (1 - states).T
    posterior = joint - log_p[:, None]  # log p(h | x)
    elbo = (np.exp(log_q) * (joint - log_q)).sum(axis=1)
    kl = (np.exp(log_q) * (log_q - posterior)).sum(axis=1)
    return log_p.mean(), elbo.mean(), kl.mean()


q = np.full((N, K), 0.5)
parameters = np.full(K, 0.5), rng.standard_normal((K, D)), x.var()
history = []
print("step    log p(x)  =  ELBO      +  KL(q ‖ p(h | x))")
for step in range(41):
    for half in ("E", "M"):
        if half == "E":
            q = e_step(q, *parameters)
        else:
            parameters = m_step(q)
        history.append(figures(q, parameters))
    log_p, elbo, kl = history[-1]
    assert abs(log_p - elbo - kl) < 1e-8  # the identity
    if step % 5 == 0:
        print(f"{step:4}  {log_p:10.4f}  {elbo:10.4f}  {kl:10.4f}")
history = np.array(history)
assert (np.diff(history[:, 1]) > -1e-8).all()  # no half step lowers the ELBO
print(f"ELBO: {history[0, 1]:.3f} to {history[-1, 1]:.3f}, never down")
of_truth = figures(q, (np.full(K, 0.4), true, NOISE**2))[0]
print(f"log p(x) of the model that made x: {of_truth:.3f}")

figure = Figure(figsize=(6, 4), layout="constrained")
plot = figure.subplots()
steps = np.arange(len(history)) / 2
plot.fill_between(steps, history[:, 1], history[:, 0], alpha=0.3, label="KL")
plot.plot(steps, history[:, 0], label="log p(x)")
plot.plot(steps, history[:, 1], label="ELBO")
plot.axhline(of_truth, linestyle=":", color="gray", label="truth's log p(x)")
plot.set_xlabel("steps of variational EM")
plot.set_ylabel("nats an example")
plot.legend()
figure.savefig(picture, dpi=120)
