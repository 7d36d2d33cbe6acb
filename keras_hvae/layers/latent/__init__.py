"""Latent Gaussians: the chain and its parts."""
