"""Long runs: memory and traces stay bounded.

`STEPS` and `REQUESTS` in the environment make them shorter or longer; the full
counts are 2000 and 16000.
"""

import gc
import os
import pathlib

import keras
import numpy as np
import pytest

from keras_hvae import HVAE
from keras_hvae.data.arrays import Documents
from keras_hvae.data.buckets import Buckets
from keras_hvae.data.id_batches import IdBatches
from keras_hvae.ids import EOS_ID

tf = pytest.importorskip("tensorflow")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.config.backend() != "tensorflow"
        or not pathlib.Path("/proc/self/statm").exists(),
        reason="counts TensorFlow's traces and the memory of Linux",
    ),
]
STEPS = int(os.environ.get("STEPS", 500))
REQUESTS = int(os.environ.get("REQUESTS", 2000))
VOCABULARY = 40


def memory():
    """Resident memory of the process, bytes."""
    gc.collect()
    pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def random_documents(rng, count):
    """Documents of any size, as flat arrays."""
    sentences = rng.integers(1, 9, count)
    words = rng.integers(1, 25, sentences.sum())
    ids = rng.integers(4, VOCABULARY, words.sum()).astype("int32")
    ids[np.cumsum(words) - 1] = EOS_ID
    return Documents(ids, words, sentences)


class CountedHVAE(HVAE):
    """Python runs in a step only while TensorFlow traces it."""

    traces = 0

    def compute_loss(self, *args, **kwargs):
        self.traces += 1
        return super().compute_loss(*args, **kwargs)


class Memory(keras.callbacks.Callback):
    """The memory after every 100 steps."""

    def __init__(self):
        super().__init__()
        self.steps, self.found = 0, {}

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self.steps % 100 == 0:
            self.found[self.steps] = memory()


def test_training_steps_of_any_shape():
    documents = random_documents(np.random.default_rng(0), 4 * STEPS // 5)
    buckets = Buckets(documents.shapes(), batch_size=4)
    batches = IdBatches(documents, buckets, shuffle=True, seed=0)
    model = CountedHVAE(VOCABULARY, 2, embedding_dim=4, hidden_dim=6)
    model.compile(keras.optimizers.Adam(1e-3))
    told = Memory()
    epochs = -(-STEPS // len(batches))
    model.fit(batches, epochs=epochs, verbose=0, callbacks=[told])
    assert told.steps >= STEPS
    start = told.found[max(100, STEPS // 4 // 100 * 100)]
    growth = max(told.found.values()) / start - 1
    print(f"{told.steps} steps, {start >> 20} MiB, {growth:+.2%}")
    assert growth <= 0.02
    print(f"{model.traces} traces")
    assert model.traces <= len(buckets.bounds[0]) * len(buckets.bounds[1])


def test_requests_of_any_shape(make_hvae, tmp_path):
    from keras_hvae.export import export_savedmodel
    from tests.hostile import WORDS

    path = export_savedmodel(
        make_hvae(WORDS),
        tmp_path / "m",
        signatures=["reply", "encode"],
        write_words=6,
    )
    loaded = tf.saved_model.load(str(path))
    rng = np.random.default_rng(0)

    def text():
        lines = [
            " ".join(rng.choice(WORDS, rng.integers(0, 12)))
            for _ in range(rng.integers(0, 6))
        ]
        return "\n".join(lines)

    start = None
    for i in range(REQUESTS):
        rows = int(rng.integers(1, 5))
        document = tf.constant([text() for _ in range(rows)])
        if i % 2:
            loaded.signatures["encode"](document=document)
        else:
            loaded.signatures["reply"](
                document=document,
                seed=tf.constant(rng.integers(0, 99, rows), tf.int32),
                temperature=tf.ones(rows),
                top_p=tf.ones(rows),
            )
        if i == REQUESTS // 10:
            start = memory()
    growth = memory() / start - 1
    print(f"{REQUESTS} requests, {start >> 20} MiB, {growth:+.2%}")
    assert growth <= 0.01
