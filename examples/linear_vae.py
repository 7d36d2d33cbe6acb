"""
Title: A linear VAE is probabilistic PCA
Description: Its ELBO climbs to the highest likelihood, which is known.
Accelerator: none needed

    python linear_vae.py [--epochs 150] [--out PICTURE.png]
"""

import argparse

import keras
import numpy as np
from matplotlib.figure import Figure

from keras_hvae import generative

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=150)
parser.add_argument("--out", default="linear_vae.png")
arguments = parser.parse_args()

"""
## Data: three causes, ten numbers, noise
"""

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
N, D, LATENTS = 2000, 10, 3
x = rng.standard_normal((N, LATENTS)) @ rng.standard_normal((LATENTS, D))
x = (x + 0.5 * rng.standard_normal((N, D)) + 1).astype("float32")

"""
## The exact answer

Of all models x = b + Wᵀ z + σ ε the best on these data is known from the
eigenvalues λ of their covariance: σ² is the mean of those that are left out,
and the log-likelihood −½ (D log 2π + Σ log λ + (D − d) log σ² + D) an example.
"""

values = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
noise = values[LATENTS:].mean()
log_det = np.log(values[:LATENTS]).sum() + (D - LATENTS) * np.log(noise)
best = -0.5 * (D * np.log(2 * np.pi) + log_det + D)

"""
## The same by a VAE

Without hidden layers encoder and decoder are linear. Then q(z | x) can be the
posterior, and the best ELBO is the best log-likelihood.
"""

model = generative.VAE(
    D, latent_dim=LATENTS, hidden_dims=(), likelihood="gaussian", seed=0
)
steps = arguments.epochs * N // 100
rate = keras.optimizers.schedules.CosineDecay(0.02, steps)
model.compile(keras.optimizers.Adam(rate))
history = model.fit(
    x,
    epochs=arguments.epochs,
    batch_size=100,
    validation_data=x,
    validation_batch_size=N,
    verbose=0,
).history
elbo = -np.array(history["val_loss"])
for epoch in np.unique(np.geomspace(1, arguments.epochs, 8).astype(int)):
    print(f"epoch {epoch:4}: ELBO {elbo[epoch - 1]:9.3f} nats")
lower = model.bounds(x, num_samples=20)["lower"].mean()
sigma = float(np.exp(0.5 * keras.ops.convert_to_numpy(model.log_var)))
print(f"ELBO at the end           {elbo[-1]:9.3f}  (one draw for each x)")
print(f"20 draws, weighted        {lower:9.3f}")
print(f"pPCA, exact               {best:9.3f}")
print(f"σ {sigma:.4f}, of pPCA {noise**0.5:.4f}")

figure = Figure(figsize=(6, 4), layout="constrained")
plot = figure.subplots()
plot.plot(np.arange(1, len(elbo) + 1), elbo, label="ELBO of the linear VAE")
plot.axhline(best, linestyle=":", color="black", label="pPCA, exact")
plot.set_xscale("log")
plot.set_ylim(min(best - 8, elbo[-1]), best + 1)
plot.set_xlabel("epoch")
plot.set_ylabel("nats an example")
plot.legend()
figure.savefig(arguments.out, dpi=120)
