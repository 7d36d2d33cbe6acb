"""Float weights of Keras layers, after LoRA and quantisation."""

import keras
from keras import ops


def kernel_and_bias(
    dense: keras.layers.Layer, dtype: str
) -> tuple[keras.KerasTensor, ...]:
    """Kernel and, if it has one, bias of a `Dense`: see `float_weight`."""
    kernel = float_weight(dense, "kernel", dtype)
    if dense.bias is None:
        return (kernel,)
    return kernel, ops.cast(dense.bias, dtype)


def linear(
    dense: keras.layers.Layer, x: keras.KerasTensor
) -> keras.KerasTensor:
    """What a `Dense` makes of x, without its activation."""
    kernel, *bias = kernel_and_bias(dense, x.dtype)
    product = ops.matmul(x, kernel)
    return product + bias[0] if bias else product


def float_weight(
    layer: keras.layers.Layer, name: str, dtype: str
) -> keras.KerasTensor:
    """The kernel of a `Dense`, or the embeddings of an `Embedding`.

    For products that do not call the layer. What a layer that is quantised to
    integers stores is unpacked; with LoRA its product is added.

    Args:
        layer: a built `keras.layers.Dense` or `keras.layers.Embedding`.
        name: `"kernel"` or `"embeddings"`.
        dtype: of the tensor to return.

    Raises:
        NotImplementedError: for a layer quantised in another way.
    """
    weight = getattr(layer, name)
    mode = layer.quantization_mode
    # The kernel already includes the product of LoRA.
    if mode in (None, "float8"):
        return ops.cast(weight, dtype)
    if mode not in ("int8", "int4"):
        raise NotImplementedError(
            f"{layer.name!r} must be quantised to int8, int4 or float8: its "
            f"weights are read outside of it. Received: {mode}"
        )
    change = 0.0
    if layer.lora_enabled:
        a, b = (getattr(layer, f"lora_{name}_{x}") for x in "ab")
        change = layer.lora_alpha / layer.lora_rank * ops.matmul(a, b)
        # Keras adds the product of LoRA to the stored integers.
        weight = weight - change
    weight = ops.cast(weight, "float32")
    scale, zero = (
        getattr(layer, f"{name}_{x}", None) for x in ("scale", "zero")
    )
    axis = 0 if name == "kernel" else 1  # the axis that is summed over
    if zero is None:
        weight = weight / ops.expand_dims(scale, axis)
    else:  # Groups of rows or columns have their own scale and zero point.
        scale, zero = (
            ops.take(x, ops.cast(layer.g_idx, "int32"), axis)
            for x in (scale, zero)
        )
        weight = (weight - ops.cast(zero, "float32")) * scale
    return ops.cast(weight + change, dtype)
