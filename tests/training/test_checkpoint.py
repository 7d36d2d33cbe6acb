"""Trainings that stop, are killed, and go on."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import warnings

import keras
import numpy as np
import pytest
from keras import ops

import keras_hvae
from keras_hvae import HVAE, callbacks
from keras_hvae.files import DamagedFileError
from keras_hvae.training import Checkpoint
from keras_hvae.training.checkpoint_files import (
    find_checkpoints,
    read_last,
    write_checkpoint,
)

PROGRAM = pathlib.Path(__file__).parents[2] / "benchmarks" / "faults.py"
tensorflow = keras.config.backend() == "tensorflow"
# CI runs these on the other backends.
NPZ = [pytest.mark.full] * tensorflow


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """The same documents as text, an npz file and TFRecords."""
    folder = tmp_path_factory.mktemp("corpora")
    sys.path.insert(0, str(PROGRAM.parent))
    try:
        from faults import make_corpora
    finally:
        sys.path.pop(0)
    make_corpora(folder)
    return folder


def load(corpora, kind="npz", **kwargs):
    names = {"text": "corpus.txt", "npz": "corpus.npz"}
    return keras_hvae.data.load(
        corpora / names.get(kind, kind), batch_size=8, **kwargs
    )


class Stop(keras.callbacks.Callback):
    """An exception after a number of batches: a program that fails."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("stop")


def values(variables):
    return [np.array(ops.convert_to_numpy(x)) for x in variables]


def fit(corpus, folder, stop=0, make=None, every=3, epochs=3, **model_options):
    """A training that goes on from `folder`; what it ends with."""
    keras.utils.set_random_seed(3)
    options = {
        "latent_dim": 2,
        "embedding_dim": 4,
        "hidden_dim": 6,
        "dropout": 0.2,
        "word_dropout": 0.2,
        "seed": 1,
    }
    model = HVAE(corpus.vocabulary, **{**options, **model_options})
    model.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    folder.mkdir(exist_ok=True)
    log = keras.callbacks.CSVLogger(folder / "log.csv")
    given = [
        *(make() if make else [callbacks.KLAnnealing(7)]),
        callbacks.BestModel(folder / "best.keras"),
        log,
        Stop(stop),
        checkpoint := Checkpoint(folder / "checkpoints", every=every),
    ]
    try:
        history = model.fit(
            corpus.train,
            validation_data=corpus.valid,
            epochs=epochs,
            callbacks=given,
            shuffle=False,
            verbose=0,
        )
    except RuntimeError as error:
        assert "stop" in str(error)
        return checkpoint
    finally:
        if log.csv_file:
            log.csv_file.close()
    return {
        "variables": values([*model.variables, *model.optimizer.variables]),
        "best": values(keras_hvae.load_model(folder / "best.keras").weights),
        "log": (folder / "log.csv").read_text(),
        "history": history.history,
        "epochs": history.epoch,
    }


def assert_same(one, two):
    assert one["log"] == two["log"] and one["log"].count("\n") == 4
    assert one["history"] == two["history"]
    assert one["epochs"] == two["epochs"] == [0, 1, 2]
    for key in ("variables", "best"):
        for x, y in zip(one[key], two[key], strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "text",
        pytest.param("npz", marks=NPZ),
        pytest.param("records", marks=pytest.mark.full),
    ],
)
def test_goes_on_exactly(corpora, tmp_path, kind):
    corpus = load(corpora, kind)
    batches = len(corpus.train)
    assert batches > 9
    whole = fit(corpus, tmp_path / "whole")
    # Within the first epoch; on the last batch of it, the first of the next;
    # within the last one.
    stops = [4, batches, 8, batches]
    for stop in stops:
        checkpoint = fit(load(corpora, kind), tmp_path / "parts", stop)
    assert checkpoint.resumed.name.startswith("epoch-000001-step")
    parts = fit(load(corpora, kind), tmp_path / "parts")
    assert_same(whole, parts)
    # It is over: nothing is trained again.
    assert_same(whole, fit(load(corpora, kind), tmp_path / "parts", stop=1))


@pytest.mark.slow
@pytest.mark.full
def test_pretraining_goes_on_exactly(corpora, tmp_path):
    # The new decoder's weights are drawn in the middle of the training.
    def make():
        return [callbacks.AutoencoderPretraining(12, 4)]

    corpus = load(corpora)
    whole = fit(corpus, tmp_path / "whole", make=make)
    for stop in (8, 5):
        fit(load(corpora), tmp_path / "parts", stop, make=make)
    assert_same(whole, fit(load(corpora), tmp_path / "parts", make=make))


@pytest.mark.parametrize("kind", ["text", "npz", "records"])
def test_data_start_anywhere(corpora, kind):
    def read(train):
        return [np.asarray(x).tolist() for x in train]

    train = load(corpora, kind).train
    train.start_at(2)
    third = read(train)
    train.start_at(2, 3)
    assert read(train)[: len(third) - 3] == third[3:]
    # Neither what was read before nor the seed of the process matters.
    keras.utils.set_random_seed(123)
    train = load(corpora, kind).train
    train.start_at(1)
    assert read(train) != third
    if kind == "npz":
        train.start_at(2)
    assert read(train) == third
    with pytest.raises(ValueError, match=f"`step` .*{len(third)}.* Received"):
        train.start_at(0, len(third))
    with pytest.raises(ValueError, match="`epoch` .* Received: -1"):
        train.start_at(-1)


def state(number):
    return {"number": number, "array": np.arange(1000.0), "none": [None]}


def write(folder, *steps):
    return [write_checkpoint(folder, 0, step, state(step)) for step in steps]


def test_files_hold_what_was_written_and_two_are_kept(tmp_path):
    paths = write(tmp_path, 1, 2, 30)
    assert find_checkpoints(tmp_path) == paths[:0:-1]
    path, read = read_last(tmp_path)
    assert path == paths[-1]
    np.testing.assert_array_equal(read.pop("array"), np.arange(1000.0))
    assert read == {"number": 30, "none": [None]}
    assert read_last(tmp_path / "none") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda x: x[:-1],
        lambda x: x[:50],
        lambda x: b"",
        lambda x: x + b"x",
        lambda x: x[:500] + bytes([x[500] ^ 1]) + x[501:],
        lambda x: bytes([x[0] ^ 1]) + x[1:],
    ],
)
def test_a_damaged_file_is_passed_over(tmp_path, damage):
    first, last = write(tmp_path, 1, 2)
    last.write_bytes(damage(last.read_bytes()))
    with pytest.warns(UserWarning, match=f"{last}.*Received.* {first}"):
        path, read = read_last(tmp_path)
    assert path == first and read["number"] == 1
    first.write_bytes(damage(first.read_bytes()))
    with pytest.raises(DamagedFileError, match=str(first)):
        read_last(tmp_path)


def test_a_damaged_file_does_not_count_among_the_two(tmp_path):
    write(tmp_path, 1, 2)[1].write_bytes(b"x")
    with pytest.warns(UserWarning):
        read_last(tmp_path)
    (last,) = write(tmp_path, 3)
    assert read_last(tmp_path)[0] == last
    assert len(find_checkpoints(tmp_path)) == 2
    assert len(list(tmp_path.glob("*.damaged"))) == 1


def test_no_flipped_bit_is_overlooked(tmp_path):
    (path,) = write(tmp_path, 1)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for bit in rng.integers(8 * len(content), size=200):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(DamagedFileError):
            read_last(tmp_path)


def test_a_full_disk_leaves_what_was_there(tmp_path):
    resource = pytest.importorskip("resource")
    paths = write(tmp_path, 1, 2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError):
            write(tmp_path, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(tmp_path.iterdir()) == paths
    assert read_last(tmp_path)[1]["number"] == 2


@pytest.mark.slow
def test_a_folder_that_cannot_be_written(corpora, tmp_path):
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(FileExistsError):
        fit(load(corpora), tmp_path)
    assert not (tmp_path / "best.keras").exists()


@pytest.mark.slow
def test_another_training_is_refused(corpora, tmp_path):
    fit(load(corpora), tmp_path, stop=5)

    def refused(name, old, new):
        message = f"`{name}` must be {old}.*checkpoint.*Received: {new}"
        return pytest.raises(ValueError, match=message)

    with refused("latent_dim", 2, 3):
        fit(load(corpora), tmp_path, latent_dim=3)
    with refused("seed", 1, 2):
        fit(load(corpora), tmp_path, seed=2)
    with refused("order.seed", 0, 4):
        fit(load(corpora, seed=4), tmp_path)
    with refused("epochs", 3, 4):
        fit(load(corpora), tmp_path, epochs=4)
    with refused("KLAnnealing.steps", 7, 8):
        fit(load(corpora), tmp_path, make=lambda: [callbacks.KLAnnealing(8)])
    other = [["yes no"] * 2, ["no yes", "a the"]] * 45
    keras_hvae.data.load(other).save(tmp_path / "other.npz")
    changed = keras_hvae.data.load(tmp_path / "other.npz", batch_size=8)
    with refused("corpus", ".*", ".*"):
        fit(changed, tmp_path)
    # And with the same ones it goes on.
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(load(corpora), tmp_path)


def test_data_and_place_of_the_callback(corpora, make_hvae, make_ids, tmp_path):
    model = make_hvae()
    model.compile("adam")
    ids = make_ids()
    with pytest.raises(ValueError, match="start at any batch.*ndarray"):
        model.fit(ids, callbacks=[Checkpoint(tmp_path)], verbose=0)
    later = keras.callbacks.TerminateOnNaN()
    with pytest.raises(ValueError, match="last.*Received: TerminateOnNaN"):
        model.fit(ids, callbacks=[Checkpoint(tmp_path), later], verbose=0)
    with pytest.raises(ValueError, match="`every` must.*Received: 0"):
        Checkpoint(tmp_path, every=0)
    model.compile("adam", steps_per_execution=2)
    with pytest.raises(ValueError, match="`steps_per_execution`.*Received: 2"):
        model.fit(
            load(corpora).train, callbacks=[Checkpoint(tmp_path)], verbose=0
        )


class Batches(keras.utils.PyDataset):
    """Data of a user's own."""

    order = {"batches": 5}

    def __init__(self):
        super().__init__()
        self.start_at(0)

    def start_at(self, epoch, step=0):
        x = np.random.default_rng(epoch).random((5, 4, 3), "float32")
        self.batches = [(y, y.sum(axis=-1)) for y in x][step:]

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


@pytest.mark.slow
def test_any_keras_model(tmp_path):
    def train(stop=0):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dropout(0.5),
                keras.layers.Dense(1),
            ]
        )
        model.compile("adam", "mse")
        data = Batches()
        early = keras.callbacks.EarlyStopping("loss", patience=9)
        others = [early, Stop(stop)]
        checkpoint = Checkpoint(
            tmp_path / "c", every=2, data=data, callbacks=others
        )
        history = model.fit(
            data,
            epochs=3,
            shuffle=False,
            verbose=0,
            callbacks=[*others, checkpoint],
        )
        return history.history, values(model.variables), early.best

    whole = train()
    (tmp_path / "c").rename(tmp_path / "whole")
    for stop in (4, 4, 4):
        with pytest.raises(RuntimeError, match="stop"):
            train(stop)
    parts = train()
    assert parts[0] == whole[0] and parts[2] == whole[2]
    for x, y in zip(parts[1], whole[1], strict=True):
        np.testing.assert_array_equal(x, y)


def start(folder, *options, **kwargs):
    # Shells let background jobs ignore it, and so all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        [sys.executable, PROGRAM, "train", folder, *map(str, options)],
        env={
            **os.environ,
            "KERAS_BACKEND": keras.config.backend(),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def result(process):
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return json.loads(out.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("kind", ["text", "npz"])
def test_killed_processes_go_on(corpora, kind):
    whole = result(start(corpora / f"{kind}-whole", "--corpus", kind))
    folder = corpora / f"{kind}-killed"
    for option in ("--kill-after=7", "--kill-write=2", "--kill-after=5"):
        process = start(folder, "--corpus", kind, option)
        _, error = process.communicate(timeout=300)
        assert process.returncode == -signal.SIGKILL, error
    assert result(start(folder, "--corpus", kind)) == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.full)],
)
def test_a_signal_writes_a_checkpoint(corpora, number):
    folder = corpora / f"signal-{number}"
    options = ["--every=100000", "--epochs=100000"]
    process = start(folder, *options)
    deadline = time.monotonic() + 240
    while not find_checkpoints(folder / "checkpoints"):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (first,) = find_checkpoints(folder / "checkpoints")
    # Until all that the first epochs compile is compiled.
    log = folder / "log.csv"
    while not log.exists() or log.read_text().count("\n") < 4:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    begin = time.monotonic()
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert time.monotonic() - begin < 10
    # PyTorch runs code at the end, and Python then forgets why it ends.
    forgets = number == signal.SIGINT and keras.config.backend() == "torch"
    assert process.returncode == (1 if forgets else -number), error
    last = find_checkpoints(folder / "checkpoints")[0]
    assert last > first
