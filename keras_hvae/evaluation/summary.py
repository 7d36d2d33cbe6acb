"""The figures of an evaluation as a text."""

from keras_hvae.evaluation.advice import advise
from keras_hvae.evaluation.estimators.mutual_information import at_cap


def summary(figures: dict) -> str:
    """The figures of `evaluate` as a short text.

    Args:
        figures: what `evaluate` returned.

    Returns:
        A string of several lines.
    """
    if "tokens" in figures:
        head = (
            "{documents:,} windows, {sentences:,} sentences, {tokens:,} "
            "tokens, {unknown_rate:.1%} of the words unknown; nats a sentence:"
        )
    else:
        head = "{documents:,} sequences, {frames:,} frames; nats a frame:"
    lines = [head.format(**figures)]
    for name, key in (("nll", "nll"), ("KL", "kl"), ("-ELBO", "neg_elbo")):
        lines.append(_row(f"  {name}", figures[key]["per_sentence"]))
    if any(figures["kl_by_position"]):
        lines.append(_positions("  KL by position", figures["kl_by_position"]))
    if "information" in figures:
        lines += _latents(figures)
    if "perplexity_bound" in figures:
        bound = figures["perplexity_bound"]
        lines.append(_row("perplexity (bound)", bound, ".1f"))
    for name in ("iwae", "particles"):
        if name in figures:
            lines += _bound(name, figures[name])
    for name in ("reconstruction", "samples", "responses"):
        if name in figures:
            lines.append(f"{name}:")
            lines += [_row(f"  {k}", x) for k, x in figures[name].items()]
    return "\n".join(lines)


def _latents(figures):
    """What the KL pays for, what the decoder reads, how the means lie."""
    pairs = zip(
        figures["information_by_position"], figures["mi_cap_by_position"]
    )
    note = " (at its cap at a position)"
    capped = note if any(at_cap(*pair) for pair in pairs) else ""
    mi_capped = ""
    if at_cap(figures["mi_full"], figures["mi_cap"]):
        mi_capped = " (at its cap)"
    ablation = _row(
        "  z-ablation, same length", figures["z_ablation_length_matched"]
    )
    if figures["length_matched"] is not None:
        ablation += f" ({figures['length_matched']:.0%} exactly the same)"
    units = " ".join(map(str, figures["active_units_by_position"]))
    return [
        _row("  of it information", figures["information"]) + capped,
        _positions("    by position", figures["information_by_position"]),
        _row("  of it mismatch", figures["mismatch"]),
        _positions("    by position", figures["mismatch_by_position"]),
        _row("    total correlation", figures["total_correlation"]),
        _row("    of each dimension", figures["dimension_mismatch"]),
        _row("  z-ablation", figures["z_ablation"]),
        ablation,
        _row("  MI, batches of 32", figures["mi_batch32"]),
        _row("  MI, all sentences", figures["mi_full"]) + mi_capped,
        _positions("  MI by position", figures["mi_full_by_position"]),
        _row("length from the means, R²", figures["length_r2"]),
        _row("effective rank of the means", figures["effective_rank"], ".1f")
        + f" of {figures['latent_dim']}",
        _positions("  by position", figures["effective_rank_by_position"]),
        _row("active units, if p is N(0, I)", figures["active_units"])
        + f" of {figures['latent_dim']}",
        f"  {'by position':<28}   {units}",
        advise(figures),
    ]


def _positions(name, values):
    values = " ".join("n/a" if x is None else f"{x:.1f}" for x in values)
    return f"{name:<30}   {values}"


def _bound(name, figures):
    if name == "particles":
        label = f"particles-{figures['num_particles']}"
    else:
        label = f"IWAE-{figures['num_samples']}"
        label = "exact" if figures["exact"] else label
    lines = [
        f"{label} on {figures['documents']:,} documents:",
        _row("  nll a sentence", figures["nll"]["per_sentence"]),
        _row("  perplexity", figures["perplexity"], ".1f"),
    ]
    if not figures.get("exact", True):
        lines.append(_row("  effective sample size", figures["ess"], ".1f"))
    conditional = figures.get("conditional")
    if conditional:
        lines.append(
            _row(
                f"  of sentences 2 … n ({conditional['estimate']})",
                conditional["perplexity"],
                ".1f",
            )
        )
    return lines


def _row(name, value, format=".2f"):
    if value is None:
        value = "n/a"
    elif isinstance(value, float):
        value = f"{value:{format}}"
    return f"{name:<30} {value:>7}"
