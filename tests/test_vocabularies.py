import numpy as np
import pytest

from keras_hvae import GRULM, evaluation
from keras_hvae.data import load
from keras_hvae.text import Preprocessor
from keras_hvae.vocabularies import check_vocabulary

pytestmark = pytest.mark.eager

DOCUMENTS = [["the king is here", "who is"], ["so he is"], ["a king so"]]
OTHERS = [["who ate the rest", "he did"], ["no one"], ["she and he"]]


@pytest.fixture
def corpus():
    return load(DOCUMENTS, batch_size=2)


@pytest.fixture(params=["memory", "npz", "folder"])
def other(request, tmp_path):
    other = load(OTHERS, batch_size=2)
    if request.param == "memory":
        return other
    path = tmp_path / ("x.npz" if request.param == "npz" else "x")
    other.save(path)
    return load(path, batch_size=2)


def small_model(vocabulary):
    model = GRULM(vocabulary, embedding_dim=2, hidden_dim=3)
    model.compile("adam", run_eagerly=True)
    return model


MESSAGE = (
    "the dataset must have the model's vocabulary.*vocabulary=model.preprocess"
    "or.*Received: [0-9]+ ids, where the model has"
)


def test_fit_and_evaluate_refuse_another_vocabulary(corpus, other):
    model = small_model(corpus.vocabulary)
    quiet = {"verbose": 0, "shuffle": False}
    with pytest.raises(ValueError, match=MESSAGE):
        model.fit(other.train, **quiet)
    with pytest.raises(ValueError, match=MESSAGE):
        model.fit(corpus.train, validation_data=other.valid, **quiet)
    with pytest.raises(ValueError, match=MESSAGE):
        model.evaluate(other.test, verbose=0)
    with pytest.raises(ValueError, match=MESSAGE):
        evaluation.evaluate(model, other.test, verbose=0)
    with pytest.raises(ValueError, match=MESSAGE):
        evaluation.evaluate(model, corpus.test, train=other.train, verbose=0)
    assert int(model.optimizer.iterations) == 0


def test_what_the_message_says_to_do_works(corpus):
    model = small_model(corpus.vocabulary)
    other = load(OTHERS, batch_size=2, vocabulary=model.preprocessor)
    model.fit(
        other.train, validation_data=other.valid, verbose=0, shuffle=False
    )
    model.evaluate(other.test, verbose=0)


def test_what_is_made_of_a_dataset_is_known(corpus):
    model = small_model(corpus.vocabulary)
    other = load(OTHERS, batch_size=2).train
    for dataset in (other.repeat(), other.take(1).map(lambda x: x).skip(0)):
        with pytest.raises(ValueError, match=MESSAGE):
            model.fit(dataset, steps_per_epoch=1, verbose=0, shuffle=False)


def test_only_what_decides_on_ids_counts():
    class Model:
        preprocessor = Preprocessor(["a", "b"], max_words=3)
        vocabulary_size = 6

    def check(*args, **kwargs):
        dataset = load([["a"]], vocabulary=Preprocessor(*args, **kwargs)).train
        check_vocabulary(Model, dataset)

    check(["a", "b"], max_words=7)
    with pytest.raises(ValueError, match="'b' with the id 4, which is 'a'"):
        check(["b", "a"])
    with pytest.raises(ValueError, match="split into them otherwise"):
        check(["a", "b"], lowercase=False)
    with pytest.raises(ValueError, match="Received: 5 ids, where .* has 6"):
        check(["a"])
    Model.preprocessor = None
    check(["b", "a"])
    with pytest.raises(ValueError, match="less than 6.*corpus with 7 ids"):
        check(["a", "b", "c"])


def test_arrays_and_lists_have_no_vocabulary(corpus):
    model = small_model(corpus.vocabulary)
    ids = np.concatenate([batch.numpy() for batch in corpus.valid])
    check_vocabulary(model, ids, list(corpus.train), None, iter([ids]))
