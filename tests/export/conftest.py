"""An exported model for all tests of what it answers."""

import keras
import pytest

import keras_hvae
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


@pytest.fixture(scope="session", params=["smoothing", "filtering"])
def served(request, make_hvae):
    """A model, and a function that calls one of its signatures.

    Of the first one those of its SavedModel; of the second one what would be
    traced, for an export takes its time.
    """
    import tensorflow as tf

    from keras_hvae.export.graph_reader import GraphReader
    from keras_hvae.export.signatures import Signatures

    if request.param == "smoothing":
        names = "model", "ask"
        return tuple(request.getfixturevalue(name) for name in names)
    model = make_hvae(WORDS, scale=0.7, inference=request.param)
    caps = dict(CAPS)
    sizes = [caps.pop("num_sentences"), caps.pop("write_words")]
    words = keras_hvae.text.Preprocessor(WORDS, max_words=caps["max_words"])
    signatures = Signatures(model, GraphReader(words, **caps), *sizes, 1)
    return model, lambda name, **inputs: {
        key: x.numpy()
        for key, x in getattr(signatures, name)(**tensors(inputs, tf)).items()
    }


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

    return lambda name, **inputs: {
        key: x.numpy()
        for key, x in loaded.signatures[name](**tensors(inputs, tf)).items()
    }


def tensors(inputs, tf):
    dtypes = {"seed": "int32", "state": "int32"}
    dtypes |= dict.fromkeys(("document", "a", "b", "sentences"), "string")
    return {
        key: tf.constant(x, dtypes.get(key, "float32"))
        for key, x in inputs.items()
    }


def pytest_collection_modifyitems(items):
    """SavedModels are TensorFlow's."""
    if keras.config.backend() != "tensorflow":
        skip = pytest.mark.skip(reason="needs the TensorFlow backend")
        for item in items:
            if "tests/export" in str(item.path):
                item.add_marker(skip)
