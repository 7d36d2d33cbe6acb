"""Windows that stand in several splits, by the keys of their `Survey`."""

import numpy as np


def count_repeated(surveys):
    """Counts the windows of each split that the train split has too.

    Of the train split itself those are counted that it has before.
    """
    train = np.unique(surveys["train"].keys)
    counts = {
        part: int(np.isin(survey.keys, train).sum())
        for part, survey in surveys.items()
    }
    counts["train"] -= len(train)
    return counts


def find_new(surveys):
    """Which windows of the train split no other split has, `(N,)` bool."""
    others = [x.keys for part, x in surveys.items() if part != "train"]
    others = np.concatenate([np.zeros(0, np.uint64), *others])
    return ~np.isin(surveys["train"].keys, others)
