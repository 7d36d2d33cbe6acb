import re

import pytest

from keras_hvae.evaluation import advise

ALIVE = {
    "tokens": 900,
    "kl_by_position": [3.0, 2.0, 1.0],
    "information": 1.8,
    "mismatch": 0.2,
    "information_by_position": [2.6, 1.9, 0.9],
    "mi_cap_by_position": [6.2, 6.2, 5.0],
    "z_ablation": 1.5,
    "z_ablation_length_matched": 1.4,
    "length_r2": 0.3,
    # A floor makes these whatever the latents carry.
    "active_units": 32,
    "active_units_by_position": [32, 32, 32],
    "latent_dim": 32,
}
TWO_SENTENCES = {
    "kl_by_position": [3.7],
    "information": 0.69,
    "mismatch": 3.01,
    "information_by_position": [0.69],
    "mi_cap_by_position": [6.2],
    "z_ablation": 5.4,
    "z_ablation_length_matched": 10.8,
    "length_r2": None,
}
LENGTH_ONLY = {
    "z_ablation": 3.76,
    "z_ablation_length_matched": 0.13,
    "length_r2": 0.97,
}
CARRY = "^The latents carry 1.8 nats a sentence of the 2.0 that they cost"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, CARRY + r"\.$"),
        (TWO_SENTENCES, "^The latents carry 0.7 nats a sentence of the 3.7 "),
        (TWO_SENTENCES, r"cost\. The rest is .* lower it\.$"),
        (
            LENGTH_ONLY,
            CARRY + r"\. What the decoder reads is mostly the length \(R² of "
            r"a linear probe 0.97\): .* by 3.76 .* by 0.13 .* as long\.$",
        ),
        ({**LENGTH_ONLY, "length_r2": None}, "mostly the length: the nll"),
        (
            {"information": 0.04, "mismatch": 3.7},
            r"^The latents carry nothing \(0.04 .* of the 3.7 that they cost",
        ),
        ({"information": -0.01}, r"carry nothing \(0.00 nats"),
        ({"information": None}, "not known: that needs two documents"),
        ({"kl_by_position": [0.05, 0.0]}, "collapsed .* 0.05 .*`rate`"),
        (
            {"rate": 200.0, "neg_elbo": {"per_sentence": 98.14}},
            "^No latent can carry the `rate` of 200 nats: a sentence has 98.1 "
            r"in all \(−ELBO\). Lower it. The latents carry 1.8 nats",
        ),
        ({"rate": 98.0, "neg_elbo": {"per_sentence": 98.14}}, CARRY),
        ({"rate": None}, CARRY),
        (
            {"information_by_position": [2.6, 0.02, 0.0]},
            CARRY + r"\. The chain adds nothing at sentence 2 \(0.02 nats\)\.$",
        ),
        ({"information_by_position": [2.6, None, 0.3]}, CARRY + r"\.$"),
        (
            {"z_ablation": 0.02},
            CARRY + ", but the decoder does not read .*0.02.*`word_dropout`",
        ),
        ({"z_ablation": None}, CARRY + r"\.$"),
        ({"z_ablation_length_matched": None}, CARRY + r"\.$"),
        (
            {"information_by_position": [2.6, 1.9, 4.9], "mismatch": 9.0},
            r"^The latents carry at least 1.8 .* 10.8 .*at its cap.*\)\.$",
        ),
        # Not told by active units.
        ({"active_units": 0, "active_units_by_position": [0, 0, 0]}, CARRY),
    ],
)
def test_advice(change, words):
    said = advise({**ALIVE, **change})
    assert re.search(words, said), said


def test_a_floor_is_not_called_life():
    said = advise({**ALIVE, **TWO_SENTENCES})
    assert "alive" not in said and "units" not in said


@pytest.mark.parametrize(
    "change",
    [{"kl_by_position": [0.05]}, {"information": 0.04}, {"z_ablation": 0.02}],
)
def test_no_cures_of_words_for_frames(change):
    of_words = advise({**ALIVE, **change})
    frames = {k: x for k, x in ALIVE.items() if k != "tokens"}
    of_frames = advise({**frames, "frames": 900, **change})
    assert "word_dropout" in of_words
    assert "word_dropout" not in of_frames and "bow_weight" not in of_frames
