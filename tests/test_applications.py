import numpy as np
import pytest

import keras_hvae
from keras_hvae.applications import (
    HVAEBase,
    HVAESmall,
    decode_predictions,
    preprocess_input,
)
from keras_hvae.presets import preset_files
from keras_hvae.presets.preset import save_preset

WORDS = ["yes", "no", "king", ".", "?"]
TINY = {"latent_dim": 2, "embedding_dim": 4, "hidden_dim": 6}


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    """A folder in the place of the package's own presets."""
    root = tmp_path / "shipped"
    root.mkdir()
    monkeypatch.setattr(preset_files, "PRESETS", root)
    return root


@pytest.fixture
def tiny(make_hvae, shipped):
    model = make_hvae(WORDS)
    for name in ("small_shakespeare", "small_two_words", "base_shakespeare"):
        save_preset(model, shipped / f"hvae_{name}_en")
    return model


@pytest.mark.parametrize(
    ("make", "sizes"), [(HVAESmall, (32, 128, 192)), (HVAEBase, (64, 256, 384))]
)
def test_sizes(make, sizes):
    config = make(weights=None, vocabulary=9, dropout=0.25).get_config()
    keys = ("latent_dim", "embedding_dim", "hidden_dim")
    assert tuple(config[key] for key in keys) == sizes
    assert config["dropout"] == 0.25
    model = make(weights=None, vocabulary=WORDS, **TINY)
    assert model.latent_dim == 2 and list(model.preprocessor)[4:] == WORDS


@pytest.mark.parametrize(
    ("make", "weights"),
    [
        (HVAESmall, "shakespeare"),
        (HVAESmall, "two_words"),
        (HVAEBase, "shakespeare"),
    ],
)
def test_weights_by_name(tiny, make, weights):
    model = make(weights, word_dropout=0.125, **TINY)
    for x, y in zip(model.get_weights(), tiny.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)
    assert model.get_config()["word_dropout"] == 0.125


def test_weights_by_path(tiny, shipped):
    folder = shipped / "hvae_small_shakespeare_en"
    for path in (folder, str(folder)):
        model = HVAESmall(weights=path, **TINY)
        assert list(model.preprocessor) == list(tiny.preprocessor)


def test_bad_weights(shipped, request):
    with pytest.raises(ValueError, match=r"\(none in this .*'shakespeare'"):
        HVAESmall()
    request.getfixturevalue("tiny")
    known = r"`weights` must be .*\('shakespeare', 'two_words'\).* Received: "
    for unknown in ("hamlet", "hvae_small_shakespeare_en", shipped / "no"):
        with pytest.raises(ValueError, match=known):
            HVAESmall(weights=unknown)
    with pytest.raises(ValueError, match=r"\('shakespeare'\), the folder"):
        HVAEBase(weights="two_words")
    with pytest.raises(ValueError, match="'latent_dim': 32.* Received: .* 2"):
        HVAESmall()
    with pytest.raises(ValueError, match="`vocabulary` must be left out"):
        HVAESmall(vocabulary=WORDS)
    with pytest.raises(ValueError, match="`vocabulary` must be given"):
        HVAESmall(weights=None)


def test_strings_to_ids_and_back(make_hvae):
    model = make_hvae(WORDS)
    documents = [["yes king.", "no?"], ["what king"]]
    ids = preprocess_input(documents, model)
    expected = [[[4, 6, 7, 3], [5, 8, 3, 0]], [[1, 6, 3, 0], [0, 0, 0, 0]]]
    np.testing.assert_array_equal(ids, expected)
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(preprocess_input(ids, model), ids)
    one = preprocess_input(documents[0], model)
    np.testing.assert_array_equal(one, expected[:1])
    assert decode_predictions(ids, model) == [documents[0], ["[UNK] king"]]
    assert decode_predictions(ids[0], model) == documents[0]
    # What a model takes: the same scores from ids as from strings.
    for key, x in model.score(documents, seed=1).items():
        np.testing.assert_allclose(model.score(ids, seed=1)[key], x)


def test_a_model_of_ids(make_hvae):
    model = make_hvae(20)
    np.testing.assert_array_equal(preprocess_input([[5, 3]], model), [[[5, 3]]])
    with pytest.raises(ValueError, match="no preprocessor"):
        preprocess_input(["yes"], model)
    with pytest.raises(ValueError, match="`model` must .* 20 ids"):
        decode_predictions([[5, 3]], model)


SHIPPED = preset_files.known_presets()


def test_the_default_weights_are_shipped():
    assert "hvae_small_shakespeare_en" in SHIPPED
    sizes = [x.stat().st_size for x in preset_files.PRESETS.rglob("*")]
    assert sum(sizes) < 25e6


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_preset(name):
    model = keras_hvae.HVAE.from_preset(name)
    card = (preset_files.PRESETS / name / "README.md").read_text()
    assert card.startswith(f"# {name}\n")
    assert f"of {model.count_params():,} parameters" in card
    # The card's first sample is what it writes. (Another processor may round
    # another way, and change a word and all behind it.)
    (document,) = model.generate(num_sentences=6, temperature=0.8, seed=0)
    assert len(set(document) & set(card.splitlines())) >= 3
    assert len(model.reconstruct(document)) == 6


def test_the_default_weights():
    model = HVAESmall()
    documents = [["Good morrow, cousin.", "Is the day so young?"]]
    ids = preprocess_input(documents, model)
    assert decode_predictions(ids, model)[0][0] == "good morrow, cousin."
    scores = model.score(documents, seed=0)
    # Words' frequencies alone give 6 nats a word.
    assert scores["nll"][0] / scores["tokens"][0] < 5.5
