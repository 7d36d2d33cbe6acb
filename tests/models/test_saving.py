import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae import HVAE
from tests.harness import slow

to_numpy = ops.convert_to_numpy
EAGERLY = keras.config.backend() != "jax"  # quicker, for two steps
WORDS = ["yes", "no", "king", ".", "?"]


def assert_same_weights(model, other):
    names = [w.path for w in model.weights]
    assert names == [w.path for w in other.weights]
    for x, y in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(x, y)


@pytest.mark.eager
@pytest.mark.parametrize("vocabulary", [*slow(20), WORDS], ids=["ids", "words"])
def test_keras_file_keeps_all(make_hvae, make_ids, tmp_path, vocabulary):
    ids = make_ids(vocabulary=9)
    model = make_hvae(
        vocabulary, initial_prior="empirical", transition="gated", seed=3
    )
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=EAGERLY)
    model.fit(ids, verbose=0)
    model.fit_initial_prior([ids])
    model.kl_weight.assign(0.25)
    scores = model.score(ids, seed=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    assert type(loaded) is HVAE and loaded.get_config() == model.get_config()
    assert_same_weights(model, loaded)
    assert float(to_numpy(loaded.kl_weight)) == 0.25
    assert to_numpy(loaded.latent_chain.initial_mean).any()
    # Compiled, with the optimizer's slots: training goes on where it was.
    assert type(loaded.optimizer) is type(model.optimizer)
    assert int(to_numpy(loaded.optimizer.iterations)) == 1
    for x, y in zip(model.optimizer.variables, loaded.optimizer.variables):
        np.testing.assert_array_equal(to_numpy(x), to_numpy(y))
    for key, x in loaded.score(ids, seed=1).items():
        np.testing.assert_array_equal(x, scores[key])
    if vocabulary is WORDS:
        assert list(loaded.preprocessor) == list(model.preprocessor)
        options = {"num_sentences": 2, "max_words": 4, "seed": 1}
        assert model.generate(**options) == loaded.generate(**options)
    else:
        assert loaded.preprocessor is None
    # The next step is the same step, given the same draws: Keras saves the
    # weights and what seeds started from, not where the seeds have got to.
    for x, y in zip(
        model.non_trainable_variables, loaded.non_trainable_variables
    ):
        y.assign(np.array(to_numpy(x)))  # not the same buffer: JAX donates
    expected, loss = (
        m.fit(ids, shuffle=False, verbose=0).history["loss"]
        for m in (model, loaded)
    )
    assert loss == pytest.approx(expected, rel=1e-6)


def test_weights_file_goes_into_another_model(make_hvae, make_ids, tmp_path):
    model, other = make_hvae(seed=1), make_hvae(seed=2)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    assert_same_weights(model, other)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated_file_is_refused(make_hvae, tmp_path, part):
    path = tmp_path / "model.keras"
    make_hvae().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(Exception, match="."):
        keras.models.load_model(path)


# Keras warns of, then raises for, what does not fit.
@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.parametrize(
    ("saved", "loading"),
    [
        ({"latent_dim": 3}, {}),
        ({"hidden_dim": 5}, {}),
        ({"transition": "sum"}, {}),
        ({}, {"prior": "learned"}),
    ],
    ids=str,
)
def test_weights_of_another_architecture_are_refused(
    make_hvae, tmp_path, saved, loading
):
    make_hvae(**saved).save_weights(tmp_path / "other.weights.h5")
    model = make_hvae(**loading)
    # What did fit has been loaded by then: Keras does not look first.
    with pytest.raises(ValueError, match="could not be loaded"):
        model.load_weights(tmp_path / "other.weights.h5")
