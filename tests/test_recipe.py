import keras
import numpy as np
import pytest

import keras_hvae


@pytest.mark.slow
def test_the_defaults_carry_information():
    corpus = keras_hvae.data.load(
        "shakespeare_scenes",
        vocabulary_size=4000,
        max_sentences=6,
        max_words=16,
    )
    model = keras_hvae.HVAE(corpus.vocabulary, seed=0)
    rate = keras.optimizers.schedules.CosineDecay(0.005, 400)
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=5.0))
    model.fit(
        corpus.train.repeat(),
        steps_per_epoch=400,
        shuffle=False,
        callbacks=[keras_hvae.callbacks.KLAnnealing(160)],
        verbose=0,
    )
    figures = keras_hvae.evaluation.evaluate(model, corpus.valid, verbose=0)
    # Not by KL and active units, which say nothing.
    cost = figures["information"] + figures["mismatch"]
    assert figures["information"] >= 0.85 * cost
    assert np.min(figures["information_by_position"]) >= 2.5
    assert figures["z_ablation"] >= 5.0
    assert figures["z_ablation_length_matched"] >= 2.0
    # Better than what the words' frequencies alone allow (about 300).
    assert figures["perplexity_bound"] < 85
