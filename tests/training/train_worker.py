"""Trains a tiny model for a few steps, as one of several processes or alone.

    python train_worker.py '{"devices": 2, "out": "weights.npz"}'

`processes`, `process` and `ports` make it one of several; the backend is that
of the environment. Writes the weights and, as JSON, the history.
"""

import contextlib
import json
import os
import sys

import keras
import numpy as np

SETTINGS = json.loads(sys.argv[1])
DEVICES = SETTINGS.get("devices", 1)
PROCESSES = SETTINGS.get("processes", 1)
PROCESS = SETTINGS.get("process", 0)
ARRAYS = SETTINGS.get("corpus") == "arrays"
WORDS = "the a king queen sees loves hates dog cat old".split()


def scope():
    backend = keras.config.backend()
    if PROCESSES == 1:
        from keras_hvae.training import many_devices

        return many_devices(DEVICES)
    addresses = [f"127.0.0.1:{port}" for port in SETTINGS["ports"]]
    if backend == "jax":
        import jax

        jax.config.update("jax_num_cpu_devices", DEVICES)
        keras.distribution.initialize(addresses[0], PROCESSES, PROCESS)
        return keras.distribution.DataParallel().scope()
    os.environ["TF_CONFIG"] = json.dumps(
        {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": PROCESS},
        }
    )
    import tensorflow as tf

    return tf.distribute.MultiWorkerMirroredStrategy().scope()


def make_corpus():
    from keras_hvae.data import load

    rng = np.random.default_rng(0)
    documents = [
        [
            " ".join(rng.choice(WORDS, rng.integers(1, 6)))
            for _ in range(rng.integers(1, 5))
        ]
        for _ in range(87)
    ]
    source = {"train": documents[:77], "valid": documents[77:]}
    # 77 documents fill no whole number of batches, nor do 10.
    corpus = load(source, batch_size=8, min_count=1)
    if SETTINGS.get("corpus") == "npz":
        path = f"{SETTINGS['out']}.corpus.npz"
        corpus.save(path)
        corpus = load(path, batch_size=8)
    batches = corpus.train, corpus.valid
    if ARRAYS:
        # Two batches, of which the last is filled up with padding.
        some = source["train"][:13], source["valid"]
        batches = map(corpus.vocabulary, some)
    return corpus.vocabulary, *batches


with scope() if PROCESSES * DEVICES > 1 else contextlib.nullcontext():
    import keras_hvae

    keras.utils.set_random_seed(1)
    vocabulary, train, valid = make_corpus()
    emission = {"dropout": 0.0, "word_dropout": 0.2}
    model = keras_hvae.HVAE(
        vocabulary,
        latent_dim=3,
        embedding_dim=6,
        hidden_dim=8,
        seed=2,
        **emission,
        **SETTINGS.get("model", {}),
    )
    rng = np.random.default_rng(3)
    # Far from where training starts, so that no gradient is small.
    model.set_weights(
        [
            w + 0.3 * rng.standard_normal(w.shape).astype("float32")
            if w.dtype == "float32" and w.ndim > 1
            else w
            for w in model.get_weights()
        ]
    )
    start = model.get_weights()
    model.compile(
        keras.optimizers.SGD(0.1, **SETTINGS.get("clip", {})), run_eagerly=False
    )
    history = model.fit(
        train,
        validation_data=valid,
        epochs=2,
        batch_size=8 if ARRAYS else None,
        steps_per_epoch=SETTINGS.get("steps", 4),
        shuffle=False,
        verbose=0,
    ).history

weights = [np.asarray(w) for w in model.get_weights()]
np.savez(SETTINGS["out"], *weights, *start)
with open(SETTINGS["out"] + ".json", "w") as file:
    json.dump({k: [float(x) for x in v] for k, v in history.items()}, file)
