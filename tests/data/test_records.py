import json
import shutil

import numpy as np
import pytest

from keras_hvae.checksums import write_sums
from keras_hvae.data import load
from keras_hvae.files import DamagedFileError
from tests.harness import slow

OPTIONS = {"batch_size": 4, "max_sentences": 4, "max_words": 9}


@pytest.fixture
def corpus(documents):
    return load(documents, **OPTIONS)


@pytest.fixture(scope="module")
def saved(documents, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "cached"
    load(documents, **OPTIONS).save(path)
    return path


@pytest.fixture
def path(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "cached")


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


def without_sums(path):
    """Makes of a folder what version 0.1.0 wrote with TensorFlow Datasets."""
    (path / "SHA256SUMS").unlink()
    for split in ("train", "valid", "test"):
        name = f"ids-{split}.tfrecord-00000-of-00001"
        (path / f"{split}.tfrecord").rename(path / name)
    (path / "features.json").write_text("{}")
    about = json.loads((path / "keras_hvae.json").read_text())
    del about["digest"]
    for row in about["splits"].values():
        del row["repeated"]
    (path / "keras_hvae.json").write_text(json.dumps(about))


def write_example(path, **features):
    """Replaces a file by one with a single example of lists of integers."""
    import tensorflow as tf

    feature = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=value))
        for name, value in features.items()
    }
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(example.SerializeToString())


def test_a_folder_runs_no_code(path, tmp_path, monkeypatch):
    # TensorFlow Datasets imports the module that features.json names.
    monkeypatch.chdir(tmp_path)
    without_sums(path)
    name = "ids-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    info = {"name": "ids", "fileFormat": "tfrecord", "version": "1.0.0"}
    info["splits"] = [
        {"name": split, "filepathTemplate": f"../elsewhere/{name}"}
        | {"numBytes": "1", "shardLengths": ["1"]}
        for split in ("train", "valid", "test")
    ]
    (path / "dataset_info.json").write_text(json.dumps(info))
    (path / "evil.py").write_text("open('owned', 'w').close()\nX = 0\n")
    evil = {"pythonClassName": "cached.evil.X", "featuresDict": {}}
    (path / "features.json").write_text(json.dumps(evil))
    corpus = load("cached")
    assert len(corpus.documents("train")) == 68
    assert not (tmp_path / "owned").exists()


def test_a_folder_is_compared_with_its_sums(path):
    assert (path / "SHA256SUMS").is_file()
    for name in ("keras_hvae.json", "train.tfrecord", "SHA256SUMS"):
        whole = (path / name).read_bytes()
        for place in range(0, len(whole), len(whole) // 7):
            data = bytearray(whole)
            data[place] ^= 1
            (path / name).write_bytes(data)
            with pytest.raises(ValueError, match="cached/.*: expected .*SHA-"):
                load(path)
        (path / name).write_bytes(whole)
    assert load(path).name == "memory"


def test_another_order_of_words_is_noticed(path):
    about = json.loads((path / "keras_hvae.json").read_text())
    about["preprocessor"]["vocabulary"].reverse()
    (path / "keras_hvae.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="keras_hvae.json: expected the SHA-"):
        load(path)


def test_a_link_out_of_the_folder_is_not_followed(path, tmp_path):
    for name in ("train.tfrecord", "keras_hvae.json"):
        (path / name).rename(tmp_path / "other")
        (path / name).symlink_to(tmp_path / "other")
        with pytest.raises(DamagedFileError, match=f"{name}: .*leads out of"):
            load(path)
        (tmp_path / "other").replace(path / name)


def test_a_folder_without_sums_is_read_and_says_so(corpus, path):
    without_sums(path)
    again = load(path, batch_size=4)
    assert "no SHA256SUMS" in str(again.report)
    assert len(again.digest) == 64
    for split in ("train", "valid", "test"):
        pairs = zip(getattr(again, split), getattr(corpus, split), strict=True)
        for x, y in pairs:
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("ids", "words", "message"),
    [
        ([5, 10**6, 3], [3], "not in the vocabulary"),
        ([5, -1, 3], [3], "not in the vocabulary"),
        ([5, 2**40 + 5, 3], [3], "not in the vocabulary"),
        ([5, 6, 3], [2], "add up"),
        ([5, 6, 3], [3, 0], "empty sentence"),
        ([5, 6, 3], [], "no sentence"),
        ([3] * 9, [1] * 9, "too many sentences"),
        ([5] * 20 + [3], [21], "too long a sentence"),
        ([5, 6, 3], [2, 1], "does not end with"),
        ([], [0], "empty sentence"),
    ],
)
@pytest.mark.parametrize("sums", [True, *slow(False)])
def test_ids_are_checked(path, sums, ids, words, message):
    if not sums:
        without_sums(path)
        name = "ids-test.tfrecord-00000-of-00001"
        write_example(path / name, ids=ids, words=words)
        with pytest.raises(DamagedFileError, match=f"{name}: .*{message}"):
            load(path)
        return
    write_example(path / "test.tfrecord", ids=ids, words=words)
    (path / "SHA256SUMS").unlink()
    write_sums(path)
    test = load(path).test
    with pytest.raises(Exception, match=f"test.tfrecord: expected.*{message}"):
        list(test)


def test_other_windows_than_it_tells(path):
    without_sums(path)
    name = "ids-test.tfrecord-00000-of-00001"
    write_example(path / name, ids=[5, 3], words=[2])
    with pytest.raises(DamagedFileError, match="sizes that it tells"):
        load(path)
    write_example(path / name, ids=[5, 5], words=[2])
    with pytest.raises(DamagedFileError, match=f"{name}: .*does not end with"):
        load(path)
    (path / name).write_bytes(b"no TFRecords at all")
    with pytest.raises(DamagedFileError, match=f"{name}: expected TFRecords"):
        load(path)
    (path / name).unlink()
    with pytest.raises(DamagedFileError, match="no ids-test.tfrecord"):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shapes": {"train": [[0, 1]]}}, "windows"),
        ({"shapes": {"train": "x"}}, "no table"),
        ({"skipped": float("inf")}, "no count"),
        ({"name": 3}, "name"),
        ({"preprocessor": {"vocabulary": ["a"], "other": 1}}, "other"),
        ({"preprocessor": []}, ""),
        (
            {"preprocessor": {"vocabulary": ["a"], "max_words": {"module": 1}}},
            "is an object",
        ),
        ({"splits": {"../train": {}}}, "splits"),
        ({"splits": {"train": {"tokens": 3, "windows": "x"}}}, "no count"),
        ({"splits": []}, "splits"),
        ("[" * 100_000, "recursion"),
        ("nothing", "not \\(Expecting value"),
    ],
)
def test_damaged_settings(path, change, message):
    about = json.loads((path / "keras_hvae.json").read_text())
    text = change
    if isinstance(change, dict):
        text = json.dumps({**about, **change})
    (path / "keras_hvae.json").write_text(text)
    (path / "SHA256SUMS").unlink()
    write_sums(path)
    with pytest.raises(DamagedFileError, match=f"(?s)cached.*{message}"):
        load(path)
