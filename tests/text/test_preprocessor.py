import pickle

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_hvae.ids import EOS_ID, SPECIAL_TOKENS
from keras_hvae.text import Preprocessor, count_words
from keras_hvae.text.tokenizer import get_tokenizer
from keras_hvae.text.words import GLUE

tf = pytest.importorskip("tensorflow")

TOKENIZER = get_tokenizer("words")
WORDS = (
    "a s the king players tis 'tis 3 14 o'er well-a-day don’t é e\u0301 中文 "
    "th o straße " + " ".join("'’\"-.,;:!?()[]{}“”‘…&%/😀") + " -- --- .. ..."
).replace(" 'tis", "")


@pytest.fixture(scope="module")
def preprocessor():
    return Preprocessor(WORDS.split())


def words_of(text, lowercase=True):
    words = TOKENIZER.tokenize([text], lowercase).to_list()[0]
    return [word.decode() for word in words]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("O'er the well-a-day,", ["o'er", "the", "well-a-day", ","]),
        ("father--O, 'tis", ["father", "--", "o", ",", "'￭", "tis"]),
        ("don’t... I--I--", ["don’t", "...", "i", "--", "i", "--"]),
        ("ÉTÉ e\u0301 STRASSE", ["été", "e\u0301", "strasse"]),
        ("a\u00a0b\u2028c\u3000d\x00e\x1bf", list("abcdef")),
        ("\u200b \t\r\n", []),
        ("", []),
        ("中文 😀!", ["中文", "😀", "!"]),
        ("3.14 3. 14 a_b", "3 .￭ 14 3 . 14 a ￭_￭ b".split()),
        ('"f(x)," a-', '"￭ f ￭( x ) , ￭" a ￭-'.split()),
        ("￭ a￭b", ["a", "b"]),
    ],
)
def test_tokenize(text, words):
    assert words_of(text) == words


def test_tokenize_keeps_case_and_shape():
    assert words_of("The King", lowercase=False) == ["The", "King"]
    assert TOKENIZER.tokenize([["a b", "c"]], True).to_list() == [
        [[b"a", b"b"], [b"c"]]
    ]


@pytest.mark.parametrize(
    "text",
    [
        "who's there? nay, answer me: stand!",
        "father--o, that 'had! how sad",
        "'tis the players' scene; and th' other's.",
        'he said "the king (of france) lives..." -- then "no".',
        "all's well.",
        "i have it 'twixt em' [exit]",
    ],
)
def test_detokenize_restores_spelling(text):
    joined = b" ".join(TOKENIZER.tokenize([text], True).to_list()[0])
    expected = text.replace(" -- ", "--")
    assert TOKENIZER.joined([joined]).numpy()[0].decode() == expected


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_encode_undoes_detokenize(preprocessor, data):
    known = st.integers(len(SPECIAL_TOKENS), len(preprocessor) - 1)
    ids = data.draw(st.lists(st.lists(known, min_size=1), min_size=1))
    ids = tf.ragged.constant([row + [EOS_ID] for row in ids]).to_tensor()
    texts = preprocessor.detokenize(ids)
    again = preprocessor.encode_sentences(tf.constant(texts)).to_tensor()
    np.testing.assert_array_equal(again, ids, err_msg=repr(texts))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(codec="utf-8") | st.sampled_from("a s-'’.\" (")))
def test_tokenize_undoes_detokenize_for_any_text(text):
    words = TOKENIZER.tokenize([text], True)
    joined = tf.strings.reduce_join(words, axis=-1, separator=" ")
    again = TOKENIZER.tokenize(TOKENIZER.joined(joined), False)
    # Which side a lone quote belongs to is a guess.
    assert plain(again) == plain(words)
    if not set(text) & set("'’‘\""):
        assert again.to_list() == words.to_list()


def plain(words):
    """Words without the mark for missing white space."""
    return [
        [word.replace(GLUE.encode(), b"") for word in row]
        for row in words.to_list()
    ]


def test_call_pads_and_cuts():
    cut = Preprocessor(["b", "a"], max_words=2)
    ids = cut([["a b a", "a"], "x\n \nb"])
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(
        ids, [[[5, 4, 3], [5, 3, 0]], [[1, 3, 0], [4, 3, 0]]]
    )
    np.testing.assert_array_equal(cut([[""]]), [[[EOS_ID]]])


def test_detokenize_nests_and_leaves_padding_out(preprocessor):
    documents = [["the king, a s.", "the!"], ["a"]]
    ids = preprocessor(documents)
    assert preprocessor.detokenize(ids) == documents
    assert preprocessor.detokenize(ids[0]) == documents[0]
    assert preprocessor.detokenize(ids[0, 0]) == documents[0][0]
    assert preprocessor.detokenize([[2, 4, 1, 3, 5]]) == ["a [UNK]"]


def test_is_a_sequence_of_words(preprocessor):
    assert len(preprocessor) == len(WORDS.split()) + 4
    assert preprocessor[:5] == [*SPECIAL_TOKENS, "a"]
    assert "king" in preprocessor and "queen" not in preprocessor
    assert list(preprocessor)[preprocessor.index("king")] == "king"


def test_lowercase_is_inferred():
    assert Preprocessor(["a", "ß", "中"]).lowercase
    assert not Preprocessor(["a", "B"]).lowercase
    assert Preprocessor(["a", "B"], lowercase=True).lowercase


def test_a_vocabulary_may_begin_with_the_special_words(preprocessor):
    assert list(Preprocessor(preprocessor)) == list(preprocessor)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ([], "at least one word.*Received: \\[\\]"),
        (SPECIAL_TOKENS, "at least one word"),
        ("king", "not one string"),
        (["a", "b", "a"], r"Received: \['a'\] more than once"),
        (["a", "[EOS]"], r"Received: \['\[EOS\]'\] more than once"),
        (["a", 3], "Received: 3 of type int as word 1"),
        (["a", "b c"], "Received: 'b c' as word 1"),
        (["a", "b\x00"], "no white space"),
        (["a", ""], "not empty"),
    ],
)
def test_bad_vocabulary(vocabulary, message):
    with pytest.raises(ValueError, match=f"`vocabulary`.*{message}"):
        Preprocessor(vocabulary)


@pytest.mark.parametrize("limit", [0, -1, 2.5])
def test_bad_limit(limit):
    with pytest.raises(ValueError, match=f"`max_words`.*Received: {limit}"):
        Preprocessor(["a"], max_words=limit)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ("a b", "not one string"),
        ([], "at least one document"),
        ([["a"], []], "none in document 1"),
        ([["a"], " \n"], "none in document 1"),
        ([["a", 3]], "Received: 3 of type int in document 0"),
    ],
)
def test_bad_documents(preprocessor, documents, message):
    with pytest.raises(ValueError, match=f"`documents`.*{message}"):
        preprocessor(documents)


@pytest.mark.parametrize("ids", [[[0, 9999]], [[-1]], [[0.5]], 3])
def test_bad_ids(preprocessor, ids):
    with pytest.raises(ValueError, match="`ids`.*Received"):
        preprocessor.detokenize(ids)


def test_learning_keeps_the_most_frequent_words():
    sentences = tf.data.Dataset.from_tensor_slices(["B a, c", "b d A", "b"])
    for dataset in (sentences, sentences.batch(2)):
        counts = count_words(dataset)
        assert counts == {"b": 3, "a": 2, ",": 1, "c": 1, "d": 1}
    learned = Preprocessor.from_counts(counts, 8, max_words=3)
    assert learned[4:] == ["b", "a", ",", "c"]
    assert learned.max_words == 3
    with pytest.raises(ValueError, match="`vocabulary_size`.*Received: 4"):
        Preprocessor.from_counts(counts, 4)


def test_config_and_pickle_round_trips(preprocessor):
    preprocessor = Preprocessor(preprocessor, False, 4)
    ids = preprocessor(["the king"])
    config = keras.saving.serialize_keras_object(preprocessor)
    for again in (
        keras.saving.deserialize_keras_object(config),
        pickle.loads(pickle.dumps(preprocessor)),
    ):
        assert again.get_config() == preprocessor.get_config()
        np.testing.assert_array_equal(again(["the king"]), ids)


def test_runs_in_an_exported_graph(tmp_path, preprocessor):
    fresh = Preprocessor(preprocessor)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def both_ways(sentences):
        ids = fresh.encode_sentences(sentences).to_tensor()
        return fresh.detokenize_tensor(ids)

    sentences = ["The king, (a)", ""]
    archive = keras.export.ExportArchive()
    archive.track(fresh.table)
    archive.add_endpoint("serve", both_ways)
    archive.write_out(tmp_path, verbose=False)
    served = tf.saved_model.load(tmp_path).serve(tf.constant(sentences))
    assert served.numpy().tolist() == [b"the king, (a)", b""]
