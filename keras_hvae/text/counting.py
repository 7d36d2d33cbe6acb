"""How often words occur."""

import collections

from keras_hvae.text import tokenizer


def count_words(sentences, lowercase=True):
    """Counts the words of sentences, to learn a vocabulary from.

    Args:
        sentences: iterable of strings or of batches of strings, for example
            a `tf.data.Dataset`.
        lowercase: whether to lower-case.

    Returns:
        A `collections.Counter` for `Preprocessor.from_counts`.

    Example:

    >>> count_words(["The king's crown, the crown"])["crown"]
    2
    """
    import tensorflow as tf

    counts = collections.Counter()
    for batch in sentences:
        words = tokenizer.tokenize(tf.reshape(batch, [-1]), lowercase)
        counts.update(words.flat_values.numpy().tolist())
    return collections.Counter(
        {word.decode(): count for word, count in counts.items()}
    )
