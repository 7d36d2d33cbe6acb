"""A corpus that changes while it is read."""

import os

import numpy as np
import pytest

from keras_hvae.data import load
from keras_hvae.data.unchanged import Unchanged
from keras_hvae.files import DamagedFileError

WORDS = np.array("a b c d e f g h".split())


def write(path, seed=0, documents=60, reverse=False):
    rng = np.random.default_rng(seed)
    parts = [
        "\n".join(" ".join(rng.choice(WORDS, 3)) for _ in range(2))
        for _ in range(documents)
    ]
    path.write_text("\n\n".join(parts[::-1] if reverse else parts) + "\n")
    return path


CHANGES = {
    "more of them": {"documents": 61},
    "fewer of them": {"documents": 59},
    "others": {"seed": 1},  # other words of the same shape
}


@pytest.mark.parametrize("received", CHANGES)
def test_a_changed_file_is_noticed(tmp_path, received):
    corpus = load(write(tmp_path / "c.txt"), batch_size=4)
    assert len(list(corpus.train)) == len(corpus.train)
    write(tmp_path / "c.txt", **CHANGES[received])
    with pytest.raises(DamagedFileError, match="c.txt: expected the 60 doc"):
        corpus.documents("train", limit=1)
    with pytest.raises(Exception, match="c.txt: expected the 60 documents"):
        list(corpus.train)


def test_a_file_in_another_order_is_noticed(tmp_path):
    corpus = load(write(tmp_path / "c.txt"), batch_size=4)
    write(tmp_path / "c.txt", reverse=True)
    with pytest.raises(DamagedFileError, match="Received: others"):
        corpus.documents("train")


def test_a_file_with_another_time_only_is_the_same(tmp_path):
    path = write(tmp_path / "c.txt")
    corpus = load(path, batch_size=4)
    before = corpus.documents("train")
    os.utime(path, (1, 1))
    assert corpus.documents("train") == before


def test_what_changes_within_a_reading_is_noticed():
    documents = [["a"], [], ["b"], ["c"]]
    read = Unchanged(lambda: iter(documents), "memory")
    assert (read.documents, read.blank) == (3, 1)
    assert list(read()) == documents
    reading = read()
    assert next(reading) == ["a"]
    documents[2] = ["x"]
    with pytest.raises(DamagedFileError, match="Received: others"):
        list(reading)
    documents[2] = ["b"]
    del documents[3]
    with pytest.raises(DamagedFileError, match="Received: fewer of them"):
        list(read())
    documents += [["c"], ["d"]]
    with pytest.raises(DamagedFileError, match="Received: more of them"):
        list(read())


def test_changed_records_are_noticed(tmp_path):
    load(write(tmp_path / "c.txt")).save(tmp_path / "records")
    corpus = load(tmp_path / "records", batch_size=4)
    file = tmp_path / "records" / "train.tfrecord"
    os.utime(file, (1, 1))
    assert len(list(corpus.train)) == len(corpus.train)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(Exception, match="train.tfrecord: expected the SHA"):
        list(corpus.train)
