"""How responses and reconstructions overlap with references."""

from collections.abc import Sequence

import numpy as np

from keras_hvae.evaluation.text.word_lists import (
    check_pairs,
    import_library,
    word_list_pairs,
    word_lists,
)


def corpus_bleu(hypotheses: Sequence, references: Sequence) -> dict:
    """Corpus BLEU-4 by sacreBLEU, of text that is tokenized already.

    No tokenization, no lower-casing and *no smoothing* (sacreBLEU's default
    smooths): without a common 4-gram in the whole corpus BLEU is 0.

    Args:
        hypotheses: list of tokenized sentences; see `word_lists`.
        references: as many sentences, one for each hypothesis.

    Returns:
        A dict: `"bleu4_sacrebleu"` in [0, 100], `None` where no reference has
        4 words, and sacreBLEU's `"signature"`, to print beside it.

    Raises:
        ValueError: for lists that are empty or of different lengths, or
            references that are all shorter than 4 words.

    Example:

    >>> bleu = corpus_bleu(["a b c d e"], ["a b c d f"])
    >>> round(bleu["bleu4_sacrebleu"], 2)
    66.87
    >>> bleu["signature"]
    'nrefs:1|case:mixed|eff:no|tok:none|smooth:none|version:...'

    Reference:
        - [Post, 2018](https://arxiv.org/abs/1804.08771)
    """
    metrics = import_library("sacrebleu.metrics")
    hypotheses, references = word_list_pairs(hypotheses, references)
    longest = max(len(words) for words in references)
    # `force` only silences the warning about tokenized text.
    bleu = metrics.BLEU(tokenize="none", smooth_method="none", force=True)
    score = bleu.corpus_score(
        [" ".join(words) for words in hypotheses],
        [[" ".join(words) for words in references]],
    )
    return {
        "bleu4_sacrebleu": float(score.score) if longest >= 4 else None,
        "signature": str(bleu.get_signature()),
    }


def nltk7(hypotheses: Sequence, references: Sequence) -> dict:
    """Precision and recall of sampled responses as in the CVAE papers.

    The score of a response is NLTK's sentence BLEU-3 with smoothing method
    7. Recall is the largest score of a context's samples, precision their
    mean score, both averaged over the contexts; F1 is their harmonic mean.
    An empty response scores 0. The smoothing lifts the figures far above
    other BLEUs, beyond 1 for a good match, and differs between versions of
    NLTK: compare with tables of the same kind only.

    Args:
        hypotheses: for each context a list of N tokenized responses; see
            `word_lists`.
        references: for each context the true response.

    Returns:
        A dict: `"bleu3_nltk7_recall"`, `"bleu3_nltk7_precision"`,
        `"bleu3_nltk7_f1"`, `"responses_per_context"` N and
        `"nltk_version"`.

    Raises:
        ValueError: for lists that are empty or of different lengths.

    Example:

    >>> scores = nltk7([["a b", "c"]], ["a b c"])
    >>> round(scores["bleu3_nltk7_recall"], 3)
    0.41

    Reference:
        - [Zhao et al., 2017](https://arxiv.org/abs/1703.10960), section 5
        - [Chen & Cherry, 2014](https://aclanthology.org/W14-3346)
    """
    bleu = import_library("nltk.translate.bleu_score")
    check_pairs(hypotheses, references)
    references = word_lists("references", references)
    hypotheses = [word_lists("hypotheses", x) for x in hypotheses]
    numbers = sorted({len(responses) for responses in hypotheses})
    if len(numbers) > 1:
        raise ValueError(
            "`hypotheses` must have the same number of responses for each "
            f"context. Received: {numbers[0]} to {numbers[-1]}"
        )
    smoothing = bleu.SmoothingFunction().method7
    scores = np.array(
        [
            [
                bleu.sentence_bleu([reference], words, [1 / 3] * 3, smoothing)
                for words in responses
            ]
            for responses, reference in zip(hypotheses, references)
        ],
        "float64",
    )  # (contexts, N)
    recall = float(scores.max(axis=1).mean())
    precision = float(scores.mean())
    total = recall + precision
    return {
        "bleu3_nltk7_recall": recall,
        "bleu3_nltk7_precision": precision,
        "bleu3_nltk7_f1": 2 * recall * precision / total if total else 0.0,
        "responses_per_context": numbers[0],
        "nltk_version": import_library("nltk").__version__,
    }
