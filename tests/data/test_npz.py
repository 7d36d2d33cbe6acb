import collections
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from keras_hvae import HVAE
from keras_hvae.data import IdBatches, load

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
