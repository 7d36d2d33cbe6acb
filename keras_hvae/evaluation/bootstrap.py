"""Whether two models differ by more than the choice of documents explains."""

import numpy as np

from keras_hvae.arguments import check_positive_int


def paired_bootstrap(nll, reference_nll, tokens, resamples=1000, seed=0):
    """The difference of two models on the same documents, with an interval.

    Documents are drawn with replacement, the same for both models, so that
    what makes a document hard for both cancels out.

    Args:
        nll: of each document under a model, nats: `"by_document"` of
            `importance_bounds`.
        reference_nll: of the same documents, in the same order, under
            another model.
        tokens: number of tokens of each document.
        resamples: int >= 1.
        seed: int.

    Returns:
        A dict: `"difference"`, nats a token by which `nll` is above
        `reference_nll`; `"low"` and `"high"`, the 2.5 and the 97.5 percentile
        of it.

    Raises:
        ValueError: if the three are not of one length, or empty, or
            `resamples` is not an integer >= 1.

    Reference:
        - [Koehn, 2004](https://aclanthology.org/W04-3250)
    """
    check_positive_int(resamples=resamples)
    values = [np.asarray(x, "float64") for x in (nll, reference_nll, tokens)]
    if len({x.shape for x in values}) > 1 or values[0].ndim != 1:
        raise ValueError(
            "`nll`, `reference_nll` and `tokens` must have a number for each "
            "document, the same in all three. Received shapes: "
            f"{', '.join(str(x.shape) for x in values)}"
        )
    count = len(values[0])
    if not count:
        raise ValueError(
            "`nll` must have at least one document. Received: none"
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
