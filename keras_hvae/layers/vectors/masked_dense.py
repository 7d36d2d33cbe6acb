"""A dense layer some of whose connections are cut."""

from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("keras_hvae")
class MaskedDense(keras.layers.Layer):
    """y = f((M ⊙ W)ᵀ x + b), with M of zeros and ones.

    With a triangular M an output depends on the inputs before it only.

    Args:
        mask: M, array of zeros and ones `(inputs, units)`.
        activation: as in `keras.layers.Dense`.
        kernel_initializer: of W. Its variance is that of a dense layer, though
            fewer connections are left.

    Call arguments:
        inputs: tensor of shape `(..., inputs)`.

    Returns:
        Tensor of shape `(..., units)`.

    Raises:
        ValueError: if the mask is not such an array, or of another width.

    Example:

    >>> layer = MaskedDense(np.triu(np.ones((3, 3)), 1))  # strictly before
    >>> y = layer(ops.array([[1.0, 2.0, 3.0]]))
    >>> float(y[0, 0])  # nothing is before the first
    0.0

    Reference:
        - [Germain et al., 2015](https://arxiv.org/abs/1502.03509)
    """

    def __init__(
        self,
        mask: Any,
        activation: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        mask = np.asarray(mask)
        if mask.ndim != 2 or not np.isin(mask, (0, 1)).all():
            raise ValueError(
                "`mask` must be zeros and ones of shape (inputs, units). "
                f"Received: {mask.dtype} of shape {mask.shape}"
            )
        self.mask = mask.astype("float32")
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tuple) -> None:
        if input_shape[-1] != len(self.mask):
            raise ValueError(
                f"`inputs` must have {len(self.mask)} numbers, one for each "
                f"row of the mask. Received: shape {tuple(input_shape)}"
            )
        self.kernel = self.add_weight(
            shape=self.mask.shape,
            initializer=self.kernel_initializer,
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=self.mask.shape[1:], initializer="zeros", name="bias"
        )

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        kernel = self.kernel * ops.cast(self.mask, self.compute_dtype)
        return self.activation(ops.matmul(inputs, kernel) + self.bias)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.mask.shape[1])

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "mask": self.mask.astype(int).tolist(),
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
        }
