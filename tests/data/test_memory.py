import numpy as np
import pandas
import pytest

from keras_hvae.data import load

DOCUMENTS = [["One.", "Two."], ["Three."], ["Four.", "Five."]]
TRAIN = {"split": (1.0, 0.0, 0.0)}


def kind(x):
    return x if isinstance(x, str) else type(x).__name__


class Dataset:
    """As Hugging Face's: rows are dictionaries, columns are not a list."""

    __module__ = "datasets.arrow_dataset"

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


ROWS = [{"sentences": x, "id": i} for i, x in enumerate(DOCUMENTS)]


@pytest.mark.parametrize(
    "source",
    [
        DOCUMENTS,
        tuple(DOCUMENTS),
        ["One.\nTwo.".split("\n"), "Three.", "Four.\nFive."],
        ROWS,
        pandas.Series(DOCUMENTS),
        pandas.DataFrame(ROWS)["sentences"],
        np.array([*DOCUMENTS, None], object)[:3],
        Dataset(ROWS),
        Dataset(DOCUMENTS),
    ],
    ids=kind,
)
def test_what_people_have(source):
    assert load(source, **TRAIN).documents("train") == DOCUMENTS


def test_another_key_and_splits_of_their_own():
    rows = [{"turns": np.array(x)} for x in DOCUMENTS]
    corpus = load({"train": Dataset(rows), "validation": rows[:1]}, key="turns")
    assert corpus.documents("train") == DOCUMENTS
    assert corpus.documents("valid") == DOCUMENTS[:1]
    with pytest.raises(ValueError, match="each once. Received: .*'validation'"):
        load({"train": rows, "valid": rows, "validation": rows}, key="turns")


@pytest.mark.parametrize(
    "source",
    [
        ["One.", "Two."],
        np.array(["One.", "Two."]),
        pandas.Series(["One.", "Two."]),
        Dataset(["One.", "Two."]),
        {"train": ["One.", "Two."]},
    ],
    ids=kind,
)
def test_a_list_of_strings_is_one_document(source):
    with pytest.raises(ValueError, match=r"is one document. Give \[source\]"):
        load(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([{"text": ["a"]}], "document 0: expected the key 'sentences'.*'text'"),
        ([{"sentences": "a"}], "document 0: expected a list .*'a'"),
        ([["a"], {"b"}], "lists of sentences. Received: {'b'} as document 1"),
        ([["a"], (x for x in "b")], "Received: <generator.* as document 1"),
        ([["a"], b"b"], "Received: b'b' as document 1"),
        ((x for x in DOCUMENTS), "generator, .* once only: give list"),
        (pandas.DataFrame(ROWS), "DataFrame; of a table give the column"),
        ({"a", "b"}, "Received: set$"),
    ],
    ids=kind,
)
def test_what_is_none(source, message):
    with pytest.raises(ValueError, match=f"`source`.*{message}"):
        load(source)
