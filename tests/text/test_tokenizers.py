"""The argument `tokenizer`, from a corpus to a saved model."""

import functools
import json
import pickle

import keras
import numpy as np
import pytest

from keras_hvae import HVAE
from keras_hvae.data import load
from keras_hvae.text import Preprocessor, count_words
from keras_hvae.text.case import capitalized
from tests.harness import slow

tf = pytest.importorskip("tensorflow")

pytestmark = pytest.mark.eager

CHINESE = [["你好，世界。", "世界很大！"], ["你很好。"]] * 5


@keras.saving.register_keras_serializable("keras_hvae_tests")
def halves(sentence):
    """Each word in two."""
    words = ((w[: len(w) // 2], w[len(w) // 2 :]) for w in sentence.split())
    return [half for word in words for half in word if half]


@keras.saving.register_keras_serializable("keras_hvae_tests")
class Bars:
    """A library's tokenizer: methods, and a configuration."""

    def __init__(self, bar="|"):
        self.bar = bar

    def tokenize(self, text):
        return [x for x in text.split(self.bar) if x]

    def detokenize(self, words):
        return self.bar.join(words)

    def get_config(self):
        return {"bar": self.bar}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable("keras_hvae_tests")
class Forgetful:
    """Registered, but nothing says how to make it again."""

    def tokenize(self, text):
        return text.split()

    def get_config(self):
        return {}


def same(one, other, text):
    np.testing.assert_array_equal(one([text]), other([text]))
    assert one.detokenize(one([text])) == other.detokenize(one([text]))


def test_characters_of_any_script():
    words = [*"abc你好", "क्", "ष", "e\u0301", "▁", "🇩🇪", "👍🏽"]
    preprocessor = Preprocessor(words, tokenizer="characters")
    text = "a  b 你好 क्ष e\u0301🇩🇪👍🏽"
    expected = "a ▁ b ▁ 你 好 ▁ क् ष ▁ e\u0301 🇩🇪 👍🏽".split()
    marked = preprocessor.mark_unknown(text)
    assert marked == [(word, True) for word in expected]
    assert preprocessor.detokenize(preprocessor([text])) == [
        ["a b 你好 क्ष e\u0301🇩🇪👍🏽"]
    ]


def test_a_corpus_of_characters():
    corpus = load(CHINESE, tokenizer="characters", split=(1, 0, 0))
    assert set(corpus.vocabulary[4:]) == {*"你好，世界。很大！"}
    assert corpus.vocabulary.max_words == 120
    assert corpus.report.splits["train"]["unknown"] == 0
    assert all(
        document in CHINESE
        for batch in corpus.train
        for document in corpus.vocabulary.detokenize(batch)
        if document
    )
    # Another corpus, with that vocabulary.
    again = load([["大"]], vocabulary=corpus.vocabulary, split=(1, 0, 0))
    assert again.report.splits["train"]["words"] == 1
    assert again.report.splits["train"]["unknown"] == 0


@pytest.mark.parametrize(
    "text", ["你好，世界。", "こんにちは世界。", "สวัสดีครับผมชื่อแดง", "မင်္ဂလာပါ"]
)
def test_unspaced_scripts_are_warned_of(text):
    with pytest.warns(UserWarning, match='tokenizer="characters"'):
        load([[text]] * 5)


@pytest.mark.parametrize(
    "text",
    [
        "你 好 ， 世界 很 大 。",
        "he said 你好 to me",
        *slow("नमस्ते दुनिया", "안녕 세상", "3"),
    ],
)
def test_scripts_with_spaces_are_not(text):
    load([[text]] * 5)
    load([[text]] * 5, tokenizer="characters")


@pytest.mark.parametrize("split", [halves, Bars("/")])
def test_a_callable_from_corpus_to_ids(split):
    documents = [["A/b/a", "c/d/d"], ["a/b"]] * 5
    corpus = load(documents, tokenizer=split, split=(1, 0, 0), batch_size=3)
    tokenize = getattr(split, "tokenize", split)
    for document in documents[:2]:
        words = [tokenize(x.lower()) for x in document]
        expected = np.zeros((1, len(words), max(map(len, words)) + 1), int)
        for row, sentence in zip(expected[0], words):
            ids = [corpus.vocabulary.index(w) for w in sentence]
            row[: len(ids) + 1] = [*ids, 3]
        ids = corpus.vocabulary([document])
        np.testing.assert_array_equal(ids, expected)
        assert any(
            np.array_equal(row[: ids.shape[1], : ids.shape[2]], ids[0])
            for batch in corpus.train
            for row in batch.numpy()
        )
    if isinstance(split, Bars):
        assert corpus.vocabulary.detokenize(ids) == [["a/b"]]


def test_a_librarys_tokenizer():
    nltk = pytest.importorskip("nltk.tokenize")
    counts = count_words(["Can't stop!"] * 2, tokenizer=nltk.TweetTokenizer())
    assert counts == {"can't": 2, "stop": 2, "!": 2}
    preprocessor = Preprocessor(counts, tokenizer=nltk.TreebankWordTokenizer())
    assert preprocessor.mark_unknown("Can't stop!") == [
        ("ca", False),
        ("n't", False),
        ("stop", True),
        ("!", True),
    ]
    # One without a `detokenize` leaves spaces.
    assert preprocessor.detokenize(preprocessor([["stop!"]])) == [["stop !"]]
    assert preprocessor.tokenize([["a b", "c"], ["", "d"]]).to_list() == [
        [[b"a", b"b"], [b"c"]],
        [[], [b"d"]],
    ]


@pytest.mark.parametrize("tokenizer", [None, 3, "letters", ["words"]])
def test_what_is_no_tokenizer(tokenizer):
    with pytest.raises(ValueError, match="`tokenizer` must be.*Received: "):
        Preprocessor(["a"], tokenizer=tokenizer)


def test_a_callable_must_return_words():
    preprocessor = Preprocessor(["a"], tokenizer=lambda text: text.split(" "))
    with pytest.raises(Exception, match="must return a list of strings"):
        preprocessor(["a  b"])


@pytest.mark.parametrize(
    "tokenizer", ["words", "characters", halves, Bars("/")]
)
def test_saved_with_the_preprocessor(tokenizer, tmp_path):
    preprocessor = Preprocessor(["a", "b", "/"], tokenizer=tokenizer)
    config = json.loads(
        json.dumps(keras.saving.serialize_keras_object(preprocessor))
    )
    same(keras.saving.deserialize_keras_object(config), preprocessor, "a/b a")
    same(pickle.loads(pickle.dumps(preprocessor)), preprocessor, "a/b a")
    model = HVAE(preprocessor, 2, 4, 4)
    model.save_to_preset(tmp_path / "preset")
    again = HVAE.from_preset(tmp_path / "preset")
    same(again.preprocessor, preprocessor, "a/b a")


def test_corpora_keep_it(tmp_path):
    corpus = load(CHINESE, tokenizer="characters", split=(1, 0, 0))
    corpus.save(tmp_path / "x.npz")
    again = load(tmp_path / "x.npz").vocabulary
    assert again.get_config() == corpus.vocabulary.get_config()


@pytest.mark.parametrize(
    "tokenizer",
    [lambda text: text.split(), functools.partial(str.split), Forgetful()],
)
def test_what_keras_does_not_know_is_not_saved(tokenizer, tmp_path):
    model = HVAE(Preprocessor(["a"], tokenizer=tokenizer), 2, 4, 4)
    assert model.preprocessor(["a a"]).tolist() == [[[4, 4, 3]]]
    with pytest.raises(ValueError, match="`tokenizer` must be registered"):
        model.save_to_preset(tmp_path / "preset")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="`tokenizer` must be registered"):
        model.save(tmp_path / "m.keras")


def test_a_config_from_before_there_was_a_choice():
    config = {"vocabulary": ["a", "."], "lowercase": True, "max_words": None}
    again = Preprocessor.from_config(config)
    assert again.tokenizer.name == "words"
    assert again.get_config() == config
    # What it does not know with the mark, it reads as it did.
    assert again(["a.a"]).tolist() == [[[4, 5, 4, 3]]]


def test_a_callable_is_not_exported(tmp_path):
    from keras_hvae.export import export_savedmodel

    model = HVAE(Preprocessor(["a"], tokenizer=halves), 2, 4, 4)
    match = '`tokenizer` must be "words" or "characters" to be exported'
    with pytest.raises(NotImplementedError, match=match):
        export_savedmodel(model, tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_words_seen_less_often_are_unknown():
    documents = [["a a b", "c b"], ["a d"]]
    for min_count, words, unknown in (
        (1, "abcd", 0),
        (2, "ab", 2 / 7),
        (None, "ab", 2 / 7),
        (3, "a", 4 / 7),
    ):
        corpus = load(documents, min_count=min_count, split=(1, 0, 0))
        assert corpus.vocabulary[4:] == [*words]
        rate = corpus.report.splits["train"]["unknown"]
        assert rate == pytest.approx(unknown)
        ids = np.concatenate([x.numpy().ravel() for x in corpus.train])
        assert (ids == 1).sum() == pytest.approx(7 * unknown)
    with pytest.raises(ValueError, match="`min_count`.*word, 3. Received: 4"):
        load(documents, min_count=4, split=(1, 0, 0))
    # Where all are seen once, all are known unless one says else.
    corpus = load([["a b"]], split=(1, 0, 0))
    assert corpus.vocabulary[4:] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('i think i\'m, "well", me.', 'I think I\'m, "well", me.'),
        ("who? 'i.' (no.) yes... i-- o'er", "Who? 'I.' (No.) Yes... I-- o'er"),
        ("éa. i.e. it", "Éa. I.e. It"),
        ("", ""),
    ],
)
def test_capitalized(text, expected):
    assert capitalized(text) == expected


def test_detokenize_capitalizes():
    preprocessor = Preprocessor(["i", "am", ".", "so", "she"])
    ids = preprocessor(["i am. so i am\nshe"])
    assert preprocessor.detokenize(ids, capitalize=True) == [
        ["I am. So I am", "She"]
    ]
