"""Documents to ids and back, with a model's vocabulary."""

from collections.abc import Sequence

import numpy as np

from keras_hvae.emissions.documents import Documents
from keras_hvae.models.document_model import DocumentModel


def preprocess_input(documents: Sequence, model: DocumentModel) -> np.ndarray:
    """Turns documents into the ids that a model takes.

    Args:
        documents: strings or ids, as the methods take them: a list of sentences
            is one document, a list of such lists many.
        model: a model with a preprocessor.

    Returns:
        int32 array of shape `(B, n, m)`, padded with 0; B is 1 for one
        document.

    Raises:
        ValueError: if these are no documents, or strings for a model of ids.

    Example:

    >>> model = HVAE(["yes", "no"], 2, 4, 8)
    >>> preprocess_input([["yes", "no no"], ["no"]], model)
    array([[[4, 3, 0],
            [5, 5, 3]],
           [[5, 3, 0],
            [0, 0, 0]]], dtype=int32)
    """
    preprocessor = model.preprocessor
    read = Documents(documents, preprocessor, model.vocabulary_size)
    if read.as_text and preprocessor is not None:
        return preprocessor(read.rows)
    return read.rows


def decode_predictions(ids: np.ndarray, model: DocumentModel) -> list:
    """Turns ids into sentences.

    Args:
        ids: int array of shape `(B, n, m)`, or `(n, m)` for one document, such
            as of `preprocess_input`.
        model: a model with a preprocessor.

    Returns:
        List of documents, each a list of strings; the list of strings for one
        document. Sentences of padding are left out.

    Raises:
        ValueError: if the model has no preprocessor, or for an id that is not
            in its vocabulary.

    Example:

    >>> model = HVAE(["yes", "no"], 2, 4, 8)
    >>> decode_predictions([[[4, 3, 0], [5, 5, 3]]], model)
    [['yes', 'no no']]
    """
    if model.preprocessor is None:
        raise ValueError(
            "`model` must have a vocabulary of words. "
            f"Received: a model of {model.vocabulary_size} ids"
        )
    return model.preprocessor.detokenize(ids)
