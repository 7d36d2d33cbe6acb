"""What Keras leaves to this package under TensorFlow's strategies."""

import json
import os
import subprocess
import sys

import pytest

from tests.training.test_many_devices import free_ports

CPUS = """
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
"""

STOCK_FIT = """
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
import keras, numpy as np
with strategy.scope():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
data = tf.data.Dataset.from_tensor_slices((np.ones((8, 2)), np.ones((8, 1))))
model.fit(data.batch(4, drop_remainder=True), verbose=0)
print("it works")
"""

STOCK_CLIPPING = (
    CPUS
    + """
import keras, numpy as np
with strategy.scope():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0, clipnorm=0.1), "mse")
x = np.array([[1.0, 0.0], [0.0, 1.0]], "float32")
before = model.get_weights()[0]
model.fit(
    tf.data.Dataset.from_tensor_slices((x, np.array([[9.0], [1.0]], "float32")))
    .batch(2),
    verbose=0,
)
print("moved", np.linalg.norm(model.get_weights()[0] - before))
"""
)

NOISE = (
    CPUS
    + """
import json, keras, numpy as np
from keras_hvae.data import replicas
from keras_hvae.layers.text.dropout import ReplicaDropout
with strategy.scope():
    dropout = ReplicaDropout(0.5, seed=1)
    stock = keras.layers.Dropout(0.5, seed=1)
    seeds = keras.random.SeedGenerator(2)

@tf.function
def run():
    return strategy.run(step)

def step():
    x = tf.ones((1, 64))
    normal = replicas.draw(keras.random.normal, (3, 2), seed=seeds)
    return dropout(x, training=True), stock(x, training=True), normal

ours, theirs, normal = (
    np.stack([x.numpy() for x in strategy.experimental_local_results(y)])
    for y in run()
)
alone = keras.random.normal((6, 2), seed=keras.random.SeedGenerator(2))
print(json.dumps({
    "ours": float((ours[0] == ours[1]).mean()),
    "stock": float((theirs[0] == theirs[1]).mean()),
    "first": bool((ours[0] == theirs[0]).all()),
    "normal": float(np.abs(normal.reshape(6, 2) - alone.numpy()).max()),
}))
"""
)


def start(code, **env):
    env = {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **env,
    }
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(code):
    process = start(code)
    out, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors[-3000:]
    return out


@pytest.mark.slow
def test_stock_fit_still_fails_with_several_workers():
    # If this fails, Keras has repaired its `fit`: `DistributedTraining` needs
    # neither `compute_metrics` nor `_maybe_symbolic_build` for it any more.
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = [
        start(
            STOCK_FIT,
            TF_CONFIG=json.dumps(
                {
                    "cluster": {"worker": workers},
                    "task": {"type": "worker", "index": index},
                }
            ),
        )
        for index in range(2)
    ]
    try:
        for process in processes:
            out, errors = process.communicate(timeout=200)
            assert "it works" not in out
            assert "PerReplica" in errors, errors[-3000:]
    finally:
        for process in processes:
            process.kill()


@pytest.mark.slow
def test_stock_optimizers_still_clip_the_gradient_of_each_replica():
    # If this fails, `clip_the_sum` is not needed any more: the sum of two
    # gradients, each clipped to 0.1, would then be clipped to 0.1.
    moved = float(run(STOCK_CLIPPING).split()[-1])
    assert moved > 0.12


@pytest.mark.slow
def test_replicas_have_noise_of_their_own():
    found = json.loads(run(NOISE).splitlines()[-1])
    assert found["stock"] == 1.0  # what is repaired here
    assert 0.2 < found["ours"] < 0.8
    assert found["first"]
    assert found["normal"] == 0.0
