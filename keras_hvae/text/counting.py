"""How often words occur."""

import collections
from collections.abc import Callable, Iterable

from keras_hvae.text.tokenizer import Tokenizer, get_tokenizer


def count_words(
    sentences: Iterable[str],
    lowercase: bool = True,
    tokenizer: str | Callable | Tokenizer = "words",
) -> collections.Counter:
    """Counts the words of sentences, to learn a vocabulary from.

    Args:
        sentences: iterable of strings or of batches of strings, for example
            a `tf.data.Dataset`.
        lowercase: whether to lower-case.
        tokenizer: what splits sentences; see `Preprocessor`.

    Returns:
        A `collections.Counter` for `Preprocessor.from_counts`.

    Example:

    >>> count_words(["The king's crown, the crown"])["crown"]
    2
    """
    import tensorflow as tf

    tokenizer = get_tokenizer(tokenizer)
    counts = collections.Counter()
    for batch in sentences:
        words = tokenizer.tokenize(tf.reshape(batch, [-1]), lowercase)
        counts.update(words.flat_values.numpy().tolist())
    return collections.Counter(
        {word.decode(): count for word, count in counts.items()}
    )
