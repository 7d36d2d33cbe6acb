"""The checks that every model of the package passes."""

import keras
import numpy as np
import pytest


def slow(*values):
    """Parameters of a test that the plain test command leaves to `slow`."""
    return [pytest.param(x, marks=pytest.mark.slow) for x in values]


def run_model_test(cls, arguments, ids, tmp_path):
    """Builds, fits, evaluates, scores, saves and loads a model of words.

    Args:
        cls: class of the model.
        arguments: of its constructor, with a `vocabulary` of words.
        ids: documents `(B, n, m)`.
        tmp_path: a new folder.

    Returns:
        The model, after a step of training.
    """
    model = cls(**arguments)
    config = model.get_config()
    given = {key: x for key, x in arguments.items() if key != "vocabulary"}
    assert given.items() <= config.items()
    assert cls.from_config(config).get_config() == config

    latent = model.latent_dim > 0
    outputs = model(ids)
    names = ["nll"] + ["kl", "z", "mean", "log_var"] * latent
    assert sorted(outputs) == sorted(names)
    assert len(model.losses) == 1 + latent

    # JAX has to compile.
    eagerly = keras.config.backend() != "jax"
    model.compile(keras.optimizers.Adam(0.1), run_eagerly=eagerly)
    before = model.get_weights()
    history = model.fit(ids, verbose=0).history
    keys = ["loss", "nll", "perplexity"] + ["kl", "kl_weight"] * latent
    keys += ["rate", "multiplier"] * bool(config.get("rate"))
    assert sorted(history) == sorted(keys)
    assert np.isfinite(history["loss"]).all()
    assert any((x != y).any() for x, y in zip(before, model.get_weights()))

    logs = model.evaluate(ids, return_dict=True, verbose=0)
    assert sorted(logs) == sorted(keys)
    weight = logs.get("kl_weight", 0.0)
    nats = logs["nll"] + weight * logs.get("kl", 0.0)
    half = model.dtype_policy.compute_dtype != "float32"
    assert logs["loss"] == pytest.approx(nats, rel=1e-2 if half else 1e-5)
    bound = (logs["nll"] + logs.get("kl", 0.0)) * len(ids) / (ids != 0).sum()
    assert logs["perplexity"] == pytest.approx(np.exp(bound), rel=1e-4)

    scores = model.score(ids, seed=1)
    assert scores["nll"].all() and np.isfinite(scores["elbo"]).all()
    np.testing.assert_array_equal(scores["tokens"], (ids != 0).sum((1, 2)))

    path, folder = tmp_path / "model.keras", tmp_path / "preset"
    model.save(path)
    model.save_to_preset(folder)
    for loaded in (keras.models.load_model(path), cls.from_preset(folder)):
        assert type(loaded) is cls and loaded.get_config() == config
        assert list(loaded.preprocessor) == list(model.preprocessor)
        for x, y in zip(model.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(x, y)
        for key, x in loaded.score(ids, seed=1).items():
            np.testing.assert_array_equal(x, scores[key], key)
    return model
