import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.callbacks import KLAnnealing
from keras_hvae.layers import DiagGaussianKL, GaussianHead, Sampling

pytestmark = pytest.mark.eager

EAGERLY = keras.config.backend() != "jax"


def kl_weight(model):
    return float(ops.convert_to_numpy(model.kl_weight))


class Record(keras.callbacks.Callback):
    """β as each batch was trained with it."""

    def on_train_begin(self, logs=None):
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(kl_weight(self.model))


def values(at, **kwargs):
    annealing = KLAnnealing(**kwargs)
    return [annealing.kl_weight(step) for step in at]


def test_linear():
    assert values([0, 25, 50, 100, 1000], steps=100) == [0, 0.25, 0.5, 1, 1]
    expected = pytest.approx([0.2, 0.35, 0.5, 0.5])
    assert values([0, 5, 10, 99], steps=10, start=0.2, end=0.5) == expected
    falling = values([0, 5, 10], steps=10, start=1.0, end=0.0)
    assert falling == [1.0, 0.5, 0.0]


def test_sigmoid():
    steps = np.arange(101)
    betas = np.array(values(steps, steps=100, schedule="sigmoid"))
    assert betas[0] == 0 and betas[100] == 1
    assert betas[50] == pytest.approx(0.5)
    assert (np.diff(betas) > 0).all()
    np.testing.assert_allclose(betas + betas[::-1], 1)  # symmetric
    # A logistic curve of slope 12: steep in the middle, flat at the ends.
    assert np.diff(betas).argmax() in (49, 50)
    logistic = 1 / (1 + np.exp(6 - 12 * steps / 100))
    np.testing.assert_allclose(betas, logistic, atol=3e-3)


def test_cyclical():
    # Two cycles of 10 steps: up for 5, then at the end for 5.
    cycle = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0]
    betas = values(range(24), steps=20, schedule="cyclical", cycles=2)
    assert betas == pytest.approx(cycle + cycle + [1.0] * 4)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"steps": 0}, "`steps` must be .* Received: 0"),
        ({"steps": 1.5}, "`steps` must be .* Received: 1.5"),
        ({"steps": 5, "cycles": 0}, "`cycles` must be .* Received: 0"),
        ({"steps": 5, "schedule": "no"}, "`schedule` must be .* 'no'"),
        ({"steps": 5, "start": -1}, "`start` and `end` must be .*start=-1"),
        ({"steps": 5, "end": -0.5}, "`start` and `end` must be .*end=-0.5"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        KLAnnealing(**arguments)


@pytest.mark.slow
def test_follows_the_optimizers_steps_and_resumes(
    make_hvae, make_ids, tmp_path
):
    ids, annealing, record = make_ids(6), KLAnnealing(8, end=0.8), Record()
    expected = values(range(9), steps=8, end=0.8)
    model = make_hvae()
    model.compile("adam", run_eagerly=EAGERLY)
    callbacks = [annealing, record]
    options = {"batch_size": 2, "verbose": 0, "callbacks": callbacks}
    history = model.fit(ids, **options).history
    assert record.weights == pytest.approx(expected[:3])
    # What is reported is what was trained with.
    assert history["kl_weight"] == pytest.approx([expected[2]])
    history = model.fit(ids[:4], **options).history  # not from the start
    assert record.weights == pytest.approx(expected[3:5])

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert kl_weight(loaded) == pytest.approx(expected[4])
    loaded.compile(loaded.optimizer, run_eagerly=EAGERLY)
    options["callbacks"] = [KLAnnealing(8, end=0.8), record]
    loaded.fit(ids, **options)
    assert record.weights == pytest.approx(expected[5:8])


@pytest.mark.slow
@pytest.mark.eager(False)
def test_training_uses_the_new_weight(make_hvae, make_ids):
    # In compiled code as well: β is a variable, not a constant in a graph.
    model = make_hvae(kl_weight=1.0)
    model.compile("sgd", jit_compile=not EAGERLY)
    losses = {}

    class Losses(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs):
            losses[batch] = logs

    annealing = KLAnnealing(1, start=0.0, end=0.5)  # β = 0, then β = 0.5
    ids = np.concatenate([make_ids(2), make_ids(2)])
    model.fit(
        ids,
        batch_size=2,
        shuffle=False,
        verbose=0,
        callbacks=[annealing, Losses()],
    )
    first, both = losses[0], losses[1]
    assert first["loss"] == pytest.approx(first["nll"], rel=1e-5)
    # The logs are running means over equal batches.
    second = {k: 2 * both[k] - first[k] for k in ("loss", "nll", "kl")}
    assert second["kl"] > 0.1
    assert second["loss"] == pytest.approx(
        second["nll"] + 0.5 * second["kl"], rel=1e-4
    )


@keras.saving.register_keras_serializable("test_kl_annealing")
class Block(keras.layers.Layer):
    """A user's layer with one of ours inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.head = GaussianHead(2)
        self.divergence = DiagGaussianKL()
        self.sampling = Sampling(seed=0)

    def call(self, x, training=False):
        mean, log_var = self.head(x)
        self.divergence(mean, log_var, training=training)
        return self.sampling(mean, log_var)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("steps", [8, 7])
def test_counts_batches_where_gradients_are_accumulated(steps, scaled):
    optimizer = keras.optimizers.Adam(gradient_accumulation_steps=4)
    if scaled:  # as Keras does it in half precision
        optimizer = keras.optimizers.LossScaleOptimizer(
            optimizer, initial_scale=1.0
        )
    block, betas = Block(), []
    model = keras.Sequential([keras.Input((3,)), block])
    model.compile(optimizer, "mse", run_eagerly=EAGERLY)

    def record(batch, logs):
        if hasattr(model, "jax_state_sync"):
            model.jax_state_sync()
        betas.append(float(ops.convert_to_numpy(block.divergence.kl_weight)))

    record = keras.callbacks.LambdaCallback(on_train_batch_end=record)
    x = np.ones((24, 3), "float32")
    callbacks = [KLAnnealing(steps), record]
    model.fit(x, x[:, :2], batch_size=2, verbose=0, callbacks=callbacks)
    # β changes with the weights, and is 1 from the update behind the last
    # step on.
    expected = [0.0] * 4 + [4 / steps] * 4 + [1.0] * 4
    assert betas == pytest.approx(expected)


@pytest.mark.parametrize("subclass", [False, True])
def test_finds_the_kl_of_any_model(subclass):
    blocks = [Block(), Block()]
    inner = keras.Sequential([keras.Input((3,)), blocks[1]])

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.parts = [blocks[0], keras.layers.Dense(3), inner]

        def call(self, x, training=False):
            for part in self.parts:
                x = part(x, training=training)
            return x

    model = Own()
    if not subclass:
        x = keras.Input((3,))
        y = inner(keras.layers.Dense(3)(blocks[0](x)))
        model = keras.Model(x, y)
    model.compile("sgd", "mse", run_eagerly=EAGERLY)
    x = np.ones((8, 3), "float32")
    callbacks = [KLAnnealing(4, end=0.5)]
    model.fit(x, x[:, :2], batch_size=2, verbose=0, callbacks=callbacks)
    for block in blocks:
        weight = ops.convert_to_numpy(block.divergence.kl_weight)
        assert weight == pytest.approx(0.375)


def test_a_model_without_latents():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=EAGERLY)
    x = np.ones((2, 3), "float32")
    with pytest.raises(ValueError, match="DiagGaussianKL.*Received: Seq"):
        model.fit(x, x[:, :1], verbose=0, callbacks=[KLAnnealing(4)])
