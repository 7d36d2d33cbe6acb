import numpy as np
import pytest

from keras_hvae import HRED, HVAE, FlatVAE
from keras_hvae.emissions import BernoulliEmission
from keras_hvae.explore import Explorer

WORDS = "the a cat dog sees hears good morrow how ? . king".split()
TEXT = "the cat sees .\nthe dog hears the cat\n\ngood morrow"


@pytest.fixture(scope="module")
def explorer(make_hvae):
    return Explorer(make_hvae(WORDS, scale=0.7, latent_dim=3), max_words=5)


def test_between_is_the_models_interpolation(explorer):
    ends = explorer.sentences(TEXT), ["how ?"]
    line = explorer.model.interpolate(*ends, 11, max_words=5)
    for weight, expected in ((0, 0), (0.3, 3), (1.0, 10), (7, 10)):
        assert explorer.between(TEXT, "how ?", weight) == line[expected]


def test_kl_of_each_sentence(explorer):
    rows = explorer.kl(TEXT)
    assert [x for x, _ in rows] == explorer.sentences(TEXT)
    scores = explorer.model.score(explorer.sentences(TEXT), 16, seed=0)
    np.testing.assert_allclose(
        [kl for _, kl in rows], scores["sentence_kl"], rtol=1e-6
    )


def test_unknown_words_are_marked(explorer):
    marked = explorer.mark_unknown("The fox sees.\n\nhow")
    assert [word for word, _ in marked] == ["the", "fox", "sees", ".", "how"]
    assert [known for _, known in marked] == [True, False, True, True, True]


def test_an_edit_of_nothing_changes_nothing(explorer):
    was, now = explorer.edit(TEXT, 1, 0, 0.0)
    assert was == now and len(was) == 3
    # What stands before the sentence, and itself, is its reconstruction.
    again = explorer.model.reconstruct(explorer.sentences(TEXT), max_words=5)
    assert was[:2] == again[:2]


def test_an_edit_changes_the_sentence_and_what_follows_only(explorer):
    changed = [explorer.edit(TEXT, 1, i, 30.0) for i in range(3)]
    assert all(was[0] == now[0] for was, now in changed)
    assert any(was[1:] != now[1:] for was, now in changed)
    redrawn = {
        tuple(explorer.edit(TEXT, 0, 0, 0.0, seed=i)[1]) for i in range(8)
    }
    assert len(redrawn) > 1
    once, again = (explorer.edit(TEXT, 0, 0, 0.0, seed=3) for _ in range(2))
    assert once == again


def test_a_shift_is_of_one_standard_deviation_of_the_prior(
    explorer, monkeypatch
):
    given = []
    decode = type(explorer.model).decode
    monkeypatch.setattr(
        type(explorer.model),
        "decode",
        lambda self, z, **options: (
            given.append(z) or decode(self, z, **options)
        ),
    )
    explorer.edit(TEXT, 1, 2, 2.0)
    before = explorer.model.encode(explorer.sentences(TEXT))["mean"][None, 0]
    _, log_var = explorer.model.latent_chain.prior_after(before, True)
    moved = given[1][1] - given[0][1]
    assert moved[2] == pytest.approx(2 * np.exp(0.5 * log_var[0, 2]), rel=1e-4)
    assert not moved[:2].any()


@pytest.mark.slow
def test_a_map_has_every_sentence(explorer):
    points = explorer.map(A=TEXT, B="how ?")
    assert [x[3] for x in points if x[2] == "A"] == explorer.sentences(TEXT)
    assert [x[3] for x in points if x[2] == "B"] == ["how ?"]
    assert sum(x[2] == "prior" for x in points) == 160
    assert np.isfinite([x[:2] for x in points]).all()


def test_going_on(explorer):
    new = explorer.go_on(TEXT, 2, seed=4)
    expected = explorer.model.generate(
        explorer.sentences(TEXT),
        num_sentences=2,
        max_words=5,
        temperature=0.8,
        top_p=0.9,
        seed=4,
    )
    assert new == expected
    assert len(explorer.go_on("  \n", 3)) == 3


def test_what_cannot_be_shown(explorer, make_model, make_hvae):
    for blank in ("", " \n\t"):
        with pytest.raises(ValueError, match="sentence that is not blank"):
            explorer.kl(blank)
    for position, dimension in ((3, 0), (-1, 0), (0, 3)):
        with pytest.raises(ValueError, match=r"must be in \[0, 3\)"):
            explorer.edit(TEXT, position, dimension, 1.0)
    frames = HVAE(emission=BernoulliEmission(3, 4), hidden_dim=4)
    for bad in (make_model(HRED, WORDS), make_hvae(), frames, None):
        with pytest.raises(ValueError, match="HVAE .*, and a vocabulary"):
            Explorer(bad)


def test_a_model_of_single_sentences_has_no_chain(make_model):
    """A sentence moved would change nothing that follows."""
    with pytest.raises(ValueError, match="Received: FlatVAE .*independent"):
        Explorer(make_model(FlatVAE, WORDS))
