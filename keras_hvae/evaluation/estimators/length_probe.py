"""How well the latents predict the length of the sentences."""

import numpy as np

FOLDS = 5
# Ridge, relative to the number of rows: only for collinear columns.
RIDGE = 1e-3


def length_r2(
    means: np.ndarray, tokens: np.ndarray, documents: np.ndarray
) -> float | None:
    """R² of a linear probe from the posterior means to log length.

    Ridge regression on standardised means, cross-validated: the documents
    are dealt into 5 folds, and each fold is foretold from the others.

    Args:
        means: array of shape `(N, d)`, a sentence a row.
        tokens: number of tokens of each, `(N,)`, >= 1.
        documents: ints `(N,)`, 0, 1, …: the document of each. Sentences of
            one document are never on both sides.

    Returns:
        A float: 1 if the length can be read off, about 0, or below, if not.
        `None` with fewer than 5 documents, or with one length only.

    Example:

    >>> tokens = np.arange(1, 21)
    >>> round(length_r2(np.log(tokens)[:, None], tokens, np.arange(20)), 3)
    1.0
    """
    means = np.asarray(means, "float64")
    target = np.log(np.asarray(tokens, "float64"))
    folds = np.asarray(documents) % FOLDS
    if len(np.unique(folds)) < FOLDS or np.ptp(target) == 0:
        return None
    error = total = 0.0
    for fold in range(FOLDS):
        train, test = folds != fold, folds == fold
        center, scale = means[train].mean(axis=0), means[train].std(axis=0)
        rows = (means - center) / np.where(scale > 0, scale, 1.0)
        level = target[train].mean()
        gram = rows[train].T @ rows[train]
        gram += RIDGE * train.sum() * np.eye(len(gram))
        weights = np.linalg.solve(gram, rows[train].T @ (target[train] - level))
        error += np.square(target[test] - level - rows[test] @ weights).sum()
        total += np.square(target[test] - level).sum()
    return float(1 - error / total)
