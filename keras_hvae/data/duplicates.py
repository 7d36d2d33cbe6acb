"""Documents that stand in several splits, by the keys of their `Survey`.

Documents are the same if they are so word for word as far as the model reads
them: of a document that is cut into windows the first one counts.
"""

import numpy as np


def count_repeated(keys: dict[str, np.ndarray]) -> dict[str, int]:
    """Counts the documents of each split that the train split has too.

    Args:
        keys: for each split those of its documents, `(N,)` uint64.

    Returns:
        A count for each split; of the train split itself, of those that it
        has before.
    """
    train = np.unique(keys["train"])
    counts = {part: int(np.isin(x, train).sum()) for part, x in keys.items()}
    counts["train"] -= len(train)
    return counts


def find_new(keys: dict[str, np.ndarray]) -> np.ndarray:
    """Which documents of the train split no other split has, `(N,)` bool."""
    others = [x for part, x in keys.items() if part != "train"]
    others = np.concatenate([np.zeros(0, np.uint64), *others])
    return ~np.isin(keys["train"], others)
