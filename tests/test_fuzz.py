"""Whatever text comes: read, split, cut, sorted, turned into ids and back.

`EXAMPLES=10000 pytest -n0 -m slow tests/test_fuzz.py` tries that many of each;
500 are the default.
"""

import collections
import io
import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_hvae.data.arrays import Documents, flat
from keras_hvae.data.buckets import Buckets
from keras_hvae.data.id_batches import IdBatches
from keras_hvae.data.reading import read_documents
from keras_hvae.data.splitting import assign, select, windows
from keras_hvae.files import DamagedFileError
from keras_hvae.ids import EOS_ID, PAD_ID
from keras_hvae.text import Preprocessor
from keras_hvae.text.tokenizer import TOKENIZERS, get_tokenizer

tf = pytest.importorskip("tensorflow")
pytestmark = [pytest.mark.slow, pytest.mark.eager]

fuzz = settings(
    max_examples=int(os.environ.get("EXAMPLES", 500)),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
# Any text; and text of what means something to a tokenizer.
ANY = st.text(st.characters(codec="utf-8"), max_size=40)
MARKED = st.text(
    st.sampled_from(
        "abAé中ي7 \t\u00a0.,-'’\"“(￭▁…!?😀\u0301\u200d🇩🇪न्\ufeff\u2028"
    ),
    max_size=40,
)
SENTENCE = ANY | MARKED
# What a file may hold: bytes, and lines of what lines may be.
LINES = st.lists(
    st.binary(max_size=20)
    | SENTENCE.map(str.encode)
    | st.sampled_from([b"", b"\r", b"\n", b"\n\n", b"\xef\xbb\xbf", b"\0"]),
    max_size=12,
).map(b"\n".join)


def read(data, format):
    """The documents of bytes, or `None` if they are refused."""
    try:
        return list(read_documents(io.BytesIO(data), format=format))
    except DamagedFileError as error:
        assert str(error).startswith("stream:")
        return None


@fuzz
@given(LINES)
def test_text_is_read_or_refused(data):
    documents = read(data, "txt")
    if documents is None:
        return
    # An independent reading.
    text = data.removeprefix(b"\xef\xbb\xbf").decode()
    lines = [x.removesuffix("\r") for x in text.split("\n")]
    expected, document = [], []
    for line in [*lines, ""]:
        if line.strip():
            document.append(line)
        elif document:
            expected.append(document)
            document = []
    assert documents == expected
    # Written with a mark and line ends that are taken off.
    again = "\r\n\r\n".join("\r\n".join(x) for x in documents).encode()
    assert read(b"\xef\xbb\xbf" + again, "txt") == documents


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | SENTENCE,
    lambda x: (
        st.lists(x, max_size=4)
        | st.dictionaries(st.sampled_from(["sentences", "x"]), x, max_size=2)
    ),
    max_leaves=8,
)
OBJECTS = st.lists(
    st.builds(
        lambda x: json.dumps({"sentences": x}).encode(), st.lists(SENTENCE)
    )
    | JSON.map(lambda x: json.dumps(x).encode()),
    max_size=6,
)


@fuzz
@given(OBJECTS.map(b"\n".join) | LINES)
def test_json_is_read_or_refused(data):
    documents = read(data, "jsonl")
    if documents is None:
        return
    lines = [json.loads(x) for x in data.split(b"\n") if x.strip()]
    expected = [[s for s in x["sentences"] if s.strip()] for x in lines]
    assert documents == [x for x in expected if x]


def tokens(name, sentences, lowercase=False):
    words = get_tokenizer(name).tokenize(tf.constant(sentences), lowercase)
    return [[x.decode() for x in row] for row in words.to_list()]


@pytest.mark.parametrize("name", TOKENIZERS)
@fuzz
@given(sentences=st.lists(SENTENCE, min_size=1, max_size=4))
def test_words_of_a_sentence_are_its_own(name, sentences):
    together = tokens(name, sentences)
    for sentence, words in zip(sentences, together, strict=True):
        assert [words] == tokens(name, [sentence])
        for word in words:
            assert word and word.split() == [word]
        # No visible character is lost or made.
        rest = set("".join(words)) - set(sentence)
        assert rest <= {"￭", "▁", "\ufffd"}, rest


@pytest.mark.parametrize("name", TOKENIZERS)
@fuzz
@given(
    documents=st.lists(
        st.lists(SENTENCE.filter(str.strip), min_size=1, max_size=3),
        min_size=1,
        max_size=3,
    ),
    max_words=st.none() | st.integers(1, 8),
    known=st.floats(0, 1),
)
def test_ids_and_text(name, documents, max_words, known):
    # A string with a line feed is a document.
    documents = [[s.replace("\n", " ") for s in x] for x in documents]
    documents = [[s for s in x if s.strip()] or ["."] for x in documents]
    sentences = [s for x in documents for s in x]
    counts = collections.Counter(
        word for words in tokens(name, sentences, True) for word in words
    )
    counts["."] += 1
    size = 5 + int(known * len(counts))
    preprocessor = Preprocessor.from_counts(
        counts, size, max_words=max_words, tokenizer=name, lowercase=True
    )
    ids = preprocessor(documents)
    assert ids.dtype == np.int32 and ids.shape[0] == len(documents)
    assert ((ids >= 0) & (ids < len(preprocessor))).all()
    real = ids != PAD_ID
    assert (real.any(axis=2).sum(axis=1) == [len(x) for x in documents]).all()
    lengths = real.sum(axis=2)
    assert max_words is None or lengths.max() <= max_words + 1
    for rows, counts in zip(ids, lengths):
        for row, count in zip(rows, counts):
            assert (row[:count] != PAD_ID).all() and not row[count:].any()
            if count:
                assert row[count - 1] == EOS_ID
                assert (row[: count - 1] != EOS_ID).all()
    # A document is the same alone.
    for document, rows in zip(documents, ids):
        alone = preprocessor([document])[0]
        n, m = alone.shape
        np.testing.assert_array_equal(rows[:n, :m], alone)
        assert not rows[n:].any() and not rows[:, m:].any()
    # From what `detokenize` writes the same ids are read.
    if known == 1 and max_words is None:
        texts = preprocessor.detokenize(ids)
        again = [[s for s in x if s.strip()] for x in texts]
        if [len(x) for x in again] == [len(x) for x in texts]:
            found = preprocessor(again)
            # To which side a quote or an apostrophe belongs is a guess.
            if set("'’\"") & set("".join(sentences)):
                found, ids = (
                    plain(preprocessor, found),
                    plain(preprocessor, ids),
                )
            np.testing.assert_array_equal(found, ids)


def plain(preprocessor, ids):
    """The words of ids, without what says that a mark has no space there."""
    words = np.array([word.replace("￭", "") for word in preprocessor])
    return words[ids]


SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=30)


@fuzz
@given(SIZES, st.integers(1, 6))
def test_windows_are_the_documents(sizes, longest):
    documents = [[f"{i} {j}" for j in range(n)] for i, n in enumerate(sizes)]
    begins = []
    pieces = list(windows(documents, longest, begins))
    assert [s for x in pieces for s in x] == [s for x in documents for s in x]
    assert all(1 <= len(x) <= longest for x in pieces)
    assert sum(begins) == len(documents)
    assert [x[0] for x, begin in zip(pieces, begins) if begin] == [
        x[0] for x in documents
    ]


@fuzz
@given(
    st.integers(1, 60),
    st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda x: x[0]),
    st.integers(0, 2**32 - 1),
)
def test_splits_are_the_documents(count, shares, seed):
    shares = [x / sum(shares) for x in shares]
    splits = assign(count, shares, seed)
    documents = [[str(i)] for i in range(count)]
    parts = [list(select(lambda: documents, splits, i)) for i in range(3)]
    assert sorted(sum(parts, [])) == sorted(documents)
    assert parts[0]


WINDOWS = st.lists(
    st.lists(st.integers(1, 7), min_size=1, max_size=5), min_size=1, max_size=40
)


@fuzz
@given(WINDOWS, st.integers(1, 6), st.booleans(), st.integers(0, 99))
def test_batches_are_the_windows(sizes, batch_size, shuffle, seed):
    documents = []
    for i, words in enumerate(sizes):
        ids = np.zeros((1, len(words), max(words)), "int32")
        for j, n in enumerate(words):
            ids[0, j, :n] = 4 + i
            ids[0, j, n - 1] = EOS_ID
        documents.append(ids)
    parts = zip(*map(flat, documents))
    documents = Documents(*map(np.concatenate, parts))
    shapes = documents.shapes()
    buckets = Buckets(shapes, batch_size)
    batches = IdBatches(documents, buckets, shuffle, seed)
    steps, positions = buckets.batches(shapes, fill=shuffle)
    every = [np.asarray(batches[i]) for i in range(len(batches))]
    assert len(every) == steps
    assert sum(x.shape[1] * x.shape[2] * len(x) for x in every) == positions
    found = []
    for batch in every:
        assert batch.shape[1] in buckets.bounds[0]
        assert batch.shape[2] in buckets.bounds[1]
        for ids in batch:
            real = ids[(ids > 0).any(axis=1)]
            found.append([x[x > 0].tolist() for x in real])
    expected = []
    for i in range(len(documents)):
        expected.append([x[x > 0].tolist() for x in documents[i]])
    assert sorted(x for x in found if x) == sorted(expected)
