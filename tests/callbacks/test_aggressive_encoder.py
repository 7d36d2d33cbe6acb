import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.callbacks import AggressiveEncoder
from keras_hvae.evaluation.estimators.mutual_information import mi_full
from keras_hvae.optimizers import AggressiveAdam

to_numpy = ops.convert_to_numpy
EAGERLY = keras.config.backend() != "jax"
pytestmark = pytest.mark.eager


class Record(keras.callbacks.Callback):
    """What each step moved: (encoder, decoder)."""

    def on_train_begin(self, logs=None):
        self.moved, self.before = [], self.weights()

    def on_train_batch_end(self, batch, logs=None):
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        now = self.weights()
        self.moved.append(
            tuple((x != y).any() for x, y in zip(self.before, now))
        )
        self.before = now

    def weights(self):
        model = self.model
        of_encoder = model.emission.word_encoder, model.latent_chain.f_z
        of_decoder = model.emission.word_decoder, model.emission.token_nll
        return [
            np.concatenate(
                [to_numpy(w).ravel() for x in part for w in x.weights]
            )
            for part in (of_encoder, of_decoder)
        ]

    @property
    def decoder_moved(self):
        assert all(encoder for encoder, _ in self.moved)
        return [decoder for _, decoder in self.moved]


@pytest.fixture
def compiled(make_hvae):
    def make(eagerly=EAGERLY, **kwargs):
        model = make_hvae(**kwargs)
        model.compile(AggressiveAdam(0.01), run_eagerly=eagerly)
        return model

    return make


def fit(model, ids, *callbacks, **kwargs):
    options = {"batch_size": 1, "shuffle": False, "verbose": 0}
    return model.fit(ids, callbacks=callbacks, **options, **kwargs).history


# In a compiled graph as well: the gate is a variable, not a constant.
@pytest.mark.slow
@pytest.mark.eager(False)
@pytest.mark.parametrize("eagerly", [EAGERLY, False])
def test_every_third_step_is_the_decoders(compiled, make_ids, eagerly):
    if keras.config.backend() == "torch" and not eagerly:
        pytest.skip("PyTorch does not compile")
    model, record = compiled(eagerly), Record()
    aggressive = AggressiveEncoder(lambda model: 0.0, max_inner=2)
    fit(model, make_ids(7), aggressive, record)
    assert record.decoder_moved == [False, False, True] * 2 + [False]
    assert float(to_numpy(model.optimizer.decoder_gate)) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    # Loss a token of the blocks of two batches; steps until the decoder's.
    "losses, steps",
    [((3.0, 2.0, 2.5), 7), ((3.0, 3.0), 5), ((3.0, 2.0, 1.0, 0.5), 9)],
)
def test_a_loop_ends_when_the_loss_no_longer_falls(
    compiled, make_ids, monkeypatch, losses, steps
):
    totals = [y for loss in losses for y in ((7.0, 4.0), (7 + 5 * loss, 9.0))]
    totals = iter(totals + [(0.0, 0.0)] * 10)
    aggressive = AggressiveEncoder(
        lambda model: 0.0, check_every=2, max_inner=8
    )
    monkeypatch.setattr(aggressive, "_totals", lambda: next(totals))
    record = Record()
    fit(compiled(), make_ids(steps), aggressive, record)
    assert record.decoder_moved == [False] * (steps - 1) + [True]


@pytest.mark.slow
def test_totals_are_the_epochs_loss_and_tokens(compiled, make_ids):
    aggressive, totals = AggressiveEncoder(lambda model: 0.0), []

    class Totals(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            totals.append((logs["loss"], *aggressive._totals()))

    ids = make_ids(3)
    fit(compiled(), ids, aggressive, Totals())
    tokens = np.cumsum((ids != 0).sum(axis=(1, 2)))
    for i, (mean, loss, count) in enumerate(totals):
        assert loss == pytest.approx((i + 1) * mean, rel=1e-5)
        assert count == tokens[i]


@pytest.mark.slow
def test_ends_when_the_information_no_longer_rises(compiled, make_ids):
    figures = iter([-1.0, 2.0, 2.0])
    aggressive = AggressiveEncoder(lambda model: next(figures), max_inner=1)
    record = Record()
    history = fit(compiled(), make_ids(2), aggressive, record, epochs=5)
    assert record.decoder_moved == [False, True] * 3 + [True, True] * 2
    assert history["mutual_information"] == [-1.0, 2.0, 2.0]
    assert not aggressive.aggressive


@pytest.mark.slow
def test_measures_mutual_information_of_real_sentences(compiled, make_ids):
    model, ids = compiled(), make_ids(4)
    padded = np.concatenate([ids[2:], np.zeros_like(ids[:1])])
    aggressive = AggressiveEncoder([ids[:2], padded], seed=3)
    history = fit(model, ids, aggressive)
    path = model.encode(ids)
    mean, log_var = path["mean"][path["mask"]], path["log_var"][path["mask"]]
    noise = np.random.default_rng(3).standard_normal(mean.shape)
    expected = mi_full(mean, log_var, mean + np.exp(log_var / 2) * noise)
    assert history["mutual_information"] == [pytest.approx(expected, rel=1e-4)]


def test_needs_its_optimizer(make_hvae, make_ids):
    model = make_hvae()
    model.compile("adam")
    with pytest.raises(ValueError, match="`optimizer` must be .* adam"):
        fit(model, make_ids(), AggressiveEncoder([make_ids()]))


@pytest.mark.parametrize("name", ["check_every", "max_inner"])
def test_bad_arguments(name):
    with pytest.raises(ValueError, match=f"`{name}` must be .* Received: 0"):
        AggressiveEncoder([], **{name: 0})


@pytest.mark.slow
def test_mixed_precision(compiled, make_ids, mixed_float16):
    model, record = compiled(scale=0.1), Record()
    assert type(model.optimizer).__name__ == "LossScaleOptimizer"
    aggressive = AggressiveEncoder(lambda model: 0.0, max_inner=1)
    # Overflows at the first scales may skip steps.
    fit(model, make_ids(8), aggressive, record, epochs=2)
    decoder = [moved for _, moved in record.moved]
    assert not any(decoder[::2]) and decoder[-1]
