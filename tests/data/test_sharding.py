import numpy as np
import pytest

from keras_hvae.data import load, sharding
from tests.harness import slow

DOCUMENTS = [[f"w{i} says this", "and that"][: 1 + i % 2] for i in range(23)]


@pytest.fixture(params=["text", "npz"])
def make_corpus(request, tmp_path):
    """A function that loads the corpus, as each process does."""

    def make():
        # The order of text depends on this seed as well.
        sharding.keras.utils.set_random_seed(0)
        splits = {"train": DOCUMENTS[:15], "valid": DOCUMENTS[15:]}
        corpus = load(splits, batch_size=4, min_count=1)
        if request.param == "npz":
            corpus.save(tmp_path / "corpus.npz")
            corpus = load(tmp_path / "corpus.npz", batch_size=4)
        return corpus

    return make


def read(batches):
    if hasattr(batches, "as_numpy_iterator"):
        return list(batches.as_numpy_iterator())
    batches.on_epoch_begin()
    return [batches[i] for i in range(len(batches))]


# Of 6 devices, a batch of 4 has rows of padding.
@pytest.mark.parametrize("devices", [2, *slow(6)])
@pytest.mark.parametrize("split", ["train", "valid"])
def test_shares_are_the_batch_without_overlap_or_loss(
    split, devices, make_corpus
):
    processes = 2
    batches = read(getattr(make_corpus(), split))
    shares = [
        read(sharding.share(getattr(make_corpus(), split), devices, 2, i))
        for i in range(processes)
    ]
    for batch, *parts in zip(batches, *shares, strict=True):
        assert len({len(x) for x in parts}) == 1
        assert sum(map(len, parts)) % devices == 0
        both = np.concatenate(parts)
        np.testing.assert_array_equal(both[: len(batch)], batch)
        assert not both[len(batch) :].any()


def test_the_number_of_batches_stays_known(make_corpus):
    corpus = make_corpus()
    for split in (corpus.train, corpus.valid):
        assert len(sharding.share(split, 2, 2, 1)) == len(split)


def test_processes_share_each_batch_of_an_array():
    rows = np.arange(22 * 3).reshape(22, 3)
    shares = [sharding.share_of_arrays(rows, 8, 2, i) for i in range(2)]
    for start in range(0, 22, 8):
        parts = [x[start // 2 : start // 2 + 4] for x in shares]
        np.testing.assert_array_equal(
            np.concatenate(parts), rows[start : start + 8]
        )
    assert sum(map(len, shares)) == 22


def test_structures_of_arrays_are_cut_alike():
    class Frames(sharding.keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return {"frames": np.ones((3, 2, 5)), "mask": np.ones((3, 2), bool)}

    first, second = (sharding.share(Frames(), 2, 2, i)[0] for i in (0, 1))
    assert first["frames"].shape == second["frames"].shape == (2, 2, 5)
    assert second["mask"].tolist() == [[True, True], [False, False]]


def test_a_strategy_reads_one_epoch_after_the_other(make_corpus):
    tf = pytest.importorskip("tensorflow")
    train = make_corpus().train
    steps = len(train)
    train.start_at(1, 2)
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    distributed, count = sharding.distribute(train, strategy)
    assert count == steps
    found = []
    for ids in distributed:
        found.append(ids.numpy())
        # What a Checkpoint says when the epoch begins, later than TensorFlow
        # has begun to read it.
        if len(found) == steps - 2:
            train.start_at(2)
        if len(found) == 2 * steps - 2:
            break
    expected = make_corpus().train
    expected.start_at(1, 2)
    rows = read(expected)[: steps - 2]
    expected.start_at(2)
    rows += read(expected)
    for x, y in zip(found, rows, strict=True):
        np.testing.assert_array_equal(x, y)
