"""What the recipe decides, and that a training follows it."""

import numpy as np
import pytest

import keras_hvae
from keras_hvae import HRED, callbacks

pytestmark = pytest.mark.eager


@pytest.fixture(scope="module")
def corpus():
    words = np.array("a b c d e f".split())
    rng = np.random.default_rng(0)
    documents = [
        [" ".join(rng.choice(words, 3)) for _ in range(2)] for _ in range(200)
    ]
    return keras_hvae.data.load(documents, batch_size=8)


def kinds(recipe):
    return {type(x).__name__ for x in recipe.callbacks}


@pytest.mark.parametrize(
    ("epochs", "steps", "expected"),
    [(3, None, 3), (3, 5, 1), (3, 10_000, 3)],
)
def test_epochs_and_steps(corpus, epochs, steps, expected):
    batches = len(corpus.train)
    plan = keras_hvae.training.recipe(corpus, epochs, steps)
    total = min(epochs * batches, steps or epochs * batches)
    assert (plan.steps, plan.epochs) == (total, expected)
    assert plan.annealing_steps == max(round(0.4 * total), 1)
    assert plan.steps_per_epoch == (total if total < batches else None)


def test_annealing_is_a_part_of_what_pretraining_leaves(corpus):
    plan = keras_hvae.training.recipe(corpus, steps=50, pretraining_steps=20)
    assert plan.annealing_steps == 12
    plan = keras_hvae.training.recipe(
        corpus, steps=50, pretraining_steps=20, annealing_steps=30
    )
    assert plan.annealing_steps == 30


def test_callbacks_are_those_of_the_arguments(corpus, tmp_path):
    make = keras_hvae.training.recipe
    assert kinds(make(corpus)) == {
        "NonFiniteSteps",
        "KLAnnealing",
        "LatentDiagnostics",
    }
    assert kinds(make(corpus, latents=False)) == {"NonFiniteSteps"}
    assert "KLAnnealing" not in kinds(make(corpus, kl_annealing="none"))
    assert "AutoencoderPretraining" in kinds(make(corpus, pretraining_steps=3))
    plan = make(corpus, best_model=tmp_path / "m.keras")
    assert plan.best.monitor == "val_loss" and plan.best in plan.callbacks


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"epochs": 0}, "`epochs` must .* Received: 0"),
        ({"steps": 0}, "`steps` must .* Received: 0"),
        ({"learning_rate": 0}, "`learning_rate` must .* Received: 0"),
        ({"kl_annealing": "no"}, "`kl_annealing` must .* Received: 'no'"),
        (
            {"kl_annealing": "cyclical", "pretraining_steps": 3},
            "`kl_annealing` must be \"linear\" .* Received: 'cyclical'",
        ),
        (
            {"steps": 9, "pretraining_steps": 6, "annealing_steps": 4},
            "must be at most 9 together.* Received: 6 and 4",
        ),
        ({"steps": 9, "pretraining_steps": 9}, "Received: 9 and 1"),
    ],
)
def test_errors(corpus, arguments, match):
    with pytest.raises(ValueError, match=match):
        keras_hvae.training.recipe(corpus, **arguments)


@pytest.mark.slow
def test_a_training_ends_within_an_epoch(corpus):
    batches = len(corpus.train)
    plan = keras_hvae.training.recipe(
        corpus, 2, batches + 2, latents=False, verbose=0
    )
    model = HRED(corpus.vocabulary, embedding_dim=2, hidden_dim=3)
    model.compile(plan.optimizer)
    model.fit(
        corpus.train,
        epochs=plan.epochs,
        steps_per_epoch=plan.steps_per_epoch,
        callbacks=plan.callbacks,
        shuffle=False,
        verbose=0,
    )
    assert int(model.optimizer.iterations.numpy()) == batches + 2
    assert any(isinstance(x, callbacks.StopAfter) for x in plan.callbacks)
