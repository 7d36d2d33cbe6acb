"""The weights that layers of Keras have are those that they multiply with."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.layers.float_weights import (
    float_weight,
    kernel_and_bias,
    linear,
)

to_numpy = ops.convert_to_numpy
GROUPED = keras.quantizers.Int4QuantizationConfig(block_size=2)
WAYS = {
    "float": {},
    "int8": {"mode": "int8"},
    "int4": {"mode": "int4"},
    "int4, grouped": {"mode": "int4", "config": GROUPED},
    "float8": {"mode": "float8"},
}


def prepared(layer, way, lora):
    layer.build((None, 5))
    rng = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(rng.standard_normal(weight.shape))
    if WAYS[way]:
        layer.quantize(**WAYS[way])
    if lora:
        layer.enable_lora(2, lora_alpha=3.0)
        for x in (v for v in layer.weights if "lora" in v.name):
            x.assign(rng.standard_normal(x.shape))
    return layer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "lora"),
    # Keras has no LoRA for float8.
    [*((way, False) for way in WAYS), *((w, True) for w in list(WAYS)[:-1])],
)
def test_of_a_dense_they_are_its_products(way, lora):
    dense = prepared(keras.layers.Dense(3), way, lora)
    # Rows of the identity: what a layer rounds of its inputs is exact there.
    expected = to_numpy(dense(ops.eye(5)))
    kernel, bias = kernel_and_bias(dense, "float32")
    # What is stored for float8 is not rounded: Keras rounds it in each call.
    error = 0.2 if way == "float8" else 1e-5
    for values in (kernel + bias, linear(dense, ops.eye(5))):
        np.testing.assert_allclose(to_numpy(values), expected, 1e-5, error)


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("way", [x for x in WAYS if x != "float8"])
def test_of_an_embedding_they_are_its_rows(way, lora):
    embedding = prepared(keras.layers.Embedding(7, 5), way, lora)
    expected = to_numpy(embedding(ops.arange(7)))
    table = to_numpy(float_weight(embedding, "embeddings", "float32"))
    np.testing.assert_allclose(table, expected, rtol=1e-5, atol=1e-5)


def test_takes_the_type_and_a_dense_without_bias():
    dense = keras.layers.Dense(3, use_bias=False)
    dense.build((None, 5))
    (kernel,) = kernel_and_bias(dense, "float16")
    assert keras.backend.standardize_dtype(kernel.dtype) == "float16"
    assert linear(dense, ops.ones((2, 5))).shape == (2, 3)


def test_names_a_layer_quantised_in_another_way():
    config = keras.quantizers.GPTQConfig(dataset=None, tokenizer=None)
    dense = prepared(keras.layers.Dense(3, name="narrow"), "float", False)
    dense.quantize("gptq", config=config)
    with pytest.raises(NotImplementedError, match="'narrow' .*Received: gptq"):
        kernel_and_bias(dense, "float32")
