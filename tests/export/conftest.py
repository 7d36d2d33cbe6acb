"""An exported model for all tests of what it answers."""

import keras
import pytest

from keras_hvae.export import export_savedmodel

WORDS = "the a cat dog sees hears good morrow now how ? . , king".split()
CAPS = {
    "num_sentences": 3,
    "write_words": 6,
    "max_documents": 16,
    "max_sentences": 5,
    "max_words": 7,
}


@pytest.fixture(scope="session")
def model(make_hvae):
    return make_hvae(WORDS, scale=0.7)


@pytest.fixture(scope="session")
def exported(model, tmp_path_factory):
    """The folder of the first version."""
    folder = tmp_path_factory.mktemp("saved_models") / "tiny"
    return export_savedmodel(model, folder, **CAPS)


@pytest.fixture(scope="session")
def loaded(exported):
    import tensorflow as tf

    return tf.saved_model.load(str(exported))


@pytest.fixture
def optimised():
    """Graphs are optimised, as in another process: results are the same."""
    import tensorflow as tf

    option = "disable_meta_optimizer"
    tf.config.optimizer.set_experimental_options({option: False})
    yield
    tf.config.optimizer.set_experimental_options({option: True})


@pytest.fixture(scope="session")
def ask(loaded):
    """Calls a signature; arrays by name."""
    import tensorflow as tf

    dtypes = {"seed": "int32", "state": "int32"}

    def ask(name, **inputs):
        tensors = {}
        for key, x in inputs.items():
            text = key in ("document", "a", "b", "sentences")
            dtype = "string" if text else dtypes.get(key, "float32")
            tensors[key] = tf.constant(x, dtype)
        return {
            k: x.numpy() for k, x in loaded.signatures[name](**tensors).items()
        }

    return ask


def pytest_collection_modifyitems(items):
    """SavedModels are TensorFlow's."""
    if keras.config.backend() != "tensorflow":
        skip = pytest.mark.skip(reason="needs the TensorFlow backend")
        for item in items:
            if "tests/export" in str(item.path):
                item.add_marker(skip)
