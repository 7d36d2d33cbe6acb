import pytest

from keras_hvae.evaluation.text.word_lists import import_library, word_lists


def test_word_lists_are_new_lists():
    sentences = [("a", "[UNK]"), ["b"], " c  d\n", ""]
    words = word_lists("x", sentences)
    assert words == [["a", "[UNK]"], ["b"], ["c", "d"], []]
    words[1].append("e")
    assert sentences[1] == ["b"]


def test_a_library_that_is_not_there():
    with pytest.raises(ImportError, match=r"needs the library nowhere: .*\[ev"):
        import_library("nowhere.at.all")
