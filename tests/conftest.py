"""What all tests share: seeds, tiny documents, a tiny model."""

import gc
import os

os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import numpy as np
import pytest

from keras_hvae import GRULM, HRED, HVAE
from keras_hvae.ids import EOS_ID, SPECIAL_TOKENS

if keras.config.backend() == "torch":
    import torch

    # Threads cost more than they bring at these sizes: 50 times, on 2 cores.
    torch.set_num_threads(1)


if keras.config.backend() == "tensorflow":
    import tensorflow as tf
    from tensorflow.python.framework.ops import gradient_registry

    # To optimise a graph takes longer than a tiny model then runs. Programs
    # that tests start, examples and servers, optimise theirs.
    tf.config.optimizer.set_experimental_options(
        {"disable_meta_optimizer": True}
    )


def pytest_addoption(parser):
    parser.addoption("--data", help="folder of the benchmarks' corpora")


def pytest_configure(config):
    if keras.config.backend() == "jax" and hasattr(config, "cache"):
        import jax

        # Nearly all of the time goes into compiling tiny programs, the same
        # ones in many tests and in the next run.
        jax.config.update(
            "jax_compilation_cache_dir", str(config.cache.mkdir("jax"))
        )
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_collection_finish():
    # What is imported stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()


VOCABULARY_SIZE = 20


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def eager(request):
    """Runs functions of TensorFlow as they come in tests marked `eager`.

    To trace a graph of a tiny model takes many times as long as to run it.
    What is not marked, or marked `eager(False)`, runs in graphs, as it does
    for users.
    """
    marker = request.node.get_closest_marker("eager")
    tensorflow = keras.config.backend() == "tensorflow"
    if not tensorflow or marker is None or marker.args == (False,):
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(autouse=True)
def forget_gradients():
    """Lets go of the graphs of the test before: 70 MiB or more a model.

    TensorFlow registers each custom gradient in a graph under a name of its
    own, for good, and with it the graph.
    """
    if keras.config.backend() == "tensorflow":
        names = gradient_registry.list()
        for name in [x for x in names if x.startswith("CustomGradient-")]:
            del gradient_registry._registry[name]


@pytest.fixture(autouse=True, scope="module")
def forget_names():
    """Layer names start anew in each module, whatever ran before."""
    keras.utils.clear_session(free_memory=False)


@pytest.fixture
def mixed_float16():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def make_ids():
    """Makes documents of different lengths, as ids `(B, n, m)`.

    Each sentence ends with `[EOS]`, then padding; each document ends with
    sentences of padding. The first document and its first sentence are as
    long as can be; the last document has one sentence, of `[EOS]` only.
    """

    def make(documents=3, sentences=4, words=5, vocabulary=None, seed=0):
        rng = np.random.default_rng(seed)
        vocabulary = vocabulary or VOCABULARY_SIZE
        ids = np.zeros((documents, sentences, words), "int32")
        for i in range(documents):
            count = sentences if i == 0 else rng.integers(1, sentences + 1)
            for j in range(1 if i == documents - 1 > 0 else count):
                length = words - 1 if i == j == 0 else rng.integers(0, words)
                if i == documents - 1 > 0:
                    length = 0
                ids[i, j, :length] = rng.integers(
                    len(SPECIAL_TOKENS), vocabulary, length
                )
                ids[i, j, length] = EOS_ID
        return ids

    return make


@pytest.fixture(scope="session")
def make_model():
    """Makes a tiny model whose weights, biases too, are all at random.

    Scale 1 is far from the initial weights: biases of size 1, recurrent
    states that saturate now and then. Freshly initialised biases are zero,
    and would hide what happens to them.
    """

    def make(cls, vocabulary=VOCABULARY_SIZE, scale=0.5, seed=0, **kwargs):
        keras.utils.set_random_seed(seed)
        sizes = {"embedding_dim": 4, "hidden_dim": 6, "dropout": 0.0}
        if cls not in (GRULM, HRED):
            sizes["latent_dim"] = 2
        model = cls(vocabulary, **{**sizes, **kwargs})
        if scale:
            rng = np.random.default_rng(seed)
            for weight in model.trainable_weights:
                weight.assign(scale * rng.standard_normal(weight.shape))
        return model

    return make


@pytest.fixture(scope="session")
def make_hvae(make_model):
    """`make_model` for an `HVAE` without free bits and word dropout."""

    def make(vocabulary=VOCABULARY_SIZE, scale=0.5, seed=0, **kwargs):
        plain = {"free_bits": 0.0, "word_dropout": 0.0}
        return make_model(HVAE, vocabulary, scale, seed, **{**plain, **kwargs})

    return make


@pytest.fixture(scope="session")
def gru_step():
    """One step of Keras' GRU (`reset_after=True`) in numpy, as an oracle."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def step(x, state, cell):
        kernel, recurrent, bias = (
            keras.ops.convert_to_numpy(w) for w in cell.weights
        )
        x = np.split(x @ kernel + bias[0], 3, axis=-1)
        h = np.split(state @ recurrent + bias[1], 3, axis=-1)
        update, reset = sigmoid(x[0] + h[0]), sigmoid(x[1] + h[1])
        return update * state + (1 - update) * np.tanh(x[2] + reset * h[2])

    return step


@pytest.fixture(scope="session")
def value_and_gradients():
    """`f(*arrays)`, a scalar, and its gradients, compiled, on any backend."""

    def on_tensorflow(f, arrays):
        import tensorflow as tf

        @tf.function
        def run(*tensors):
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                value = f(*tensors)
            gradients = tape.gradient(value, tensors)
            # Those of `take` are slices.
            return value, [tf.convert_to_tensor(x) for x in gradients]

        return run(*map(tf.constant, arrays))

    def on_jax(f, arrays):
        import jax

        arguments = tuple(range(len(arrays)))
        return jax.jit(jax.value_and_grad(f, arguments))(*arrays)

    def on_torch(f, arrays):
        tensors = [torch.tensor(x, requires_grad=True) for x in arrays]
        value = f(*tensors)
        value.backward()
        return value.detach(), [x.grad for x in tensors]

    runners = {"tensorflow": on_tensorflow, "jax": on_jax, "torch": on_torch}

    def run(f, *arrays):
        arrays = [np.asarray(x, "float32") for x in arrays]
        value, gradients = runners[keras.config.backend()](f, arrays)
        return float(value), [np.asarray(x) for x in gradients]

    return run
