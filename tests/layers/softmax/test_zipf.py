import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.layers import TokenNLL, Zipf


def test_falls_with_the_rank_of_the_word():
    bias = ops.convert_to_numpy(Zipf()((50,)))
    assert bias.dtype == "float32"
    np.testing.assert_array_equal(bias[[0, 2]], -10)  # never written
    assert bias[1] == bias[3] > bias[4]
    assert (np.diff(bias[4:]) < 0).all()
    # Zipf–Mandelbrot: frequency × (rank + 2.7) is constant.
    product = np.exp(bias[4:]) * (np.arange(1, 47) + 2.7)
    np.testing.assert_allclose(product, product[0], rtol=1e-5)
    assert np.exp(bias).sum() == pytest.approx(1, abs=1e-3)


def test_is_saved_with_the_layer():
    layer = TokenNLL(9, Zipf())
    config = layer.get_config()
    assert config["bias_initializer"]["class_name"] == "Zipf"
    again = TokenNLL.from_config(config)
    assert isinstance(again.bias_initializer, Zipf)
    assert again.get_config() == config
    again.build((None, 4))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(again.bias),
        ops.convert_to_numpy(Zipf()((9,))),
    )
    assert isinstance(keras.initializers.get(Zipf()), Zipf)
