import pytest

from keras_hvae.data import load


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    pytest.importorskip("tensorflow_datasets")
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="module")
def corpus(data_dir):
    return load("shakespeare_scenes", data_dir=data_dir, batch_size=8)


@pytest.mark.slow
def test_splits(corpus):
    splits = corpus.report.splits
    assert [splits[s]["documents"] for s in splits] == [586, 60, 68]
    assert sum(splits[s]["sentences"] for s in splits) == 29_902
    written = {s for d in corpus.documents("test") for s in d}
    assert any("Is this a dagger which I see" in s for s in written)
    assert not any(" / " in s for s in written)


@pytest.mark.slow
def test_builds_once_without_noise_or_remains(corpus, data_dir, capfd):
    built = sorted(data_dir.rglob("*"))
    again = load("shakespeare_scenes", data_dir=data_dir, batch_size=8)
    assert sorted(data_dir.rglob("*")) == built
    assert not any("incomplete" in path.name for path in built)
    assert again.documents("valid") == corpus.documents("valid")
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.slow
def test_first_build_prints_nothing(tmp_path, capsys):
    load("shakespeare_scenes", data_dir=tmp_path, max_words=2)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.slow
def test_features(corpus, data_dir):
    import tensorflow_datasets as tfds

    builder = tfds.builder("shakespeare_scenes", data_dir=data_dir)
    example = next(iter(tfds.as_numpy(builder.as_dataset(split="test"))))
    assert example["play"] in (b"macbeth", b"twelfth_night", b"richard_iii")
    assert len(example["speakers"]) == len(example["sentences"])


@pytest.mark.slow
def test_unknown_key(corpus, data_dir):
    with pytest.raises(ValueError, match="`key`.*sentences.*Received: 'text'"):
        load("shakespeare_scenes", data_dir=data_dir, key="text")


@pytest.mark.slow
def test_a_text_feature_is_split_into_lines(corpus, data_dir):
    scenes = load("shakespeare_scenes", data_dir=data_dir, key="scene")
    assert scenes.report.splits["train"]["sentences"] <= 586


@pytest.mark.slow
def test_numbers_are_refused():
    tfds = pytest.importorskip("tensorflow_datasets")
    from keras_hvae.data.tfds import _read

    with tfds.testing.mock_data(num_examples=1):
        documents = _read(tfds.builder("mnist"), "test", "label")
        with pytest.raises(ValueError, match="test document 0.*as item 0"):
            next(documents)
