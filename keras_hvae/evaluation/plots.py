"""Pictures of a training and of what it led to."""

import os
from typing import Any

import numpy as np

from keras_hvae.files import write_whole


def plot_report(
    path: str | os.PathLike,
    history: dict,
    figures: dict,
    best_epoch: int | None = None,
) -> None:
    """Draws learning curves, what the KL pays for, and how the means vary.

    Of a model without latents only the first.

    Args:
        path: where to write the picture; the suffix tells the format.
        history: dict of lists, a number an epoch: `"nll"`, `"kl"` and, for a
            validation set, the same with `"val_"`.
        figures: what `evaluate` returned.
        best_epoch: the epoch that was kept, from 1, to mark.
    """
    # `Figure`, not `pyplot`, which would start a window system.
    from matplotlib.figure import Figure

    prefix = "val_" if "val_nll" in history else ""
    nll = np.array(history[prefix + "nll"])
    epochs = np.arange(1, len(nll) + 1)
    if "information" not in figures:
        figure = Figure(figsize=(5, 4), layout="constrained")
        curves = figure.subplots()
        curves.plot(epochs, nll, marker=".")
        curves.set_xlabel("epoch")
        curves.set_ylabel("nll (nats a document)")
        locator: Any = curves.xaxis.get_major_locator()
        locator.set_params(integer=True)
        curves.set_title("validation" if prefix else "training")
        if best_epoch is not None:
            _mark(curves, best_epoch)
            curves.legend()
        with write_whole(path) as temporary:
            figure.savefig(temporary, dpi=120)
        return
    figure = Figure(figsize=(13, 4), layout="constrained")
    curves, positions, directions = figure.subplots(1, 3)

    kl = np.array(history[prefix + "kl"])
    for name, values in (("−ELBO", nll + kl), ("nll", nll)):
        curves.plot(epochs, values, marker=".", label=name)
    curves.set_xlabel("epoch")
    curves.set_ylabel("−ELBO, nll (nats a document)")
    right = curves.twinx()
    right.plot(epochs, kl, marker=".", color="tab:green", label="KL")
    right.set_ylabel("KL (nats a document)", color="tab:green")
    right.set_ylim(bottom=0)
    curves.xaxis.get_major_locator().set_params(integer=True)
    if best_epoch is not None:
        _mark(curves, best_epoch)
    lines = curves.get_lines() + right.get_lines()
    curves.legend(
        lines,
        [line.get_label() for line in lines],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.15),
        ncols=len(lines),
    )
    curves.set_title("validation" if prefix else "training")

    # NaN, drawn as no bar, where there is one sentence only.
    information = np.array(figures["information_by_position"], "float64")
    kl = np.where(np.isnan(information), np.nan, figures["kl_by_position"])
    places = np.arange(1, len(kl) + 1)
    positions.bar(places, kl, color="0.8", label="mismatch")
    positions.bar(places, information, color="tab:green", label="information")
    positions.set_xlabel("sentence")
    positions.set_ylabel("KL (nats)")
    positions.set_title("KL by sentence position")
    positions.legend()

    values = np.array(figures["mean_spectrum"])
    directions.bar(np.arange(1, len(values) + 1), values)
    directions.set_xlabel("direction, sorted")
    directions.set_ylabel("variance of the posterior mean")
    directions.set_title(
        f"effective rank {figures['effective_rank']:.1f} of {len(values)} "
        f"(active units: {figures['active_units']})"
    )

    with write_whole(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _mark(curves, epoch):
    label = f"kept: epoch {epoch}"
    curves.axvline(epoch, color="gray", linestyle=":", label=label)
