import numpy as np
import pytest

from keras_hvae import GRULM
from keras_hvae.callbacks import KLAnnealing, LatentDiagnostics
from keras_hvae.callbacks.latent_diagnostics import advise
from keras_hvae.evaluation import evaluate

pytestmark = pytest.mark.eager

ALIVE = {
    "kl_by_position": [3.0, 2.0, 1.0],
    "active_units_by_position": [20, 15, 2],
    "latent_dim": 32,
    "z_ablation": 1.5,
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "alive at every position"),
        ({"kl_by_position": [0.05, 0.0]}, "collapsed .* 0.05 .*`free_bits`"),
        ({"kl_by_position": [3.0, 0.01, 2.0]}, "dies at sentence 2"),
        ({"z_ablation": 0.02}, "does not read the latents .*`word_dropout`"),
        ({"z_ablation": None}, "alive"),
        ({"active_units_by_position": [3, 2]}, "At most 3 of 32 units"),
    ],
)
def test_advice(change, words):
    assert_matches(advise({**ALIVE, **change}), words)


def assert_matches(text, pattern):
    import re

    assert re.search(pattern, text), text


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
    for key in ("active_units", "mi_full", "z_ablation"):
        assert len(history[key]) == 2
        assert history[key][1] == figures[key]
    assert history["kl_first"][1] == figures["kl_by_position"][0]
    assert history["kl_last"][1] == figures["kl_by_position"][-1]
    assert diagnostics.advice[1] == advise(figures)
    assert capsys.readouterr().out.count("KL by position") == 2


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
