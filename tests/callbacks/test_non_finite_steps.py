import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.callbacks import NonFiniteSteps
from keras_hvae.optimizers import GuardedAdam


def make_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(GuardedAdam(0.1), "mse")
    return model


def data(*bad, wrong=np.nan):
    """Eight batches of two rows."""
    x = np.random.default_rng(0).standard_normal((16, 3)).astype("float32")
    for batch in bad:
        x[2 * batch - 1, 1] = wrong
    return x, np.zeros((16, 2), "float32")


def fit(model, guard, x, y, epochs=2):
    options = {"batch_size": 2, "shuffle": False, "verbose": 0}
    return model.fit(x, y, epochs=epochs, callbacks=[guard], **options)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_leaves_the_step_out_and_says_where(capsys, wrong):
    model, guard = make_model(), NonFiniteSteps()
    history = fit(model, guard, *data(4, 6, 7, wrong=wrong)).history
    bad = [(epoch, batch) for epoch in (1, 2) for batch in (4, 6, 7)]
    assert guard.steps == bad
    out = capsys.readouterr().out
    assert [f"epoch {e}, batch {b}:" in out for e, b in bad] == [True] * 6
    assert np.isfinite(history["loss"]).all()
    for weight in model.weights:
        assert np.isfinite(ops.convert_to_numpy(weight)).all()
    # The metrics are those of the other batches.
    rest = make_model()
    x, y = data()
    loss = rest.evaluate(x[:6], y[:6], verbose=0)
    other = make_model()
    guard = NonFiniteSteps(verbose=0)
    other.optimizer.learning_rate.assign(0.0)
    seen = fit(other, guard, *data(4, 5, 7, 8), epochs=1).history["loss"][0]
    assert seen == pytest.approx(
        (3 * loss + rest.evaluate(x[10:12], y[10:12], verbose=0)) / 4, rel=1e-5
    )


def test_some_in_a_row_end_the_training():
    model = make_model()
    with pytest.raises(ValueError, match="epoch 1, batch 5, for 3 batches in"):
        fit(model, NonFiniteSteps(verbose=0), *data(1, 3, 4, 5))
    for weight in model.weights:
        assert np.isfinite(ops.convert_to_numpy(weight)).all()
    guard = NonFiniteSteps(max_in_a_row=4, verbose=0)
    fit(make_model(), guard, *data(3, 4, 5), epochs=1)
    assert len(guard.steps) == 3


def test_stops_at_the_first_one():
    guard = NonFiniteSteps("stop")
    with pytest.raises(ValueError, match="diverged.*epoch 1, batch 2$"):
        fit(make_model(), guard, *data(2))


def test_with_another_optimizer_the_first_one_ends_it():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match="diverged.*epoch 1, batch 2$"):
        fit(model, NonFiniteSteps(), *data(2))


def test_bad_arguments():
    with pytest.raises(ValueError, match="`action`.*Received: 'ignore'"):
        NonFiniteSteps("ignore")
