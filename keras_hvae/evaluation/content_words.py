"""Whether a reconstruction has its sentence's own words."""

from collections import Counter
from collections.abc import Sequence, Set


def content_recall(
    hypotheses: Sequence, references: Sequence, frequent: Set[str]
) -> dict:
    """How many of the content words of sentences come back.

    Words are counted once a sentence; a content word is one that is not
    frequent. Beside it stands the recall of the other hypotheses, as if each
    reference had been given one of them at random (its expectation, so there
    is no draw): what a model that writes the same of every sentence reaches
    too.

    Args:
        hypotheses, references: lists of sentences, lists of words, one
            hypothesis a reference.
        frequent: a set of words that do not count.

    Returns:
        A dict: `"content_recall"`, `"content_recall_random"`, in [0, 1], and
        `"content_words"`, the number of words to recall. `None` where there
        is none, or no other hypothesis.

    Raises:
        ValueError: if there are not as many hypotheses as references.

    Example:

    >>> content_recall([["the", "cat"], ["a", "cat"]],
    ...                [["the", "cat"], ["a", "dog"]], {"a", "the"})
    {'content_recall': 0.5, 'content_recall_random': 0.5, 'content_words': 2}
    """
    if len(hypotheses) != len(references):
        raise ValueError(
            "`hypotheses` must have one for each reference. Received: "
            f"{len(hypotheses)} hypotheses, {len(references)} references"
        )
    written = [set(x) for x in hypotheses]
    wanted = [set(x) - frequent for x in references]
    others = Counter(word for words in written for word in words)
    total = sum(map(len, wanted))
    own = sum(len(x & y) for x, y in zip(written, wanted))
    anywhere = sum(others[word] for words in wanted for word in words)
    several = total and len(written) > 1
    return {
        "content_recall": own / total if total else None,
        "content_recall_random": (anywhere - own) / total / (len(written) - 1)
        if several
        else None,
        "content_words": total,
    }
