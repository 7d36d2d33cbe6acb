"""Whether two models differ by more than the choice of documents explains."""

import numpy as np

from keras_hvae.arguments import check_positive_int


def paired_bootstrap(
    nll: np.ndarray,
    reference_nll: np.ndarray,
    sizes: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
) -> dict:
    """The difference of two models on the same documents, with an interval.

    Documents are drawn with replacement, the same for both models, so that
    what makes a document hard for both cancels out. The interval is of the
    documents alone: not of the seeds of trainings and draws, nor of how far
    a bound is from what it bounds.

    Args:
        nll: array of shape `(N,)`, nats of each document under a model, such
            as `importance_bounds(…)["by_document"]["nll"]`.
        reference_nll: of the same shape: the same documents, in the same
            order, under another model.
        sizes: of the same shape, > 0: the numbers of tokens, or
            `reference_nll` once more for a relative difference.
        resamples: int >= 1.
        seed: int.

    Returns:
        A dict: `"difference"`, (Σ nll − Σ reference_nll) / Σ sizes: nats a
        token, or a ratio, by which `nll` is above `reference_nll`; `"low"` and
        `"high"`, the 2.5 and the 97.5 percentile of it.

    Raises:
        ValueError: if the three are not of one shape `(N,)`, N > 0, a number
            is not finite or a size not > 0, or `resamples` is not an integer
            >= 1.

    Reference:
        - [Koehn, 2004](https://aclanthology.org/W04-3250)
    """
    check_positive_int(resamples=resamples)
    values = [np.asarray(x, "float64") for x in (nll, reference_nll, sizes)]
    if len({x.shape for x in values}) > 1 or values[0].ndim != 1:
        raise ValueError(
            "`nll`, `reference_nll` and `sizes` must have the same shape "
            "(documents,). Received shapes: "
            f"{', '.join(str(x.shape) for x in values)}"
        )
    count = len(values[0])
    if not count:
        raise ValueError(
            "`nll` must have at least one document. Received: none"
        )
    if not np.isfinite(values).all() or not (values[2] > 0).all():
        raise ValueError(
            "`nll` and `reference_nll` must be finite and `sizes` > 0. "
            f"Received: a lowest size of {values[2].min():g}, "
            f"{(~np.isfinite(values)).sum()} numbers that are not finite"
        )
    rows = np.random.default_rng(seed).integers(count, size=(resamples, count))
    rise = values[0] - values[1]
    draws = rise[rows].sum(axis=1) / values[2][rows].sum(axis=1)
    low, high = np.percentile(draws, (2.5, 97.5))
    return {
        "difference": float(rise.sum() / values[2].sum()),
        "low": float(low),
        "high": float(high),
    }
