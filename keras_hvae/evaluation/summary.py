"""The figures of an evaluation as a text."""


def summary(figures):
    """The figures of `evaluate` as a short text.

    Args:
        figures: what `evaluate` returned.

    Returns:
        A string of several lines.
    """
    lines = [
        "{documents:,} windows, {sentences:,} sentences, {tokens:,} tokens, "
        "{unknown_rate:.1%} of the words unknown; nats a sentence:".format(
            **figures
        )
    ]
    for name, key in (("nll", "nll"), ("KL", "kl"), ("-ELBO", "neg_elbo")):
        lines.append(_row(f"  {name}", figures[key]["per_sentence"]))
    if any(figures["kl_by_position"]):
        positions = " ".join(f"{kl:.1f}" for kl in figures["kl_by_position"])
        lines.append(f"  {'KL by position':<28}   {positions}")
    if "active_units" in figures:
        lines.append(_row("  z-ablation", figures["z_ablation"]))
        lines.append(_row("  MI, batches of 32", figures["mi_batch32"]))
        lines.append(_row("  MI, all sentences", figures["mi_full"]))
        by_position = figures["mi_full_by_position"]
        by_position = " ".join(
            "n/a" if x is None else f"{x:.1f}" for x in by_position
        )
        lines.append(f"  {'MI by position':<28}   {by_position}")
    lines.append(_row("perplexity (bound)", figures["perplexity_bound"], ".1f"))
    if "active_units" in figures:
        lines.append(
            f"{'active units':<30}{figures['active_units']:8d} of "
            f"{figures['latent_dim']}"
        )
        units = " ".join(map(str, figures["active_units_by_position"]))
        lines.append(f"  {'by position':<28}   {units}")
    for name in ("iwae", "particles"):
        if name in figures:
            lines += _bound(name, figures[name])
    for name in ("reconstruction", "samples", "responses"):
        if name in figures:
            lines.append(f"{name}:")
            lines += [_row(f"  {k}", x) for k, x in figures[name].items()]
    return "\n".join(lines)


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
