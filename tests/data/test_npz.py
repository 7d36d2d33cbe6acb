import collections
import io
import json
import os
import shutil
import subprocess
import sys
import textwrap
import zipfile

import keras
import numpy as np
import pytest

from keras_hvae import HVAE
from keras_hvae.data import IdBatches, load
from keras_hvae.files import DamagedFileError

OPTIONS = {"batch_size": 4, "max_sentences": 4, "max_words": 9}


@pytest.fixture
def corpus(documents):
    return load(documents, **OPTIONS)


@pytest.fixture
def path(corpus, tmp_path):
    corpus.save(tmp_path / "corpus.npz")
    return tmp_path / "corpus.npz"


def contents(dataset):
    """The documents of all batches, without padding, as a multiset."""
    counts = collections.Counter()
    for batch in dataset:
        for document in np.asarray(batch):
            rows = tuple(tuple(row[row > 0]) for row in document if row.any())
            counts[rows] += 1
    counts.pop((), None)
    return counts


def test_holds_what_was_saved(corpus, path):
    again = load(path, batch_size=4)
    assert list(again.vocabulary) == list(corpus.vocabulary)
    assert again.vocabulary.max_words == 9
    assert again.report.splits == corpus.report.splits
    for split in ("train", "valid", "test"):
        dataset = getattr(again, split)
        assert isinstance(dataset, IdBatches)
        assert contents(dataset) == contents(getattr(corpus, split))
        ids = [corpus.vocabulary([x]) for x in corpus.documents(split)]
        texts = [corpus.vocabulary.detokenize(x)[0] for x in ids]
        assert again.documents(split) == texts
    assert load(path, batch_size=2).report.splits["train"]["batches"] > 10


def test_order_is_of_seed_and_epoch_alone(path):
    def order(dataset):
        return [batch.tolist() for batch in dataset]

    first, other = (
        load(path, batch_size=4).train,
        load(path, batch_size=4).train,
    )
    epochs = []
    for _ in range(3):
        assert order(first) == order(first)  # looking at it is no epoch
        first.on_epoch_end()
        first.on_epoch_begin()
        epochs.append(order(first))
        first.on_epoch_end()
    assert epochs[0] != epochs[1] != epochs[2]
    other.epoch = 2  # as if resumed
    assert order(other) == epochs[2]
    assert order(load(path, batch_size=4, seed=1).train) != epochs[0]
    valid = load(path, batch_size=4).valid
    valid.on_epoch_begin()
    before = order(valid)
    valid.on_epoch_end()
    assert order(valid) == before


def test_shapes_are_few_and_full(documents, tmp_path):
    load(documents * 20, **OPTIONS).save(tmp_path / "more.npz")
    corpus = load(tmp_path / "more.npz", batch_size=4)
    shapes = {batch.shape for batch in corpus.train}
    assert {b for b, _, _ in shapes} == {4}
    assert 4 < len(shapes) <= 16
    assert len(corpus.train) == corpus.report.splits["train"]["batches"]
    with pytest.raises(IndexError):
        corpus.train[len(corpus.train)]


@pytest.mark.slow
def test_fits(path):
    corpus = load(path, batch_size=16)
    model = HVAE(corpus.vocabulary, 2, 4, 6, seed=0)
    model.compile("adam", run_eagerly=True)
    history = model.fit(
        corpus.train,
        validation_data=corpus.valid,
        epochs=2,
        shuffle=False,
        verbose=0,
    ).history
    assert np.isfinite(history["val_loss"]).all()
    assert corpus.train.epoch == 2


@pytest.mark.slow
def test_trains_where_tensorflow_is_not_installed(path):
    program = f"""
        import sys
        sys.modules |= dict.fromkeys(("tensorflow", "tensorflow_datasets"))
        import keras_hvae
        corpus = keras_hvae.data.load({str(path)!r}, batch_size=4)
        model = keras_hvae.HVAE(corpus.vocabulary, 2, 4, 6, seed=0)
        model.compile("adam")
        model.fit(corpus.train, steps_per_epoch=1, shuffle=False, verbose=0)
        assert model.encode(corpus.test[0])["mean"].shape[-1] == 2
        print(sum(int((ids != 0).sum()) for ids in corpus.test))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={
            "KERAS_BACKEND": "jax",
            "PATH": "",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) == load(path).report.splits["test"]["tokens"]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train_ids", lambda x: x + 1000, "ids between 1 and"),
        ("train_ids", lambda x: x[:-1], "add up"),
        ("valid_words", lambda x: x[:0], "add up"),
        ("test_sentences", lambda x: x * 0, "add up"),
        ("test_sentences", lambda x: x * 1.0, "integers .*float64"),
        ("about", None, "not .*about"),
    ],
)
def test_says_what_is_wrong_with_a_file(path, name, change, message):
    with np.load(path) as file:
        arrays = dict(file)
    value = arrays.pop(name)
    if change:
        arrays[name] = change(value)
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=f"(?s)corpus.npz: .*{message}"):
        load(path)


def test_no_npz_at_all(path):
    path.write_text("nothing")
    with pytest.raises(ValueError, match="corpus.npz: expected a corpus"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(path.with_name("none.npz"))


@pytest.mark.parametrize("varies", ["sentences", "words", "both", "nothing"])
def test_the_first_two_batches_show_keras_what_varies(varies, tmp_path):
    # It takes what is the same in both for fixed.
    sentences, words = (varies in (x, "both") for x in ("sentences", "words"))
    rng = np.random.default_rng(0)
    documents = [
        [
            " ".join("abcdefgh"[: rng.integers(1, 9) if words else 5])
            for _ in range(rng.integers(1, 9) if sentences else 5)
        ]
        for _ in range(150)
    ]
    load({"train": documents}).save(tmp_path / "c.npz")
    train = load(tmp_path / "c.npz", batch_size=4).train
    for epoch in range(20):
        train.epoch = epoch
        shapes = np.array([batch.shape for batch in train])
        differ = (shapes != shapes[0]).any(axis=0)
        np.testing.assert_array_equal(shapes[0] != shapes[1], differ)
    assert differ.tolist() == [False, sentences, words]
    train.epoch = 0
    model = keras.Sequential(
        [keras.layers.Embedding(20, 1), keras.layers.ActivityRegularization(1)]
    )
    model.compile("adam")
    model.fit(train, epochs=2, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == 2 * len(train)


def rewritten(path, change=None, **arrays):
    """Writes the file anew, with `about` changed and other arrays."""
    with np.load(path) as file:
        arrays = {**file, **arrays}
    about = json.loads(arrays["about"].tobytes())
    if change is not None:
        change(about)
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez_compressed(path, **arrays)


def test_another_order_of_words_is_noticed(path):
    rewritten(path, lambda x: x["preprocessor"]["vocabulary"].reverse())
    with pytest.raises(DamagedFileError, match="corpus.npz: .*the SHA-256"):
        load(path)


def test_a_file_of_version_0_1_0_loads(path):
    expected = load(path).documents("train")
    rewritten(path, lambda x: [x.pop(k) for k in ("content", "digest")])
    again = load(path)
    assert again.documents("train") == expected
    assert len(again.digest) == 64
    shutil.copy(path, path.with_name("moved.npz"))
    assert load(path.with_name("moved.npz")).digest == again.digest


def test_other_arrays_are_not_read(path, monkeypatch):
    rewritten(path, extra=np.zeros(50_000_000, np.uint8))
    opened = []
    once = zipfile.ZipFile.open

    def watched(archive, info, *args, **kwargs):
        opened.append(info.filename)
        return once(archive, info, *args, **kwargs)

    monkeypatch.setattr(zipfile.ZipFile, "open", watched)
    load(path)
    assert "about.npy" in opened and "extra.npy" not in opened


def test_nothing_is_allocated_that_only_a_header_tells(path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<i4", "fortran_order": False, "shape": (1 << 40,)}
    )
    with zipfile.ZipFile(path, "a") as archive:
        names = [x for x in archive.namelist() if x != "train_ids.npy"]
        rest = {name: archive.read(name) for name in names}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in rest.items():
            archive.writestr(name, data)
        archive.writestr("train_ids.npy", header.getvalue())
    with pytest.raises(DamagedFileError, match="npz: .*4,398,046,511,104 byt"):
        load(path)


def test_a_small_file_that_unpacks_without_end(path):
    zeros = np.zeros(30_000_000, "int32")
    rewritten(path, train_ids=zeros)
    with pytest.raises(DamagedFileError, match="npz: .*at most 200 times"):
        load(path)


def test_windows_that_cannot_be_padded(path):
    n = 20_000

    def change(about):
        about["splits"]["train"] |= {"tokens": 2 * n, "windows": 2}

    rewritten(
        path,
        change,
        train_ids=np.full(2 * n, 3, "int32"),
        train_words=np.array([n] + [1] * n, "int32"),
        train_sentences=np.array([1, n], "int32"),
    )
    with pytest.raises(DamagedFileError, match="20,000 sentences of 20,000 w"):
        load(path)


def test_sums_that_overflow(path):
    words = np.array([1 << 62] * 4, "int64")
    rewritten(path, train_words=words)
    with pytest.raises(DamagedFileError, match="corpus.npz: .*add up"):
        load(path)


def test_every_damage_names_the_file(path):
    whole = path.read_bytes()
    truth = str(load(path).report), load(path).documents("train")
    rng = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        place = int(rng.integers(len(data)))
        if rng.random() < 0.2:
            data = data[:place]
        else:
            data[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            corpus = load(path)
        except DamagedFileError as error:
            assert str(error).startswith(f"{path}: expected ")
        else:
            assert truth == (str(corpus.report), corpus.documents("train"))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"splits": 1e999}', "3"])
def test_settings_that_are_none(path, text):
    rewritten(path)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["about"] = np.frombuffer(text.encode(), np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(DamagedFileError, match="corpus.npz: expected a corp"):
        load(path)


def test_regular_files_only(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "zero.npz").symlink_to("/dev/zero")
    (tmp_path / "folder.npz").mkdir()
    for name, kind in (
        ("pipe", "a pipe"),
        ("zero", "a device"),
        ("folder", "a folder"),
    ):
        path = tmp_path / f"{name}.npz"
        with pytest.raises(DamagedFileError, match=f"{path}: .*{kind}"):
            load(path)
