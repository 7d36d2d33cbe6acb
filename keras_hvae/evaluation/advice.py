"""Advice in words from the figures of latents."""

from keras_hvae.evaluation.estimators.mutual_information import at_cap

# Nats. Below this, the KL, information or z-ablation of a sentence counts as
# none.
DEAD = 0.1
# Smallest shares: of the KL that is information, of the z-ablation that
# remains with latents of sentences of equal length, and of its rate that the
# KL reaches.
SMALL = 0.5


def advise(figures: dict) -> str:
    """What the figures of `evaluate` say about the latents, in words.

    By information, not by KL or active units: free bits hold these up
    whatever the latents carry. A `rate` that no model can reach is said to be
    one: no latent has more to say of a sentence than the −ELBO of it.

    Args:
        figures: what `evaluate` returned, with the group "latents".

    Returns:
        A string: how much the latents carry of what they cost, and what is
        wrong, if something is.

    Example:

    >>> advise(
    ...     {
    ...         "kl_by_position": [3.7],
    ...         "information": 0.7,
    ...         "mismatch": 3.0,
    ...         "information_by_position": [0.7],
    ...         "mi_cap_by_position": [6.2],
    ...         "z_ablation": 5.4,
    ...         "z_ablation_length_matched": 5.4,
    ...         "length_r2": None,
    ...     }
    ... )
    'The latents carry 0.7 nats a sentence of the 3.7 that they cost. The ...'
    """
    return " ".join(filter(None, [_of_the_rate(figures), _of_all(figures)]))


def _of_the_rate(figures):
    """What is to be said of a `rate` that is too high, or nothing."""
    rate = figures.get("rate")
    if not rate:
        return None
    most = figures["neg_elbo"]["per_sentence"]
    if rate >= most:
        return (
            f"No latent can carry the `rate` of {rate:g} nats: a sentence has "
            f"{most:.1f} in all (−ELBO). Lower it."
        )
    return None


def _of_all(figures):
    kl, information = figures["kl_by_position"], figures["information"]
    words = "tokens" in figures  # cures that frames do not have
    if max(kl) < DEAD:
        return (
            f"The latents have collapsed (KL at most {max(kl):.2f} nats a "
            f"sentence): give a `rate`{', then `word_dropout`' * words}; "
            "a run that has collapsed rarely recovers, so start anew."
        )
    if information is None:
        return (
            "What the latents carry is not known: that needs two documents "
            "or more."
        )
    cost = information + figures["mismatch"]
    if information < DEAD:
        return (
            f"The latents carry nothing ({max(information, 0):.2f} nats a "
            f"sentence of the {cost:.1f} that they cost): posteriors and prior "
            "differ in the same way for every document. If more epochs do not "
            f"help, start anew with {'more `word_dropout` or with ' * words}"
            "`AutoencoderPretraining`."
        )
    positions = figures["information_by_position"]
    capped = any(map(at_cap, positions, figures["mi_cap_by_position"]))
    carry = (
        f"The latents carry {'at least ' if capped else ''}{information:.1f} "
        f"nats a sentence of the {cost:.1f} that they cost"
    )
    if capped:
        carry += " (the estimate is at its cap: give more documents)"
    ablation = figures["z_ablation"]
    if ablation is not None and ablation < DEAD:
        cure = "; if it stays so, raise `word_dropout` or give `bow_weight`"
        return (
            f"{carry}, but the decoder does not read them (z-ablation "
            f"{ablation:.2f} nats): train longer{cure * words}."
        )
    said = []
    for position, value in enumerate(positions, 1):
        if value is not None and value < DEAD:
            said.append(
                f"The chain adds nothing at sentence {position} "
                f"({max(value, 0):.2f} nats)."
            )
            break
    matched = figures["z_ablation_length_matched"]
    if None not in (matched, ablation) and matched < SMALL * ablation:
        probe = figures["length_r2"]
        probe = "" if probe is None else f" (R² of a linear probe {probe:.2f})"
        said.append(
            f"What the decoder reads is mostly the length{probe}: the nll "
            f"rises by {ablation:.2f} nats with the latent of another "
            f"sentence, by {matched:.2f} with that of another as long."
        )
    if information < SMALL * cost and not capped:
        said.append(
            "The rest is posteriors and prior that differ in the same way for "
            "every document, as a `rate` or a floor of `free_bits` allows that "
            "is higher than what the latents have to say: lower it."
        )
    if not said:
        return f"{carry}."
    return " ".join([f"{carry}.", *said])
