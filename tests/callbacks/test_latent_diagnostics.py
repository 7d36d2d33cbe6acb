import keras
import numpy as np
import pytest

from keras_hvae import GRULM, HVAE
from keras_hvae.callbacks import KLAnnealing, LatentDiagnostics
from keras_hvae.evaluation import advise, evaluate

pytestmark = pytest.mark.eager


@pytest.mark.slow
def test_the_logs_have_what_evaluate_says(make_hvae, make_ids, capsys):
    model, ids = make_hvae(), make_ids(documents=12)
    model.compile("sgd")
    valid = [ids[:6], ids[6:]]
    diagnostics = LatentDiagnostics(valid, seed=5)
    history = model.fit(
        ids, epochs=2, verbose=0, callbacks=[diagnostics]
    ).history
    # The weights that the second epoch ended with.
    figures = evaluate(model, valid, seed=5, verbose=0)
    assert diagnostics.figures == figures
    for key in (
        "information",
        "mismatch",
        "mi_full",
        "z_ablation",
        "z_ablation_length_matched",
        "length_r2",
        "effective_rank",
        "active_units",
    ):
        assert len(history[key]) == 2
        assert history[key][1] == figures[key]
    assert "mi_batch32" not in history  # fewer sentences
    assert history["kl_first"][1] == figures["kl_by_position"][0]
    assert history["kl_last"][1] == figures["kl_by_position"][-1]
    assert diagnostics.advice[1] == advise(figures)
    said = capsys.readouterr().out
    assert said.count("KL by position") == 2
    assert f"information {figures['information']:.4g}, mismatch" in said
    assert advise(figures) in said


def test_says_so_when_all_is_dead(make_hvae, make_ids, capsys):
    model, ids = make_hvae(), make_ids(documents=4)
    # A posterior and a prior that are both N(0, I).
    for weight in model.latent_chain.head.weights:
        weight.assign(np.zeros(weight.shape))
    model.compile("sgd")
    model.optimizer.learning_rate = 0.0
    diagnostics = LatentDiagnostics([ids], max_batches=1)
    model.fit(ids, verbose=0, callbacks=[diagnostics])
    assert "collapsed" in diagnostics.advice[0]
    assert "collapsed" in capsys.readouterr().out


def train_on_few_sentences(number, callbacks=(), **options):
    """Documents that are one of so many sentences: log number nats in all."""
    rng = np.random.default_rng(0)
    some = rng.integers(4, 40, (number, 1, 4), "int32")
    some[..., -1] = 3
    ids = some[rng.integers(number, size=256)]
    model = HVAE(
        40,
        latent_dim=32,
        embedding_dim=16,
        hidden_dim=32,
        dropout=0.0,
        word_dropout=0.5,
        seed=0,
        **options,
    )
    # 800 batches, on a rate that falls as that of the recipe does.
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(0.01, 800, 0.02)
        )
    )
    diagnostics = LatentDiagnostics([ids], verbose=0)
    many = np.tile(ids, (100, 1, 1))
    model.fit(many, verbose=0, callbacks=[diagnostics, *callbacks])
    return diagnostics


@pytest.mark.slow
@pytest.mark.eager(False)
def test_a_floor_of_free_bits_is_not_taken_for_information():
    # By KL, active units and z-ablation these latents are in full health.
    diagnostics = train_on_few_sentences(2, free_bits=4.0, transition="rnn")
    figures = diagnostics.figures
    assert figures["kl"]["per_sentence"] > 2
    assert figures["active_units"] == 32
    assert figures["z_ablation"] > 2
    # At most what there is to say, and most of it.
    assert 0.5 < figures["information"] < np.log(2) + 0.02
    assert figures["effective_rank"] == pytest.approx(1, abs=1e-3)
    (said,) = diagnostics.advice
    carried = f"carry {figures['information']:.1f} nats a sentence of the"
    assert carried in said
    assert "differ in the same way" in said


@pytest.mark.slow
@pytest.mark.eager(False)
def test_a_rate_is_paid_for_with_information():
    diagnostics = train_on_few_sentences(8, [KLAnnealing(300)], rate=1.5)
    figures = diagnostics.figures
    assert 1.4 < figures["information"] < np.log(8) + 0.02
    assert figures["information"] > 0.9 * figures["kl"]["per_sentence"]


@pytest.mark.slow
def test_uses_batches_from_all_over(make_hvae, make_ids):
    model, ids = make_hvae(), make_ids(documents=12)
    model.compile("sgd")
    batches = [ids[i : i + 1] for i in range(12)]
    diagnostics = LatentDiagnostics(batches, max_batches=4, verbose=0)
    model.fit(ids, verbose=0, callbacks=[diagnostics])
    assert diagnostics.figures["documents"] == 4
    tokens = sum((ids[i] != 0).sum() for i in (0, 3, 6, 9))
    assert diagnostics.figures["tokens"] == tokens


@pytest.mark.parametrize(
    "callback", [LatentDiagnostics([]), KLAnnealing(10)], ids=type
)
def test_refuses_models_without_latents(callback, make_ids):
    model = GRULM(20, embedding_dim=2, hidden_dim=3)
    model.compile("sgd")
    with pytest.raises(ValueError, match="without latents .* Received: GRULM"):
        model.fit(make_ids(), verbose=0, callbacks=[callback])


def test_a_training_that_has_diverged_is_not_measured(make_hvae, make_ids):
    model, ids = make_hvae(), make_ids()
    model.compile("adam")
    weight = model.latent_chain.initial.kernel
    weight.assign(np.full(weight.shape, np.nan))
    diagnostics = LatentDiagnostics([ids], verbose=0)
    model.fit(ids, verbose=0, callbacks=[diagnostics])
    assert diagnostics.figures is None
    assert "diverged" in diagnostics.advice[0]
    with pytest.raises(ValueError, match="must be finite numbers"):
        evaluate(model, [ids], verbose=0)
