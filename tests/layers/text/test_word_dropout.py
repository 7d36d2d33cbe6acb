import numpy as np
import pytest
from keras import ops

from keras_hvae.ids import BOS_ID, PAD_ID, UNK_ID
from keras_hvae.layers import WordDropout

to_numpy = ops.convert_to_numpy


def test_replaces_words_at_its_rate():
    ids = np.full((100, 200), 7, "int32")
    dropped = to_numpy(WordDropout(0.3, seed=0)(ids, training=True))
    assert set(np.unique(dropped)) == {UNK_ID, 7}
    # 6 standard errors of a share of 20,000 independent draws.
    assert (dropped == UNK_ID).mean() == pytest.approx(0.3, abs=0.02)
    assert dropped.dtype == "int32"


def test_special_tokens_stay():
    ids = np.array([[PAD_ID, UNK_ID, BOS_ID]] * 1000, "int32")
    dropped = to_numpy(WordDropout(0.99, seed=0)(ids, training=True))
    np.testing.assert_array_equal(dropped, ids)


@pytest.mark.parametrize(("rate", "training"), [(0.9, False), (0.0, True)])
def test_else_nothing_changes(rate, training):
    ids = np.full((100, 20), 7, "int32")
    dropped = WordDropout(rate, seed=0)(ids, training=training)
    np.testing.assert_array_equal(to_numpy(dropped), ids)


def test_ids_beyond_half_precision_survive_a_half_policy(mixed_float16):
    # float16 knows no 20,001.
    ids = np.array([[20_001]], "int32")
    assert int(WordDropout(0.0)(ids, training=True)[0, 0]) == 20_001
