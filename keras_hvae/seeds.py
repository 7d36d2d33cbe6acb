"""Seeds for the parts of a model."""

import numpy as np


def split_seed(seed: int | None) -> dict[str, int | None]:
    """A seed each for whatever is random, by name."""
    names = ("dropout", "latents", "words", "softmax", "sentences")
    if seed is None:
        return dict.fromkeys(names)
    state = np.random.SeedSequence(seed).generate_state(len(names))
    # PyTorch holds seeds as int32.
    return {n: int(x) % 2**31 for n, x in zip(names, state)}
