import collections
import gzip
import json
import re

import numpy as np
import pytest

from keras_hvae.data import load
from keras_hvae.data.splitting import assign
from keras_hvae.data.survey import Survey
from keras_hvae.text import Preprocessor

OPTIONS = {"batch_size": 4, "max_sentences": 4, "max_words": 9}


def windows_of(corpus, dataset):
    """Returns the batches' documents as counts of lists of sentences."""
    counts = collections.Counter()
    for batch in dataset:
        for document in corpus.vocabulary.detokenize(batch):
            counts[tuple(document)] += 1
    return counts


def cut(documents, corpus):
    """Returns what `windows_of` should find for written documents."""
    detokenize, encode = corpus.vocabulary.detokenize, corpus.vocabulary
    return collections.Counter(
        tuple(detokenize(encode([document]))[0]) for document in documents
    )


@pytest.mark.slow
def test_an_epoch_has_each_document_once(documents):
    corpus = load(documents, **OPTIONS)
    seen = []
    for split in ("train", "valid", "test"):
        written = corpus.documents(split)
        seen += [s for window in written for s in window]
        found = windows_of(corpus, getattr(corpus, split))
        padding = found.pop((), 0)
        assert found == cut(written, corpus)
        assert padding == 0 or split == "train"
    assert sorted(seen) == sorted(s for d in documents for s in d)


def test_shapes_are_few_and_batches_full(documents):
    corpus = load(documents * 20, **OPTIONS)
    shapes = collections.Counter(batch.shape for batch in corpus.train)
    bounds = {(n, m) for _, n, m in shapes}
    assert {b for b, _, _ in shapes} == {4}
    assert 4 < len(bounds) <= 16
    assert max(n for n, _ in bounds) == 4 and max(m for _, m in bounds) == 10
    for batch in corpus.valid:
        assert tuple(batch.shape[1:]) in bounds
        assert np.any(batch, axis=(1, 2)).all()


@pytest.mark.slow
def test_train_is_shuffled_and_reproducible(documents):
    def epochs(**kwargs):
        corpus = load(documents, **OPTIONS, **kwargs)
        return [[b.numpy().tolist() for b in corpus.train] for _ in range(2)]

    first, second = epochs()
    assert first != second
    assert epochs() == [first, second]
    assert epochs(seed=1)[0] != first
    corpus = load(documents, **OPTIONS)
    valid = [[b.numpy().tolist() for b in corpus.valid] for _ in range(2)]
    assert valid[0] == valid[1]


def test_report_counts_add_up(documents):
    corpus = load([*documents, [" "]], **OPTIONS, vocabulary_size=20)
    splits = corpus.report.splits
    total = {k: sum(s[k] for s in splits.values()) for k in splits["train"]}
    assert total["documents"] == len(documents)
    assert [splits[s]["documents"] for s in splits] == [48, 6, 6]
    assert total["sentences"] == sum(map(len, documents))
    sizes = [len(s.replace(".", "").split()) + 1 for d in documents for s in d]
    assert total["words"] == sum(min(size, 9) for size in sizes)
    assert total["dropped"] == sum(max(size - 9, 0) for size in sizes)
    assert total["truncated"] == sum(size > 9 for size in sizes)
    for name, row in splits.items():
        batches = [batch.numpy() for batch in getattr(corpus, name)]
        tokens = sum(np.count_nonzero(batch) for batch in batches)
        assert row["tokens"] == tokens == row["words"] + row["sentences"]
        assert row["windows"] == len(corpus.documents(name))
        assert row["windows"] == sum(
            batch.any(axis=(1, 2)).sum() for batch in batches
        )
        assert row["real"] == tokens / sum(batch.size for batch in batches)
        unknown = sum((batch == 1).sum() for batch in batches)
        assert row["unknown"] == pytest.approx(unknown / row["words"])
        assert row["batches"] == len(batches) == len(getattr(corpus, name))
    assert corpus.report.skipped == 1
    assert len(corpus.vocabulary) == corpus.report.vocabulary_size == 20
    table = str(corpus.report)
    assert "1 blank document" in table and "sentences cut" in table


def test_vocabulary_is_learned_from_train_only():
    corpus = load({"train": [["a b"]], "valid": [["c"]], "test": [["a"]]})
    assert corpus.vocabulary[4:] == ["a", "b"]
    assert next(iter(corpus.valid)).numpy()[0, 0, 0] == 1


def test_vocabulary_can_be_reused(documents):
    given = Preprocessor(["Doc", "end"], max_words=2)
    corpus = load(documents, vocabulary=given, **OPTIONS)
    assert list(corpus.vocabulary) == list(given)
    assert not corpus.vocabulary.lowercase
    assert corpus.vocabulary.max_words == 9
    # Without a number of its own a corpus is cut as the model cuts.
    assert load(documents, vocabulary=given).vocabulary.max_words == 2
    assert load(documents, vocabulary=["doc"]).vocabulary[4:] == ["doc"]


def test_splits_are_exact_and_fixed_by_the_seed():
    splits = assign(100, (0.8, 0.15, 0.05), seed=3)
    assert np.bincount(splits).tolist() == [80, 15, 5]
    np.testing.assert_array_equal(splits, assign(100, (0.8, 0.15, 0.05), 3))
    assert (splits != assign(100, (0.8, 0.15, 0.05), 4)).any()
    for count in (3, 4, 7, 100):
        sizes = np.bincount(assign(count, (0.01, 0.5, 0.49), 0), minlength=3)
        assert sizes.min() >= 1 and sizes.sum() == count
    assert assign(50, (1.0, 0.0, 0.0), 0).sum() == 0


def test_small_corpora():
    corpus = load([["Hello"]])
    assert corpus.valid is None and corpus.test is None
    assert "The valid split has no documents." in str(corpus.report)
    batch = next(iter(corpus.train)).numpy()
    assert batch.shape == (32, 1, 2) and batch[0].tolist() == [[4, 3]]
    assert not batch[1:].any()
    with pytest.raises(ValueError, match="`split`.*Received: 'valid'"):
        corpus.documents("valid")


@pytest.mark.slow
def test_an_endless_sentence_is_cut():
    corpus = load([["word " * 100_000]], max_words=5)
    assert next(iter(corpus.train)).shape[1:] == (1, 6)
    assert corpus.report.splits["train"]["dropped"] == 99_995


def test_long_documents_are_cut_without_loss():
    document = [f"line {i}" for i in range(25)]
    corpus = load([document])
    pieces = corpus.documents("train")
    assert [len(piece) for piece in pieces] == [10, 10, 5]
    assert sum(pieces, []) == document
    assert corpus.documents("train", limit=1) == pieces[:1]


@pytest.mark.slow
def test_the_model_sees_a_file_as_it_sees_memory(tmp_path, documents):
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"t": d}) + "\n" for d in documents))
    corpus = load(path, key="t", **OPTIONS)
    expected = load(documents, **OPTIONS)
    assert corpus.name == "corpus.jsonl"
    assert corpus.report.splits == expected.report.splits
    for batch, other in zip(corpus.train, expected.train, strict=True):
        np.testing.assert_array_equal(batch, other)
    assert load(str(path), key="t").documents("test") == load(
        documents
    ).documents("test")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("batch_size", 0),
        ("max_sentences", 0),
        ("max_words", 0),
        ("vocabulary_size", 0),
        ("shuffle_buffer", 0),
        ("split", (0.5, 0.5)),
        ("split", (0.5, 0.6, -0.1)),
        ("split", (0.0, 0.5, 0.5)),
        ("split", (0.8, 0.1, 0.2)),
        ("vocabulary", []),
    ],
)
def test_bad_arguments(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}`.*Received: "):
        load([["a"]], **{argument: value})


@pytest.mark.slow
def test_digest_is_of_the_text(tmp_path, documents):
    lines = "\n\n".join("\n".join(x) for x in documents).encode()
    (tmp_path / "a.txt").write_bytes(lines)
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "b.txt.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "c.jsonl").write_text(
        "".join(json.dumps({"sentences": x}) + "\n" for x in documents)
    )
    corpus = load(documents, **OPTIONS)
    corpus.save(tmp_path / "d.npz")
    corpus.save(tmp_path / "e")
    digests = {
        load(tmp_path / name).digest
        for name in ("a.txt", "moved/b.txt.gz", "c.jsonl", "d.npz", "e")
    }
    others = load(documents, max_words=2, seed=1, vocabulary=["doc"]).digest
    assert digests == {corpus.digest} == {others}
    assert re.fullmatch("[0-9a-f]{64}", corpus.digest)


@pytest.mark.slow
def test_digest_differs_with_the_text():
    texts = [
        [["a", "b"], ["c"]],
        [["a"], ["b", "c"]],
        [["a b"], ["c"]],
        [["c"], ["a", "b"]],
        {"train": [["a", "b"], ["c"]]},
        {"train": [["a", "b"]], "test": [["c"]]},
        {"train": [["a", "b"]], "valid": [["c"]]},
    ]
    assert len({load(text).digest for text in texts}) == len(texts)


def test_duplicates_are_counted_and_dropped():
    same, long = ["Yes!", "No?"], [f"line {i}" for i in range(5)]
    source = {
        "train": [["one"], same, ["YES !", "no ?"], [*long, "x"], ["No?"]],
        "valid": [["two"], same],
        "test": [[*long, "y"], ["one", "more"], same],
    }
    corpus = load(source, max_sentences=5)
    counts = {k: v["repeated"] for k, v in corpus.report.splits.items()}
    assert counts == {"train": 1, "valid": 1, "test": 2}
    text = str(corpus.report)
    assert "also in train" in text
    assert "2 of the 3 documents of the test split stand in the train" in text
    assert "drop_duplicates=True" in text

    less = load(source, max_sentences=5, drop_duplicates=True)
    assert less.documents("train") == [["one"], ["No?"]]
    assert less.documents("test") == corpus.documents("test")
    assert less.digest == corpus.digest
    row = less.report.splits["train"]
    assert row["documents"] == row["windows"] == 2
    assert [x["repeated"] for x in less.report.splits.values()] == [0, 0, 0]
    assert "3 of 5 documents were left out of the train split" in str(
        less.report
    )
    assert set(less.vocabulary[4:]) == {"one", "no", "?"}
    assert windows_of(less, less.train)[("one",)] == 1


def test_all_duplicates_cannot_be_dropped():
    source = {"train": [["a"]], "test": [["A"]]}
    with pytest.raises(ValueError, match="`drop_duplicates` must leave"):
        load(source, drop_duplicates=True)


def test_a_saved_corpus_reports_duplicates(tmp_path):
    source = {"train": [["a"], ["b"]], "test": [["a"]]}
    corpus = load(source)
    for name in ("x.npz", "x"):
        corpus.save(tmp_path / name)
        again = load(tmp_path / name)
        assert again.report.notes == corpus.report.notes
        assert again.report.splits["test"]["repeated"] == 1


def test_a_name_commands_no_terminal(tmp_path):
    path = tmp_path / "a\x1b[31mb.txt"
    path.write_text("One.")
    report = str(load(path).report)
    assert "\x1b" not in report and r"a\x1b[31mb.txt: " in report
    path.write_text("One.\0")
    with pytest.raises(ValueError, match="NUL") as caught:
        load(path)
    assert "\x1b" not in str(caught.value)


def test_long_sentences_are_read_a_few_at_a_time(monkeypatch):
    sizes = []
    add = Survey._add

    def watched(self, windows, *args):
        sizes.append(sum(len(s) for window in windows for s in window))
        add(self, windows, *args)

    monkeypatch.setattr(Survey, "_add", watched)
    load({"train": [["a" * 1_000_000]] * 8}, max_words=2)
    assert sum(sizes) == 8_000_000 and max(sizes) < 6_000_000
