import json

import numpy as np
import pytest

from keras_hvae.checksums import write_sums
from keras_hvae.data import load

OPTIONS = {"batch_size": 4, "max_sentences": 4, "max_words": 9}


@pytest.fixture
def corpus(documents):
    return load(documents, **OPTIONS)


@pytest.fixture
def path(corpus, tmp_path):
    corpus.save(tmp_path / "cached")
    return tmp_path / "cached"


def test_holds_what_was_saved(corpus, path):
    again = load(path, batch_size=4)
    assert list(again.vocabulary) == list(corpus.vocabulary)
    assert again.report.splits == corpus.report.splits
    for split in ("train", "valid", "test"):
        dataset, expected = getattr(again, split), getattr(corpus, split)
        # The same order too: it is a function of the seed.
        for x, y in zip(dataset, expected, strict=True):
            np.testing.assert_array_equal(x, y)
        assert dataset.element_spec == expected.element_spec
        ids = [corpus.vocabulary([x]) for x in corpus.documents(split)]
        texts = [corpus.vocabulary.detokenize(x)[0] for x in ids]
        assert again.documents(split) == texts


def test_nothing_is_half_written(corpus, path, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="not exist yet. Received: .*cached"):
        corpus.save(path)
    with pytest.raises(FileNotFoundError):
        corpus.save(tmp_path / "none" / "cached")

    def broken(split):
        yield ["one"]
        raise OSError("the disk is gone")

    monkeypatch.setattr(corpus, "windows", broken)
    with pytest.raises(Exception, match="the disk is gone"):
        corpus.save(tmp_path / "other")
    assert [x.name for x in tmp_path.iterdir()] == ["cached"]


def test_says_that_a_folder_is_not_whole(path):
    about = json.loads((path / "keras_hvae.json").read_text())
    del about["shapes"]
    (path / "keras_hvae.json").write_text(json.dumps(about))
    (path / "SHA256SUMS").unlink()
    write_sums(path)
    with pytest.raises(ValueError, match="cached: expected a corpus .*shapes"):
        load(path)
