import gzip

import pytest

from keras_hvae.data import load


def write(directory, **texts):
    for name, text in texts.items():
        (directory / f"{name}.txt").write_text(text)


def sentences(corpus, split):
    return [s for document in corpus.documents(split) for s in document]


def test_directory_is_pooled_in_order_of_names(tmp_path):
    write(tmp_path, b="two", a="one\n\nmore", testament="three")
    (tmp_path / "c.jsonl.gz").write_bytes(
        gzip.compress(b'{"sentences": ["four"]}')
    )
    (tmp_path / "notes.csv").write_text("not read")
    (tmp_path / ".hidden.txt").write_text("not read")
    corpus = load(tmp_path, split=(1, 0, 0))
    expected = ["one", "more", "two", "four", "three"]
    assert sentences(corpus, "train") == expected
    assert corpus.name == tmp_path.name


@pytest.mark.parametrize("valid", ["valid", "validation", "dev_1", "val"])
def test_directory_with_splits(tmp_path, valid):
    write(tmp_path, **{"train-1": "one", valid: "two", "test": "three"})
    write(tmp_path, **{"TRAIN-2": "four", "other": "five"})
    corpus = load(tmp_path)
    assert sorted(sentences(corpus, "train")) == ["four", "one"]
    assert sentences(corpus, "valid") == ["two"]
    assert sentences(corpus, "test") == ["three"]


def test_directory_without_train(tmp_path):
    write(tmp_path, test="one")
    with pytest.raises(ValueError, match="train document.*splits test"):
        load(tmp_path)


def test_dictionary_may_lack_splits():
    corpus = load({"train": [["one"], "two\n\nthree"], "test": [["four"]]})
    assert sentences(corpus, "train") == ["one", "two", "three"]
    assert corpus.valid is None
    assert sentences(corpus, "test") == ["four"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "must hold a train document"),
        ({}, "must hold a train document"),
        ({"valid": [["a"]]}, "must hold a train document"),
        ({"dev": [["a"]]}, "keys train, valid, test only.*'dev'"),
        ([["a"], 3], "Received: 3 as document 1"),
        ({"train": [["a", 3]]}, "train document 0: .*Received: 3 as item 1"),
        ([["\ud800"]], "document 0, item 0: .*surrogate"),
        (3, "Received: int"),
        ("no_such_corpus", "neither a path nor known to tfds.builder"),
    ],
)
def test_bad_sources(source, message):
    with pytest.raises(ValueError, match=f"`source`.*{message}"):
        load(source)


def test_bad_paths(tmp_path):
    for path in (tmp_path / "gone", str(tmp_path / "gone"), "gone.txt"):
        with pytest.raises(FileNotFoundError, match="`source`.*gone"):
            load(path)
    with pytest.raises(ValueError, match="`source` must hold .txt or .jsonl"):
        load(tmp_path)
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(ValueError, match="Received: a.csv"):
        load(tmp_path / "a.csv")


def test_bad_line_in_a_directory(tmp_path):
    write(tmp_path, a="fine", b="fine\nb\x00d")
    with pytest.raises(ValueError, match=f"^{tmp_path / 'b.txt'}:2: .*NUL"):
        load(tmp_path)
