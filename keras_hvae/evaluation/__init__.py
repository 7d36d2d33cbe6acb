"""Honest figures of a model, and pictures of them."""

from keras_hvae.evaluation.evaluate import evaluate, summary
from keras_hvae.evaluation.latents import (
    active_units,
    mean_variances,
    shuffle_documents,
)
from keras_hvae.evaluation.plots import plot_report

__all__ = [
    "active_units",
    "evaluate",
    "mean_variances",
    "plot_report",
    "shuffle_documents",
    "summary",
]
