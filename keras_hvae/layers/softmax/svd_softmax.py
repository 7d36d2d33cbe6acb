"""SVD-softmax: approximate logits for decoding."""

import keras
import numpy as np
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.layers.softmax.linear_softmax import LinearSoftmax


@keras.saving.register_keras_serializable("keras_hvae")
class SVDSoftmax(keras.layers.Layer):
    """Logits of a trained softmax, exact only for the probable words.

    With the singular value decomposition W = U Σ Vᵀ of the kernel, a preview
    of all logits takes the first `width` of the H rotated dimensions of h,
    which have the largest singular values; the `num_candidates` words that
    look best are computed in full. For decoding only; score with the model's:

        fast = SVDSoftmax.of(model.emission.token_nll, 64, num_candidates=500)
        model.generate(num_documents=2, softmax=fast)

    It can only pay where reading the kernel takes the time: few rows, tens of
    thousands of words, few candidates. Elsewhere the exact product is faster.

    Args:
        vocabulary_size: number of ids V.
        width: dimensions of the preview, at most H.
        num_candidates: words to compute in full, at most V.

    Call arguments:
        hidden: tensor of shape `(..., H)`.

    Returns:
        float32 logits, tensor of shape `(..., V)`.

    Raises:
        ValueError: if a number is not an integer >= 1, or too large.

    Example:

    >>> from keras_hvae.layers import TokenNLL
    >>> softmax = TokenNLL(10)
    >>> softmax.build((None, 4))
    >>> fast = SVDSoftmax.of(softmax, width=4, num_candidates=3)
    >>> hidden = ops.ones((1, 4))
    >>> far = ops.max(ops.abs(fast(hidden) - softmax.logits(hidden)))
    >>> bool(far < 1e-5)  # no approximation: all four dimensions
    True

    Reference:
        - [Shim et al., 2017](https://papers.nips.cc/paper/7130)
    """

    def __init__(
        self, vocabulary_size: int, width: int, num_candidates: int, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        check_positive_int(
            vocabulary_size=vocabulary_size,
            width=width,
            num_candidates=num_candidates,
        )
        if num_candidates > vocabulary_size:
            raise ValueError(
                "`num_candidates` must be at most vocabulary_size = "
                f"{vocabulary_size}. Received: {num_candidates}"
            )
        self.vocabulary_size = vocabulary_size
        self.width = width
        self.num_candidates = num_candidates

    @classmethod
    def of(
        cls, softmax: keras.layers.Layer, width: int, num_candidates: int
    ) -> "SVDSoftmax":
        """The approximation of a built `LinearSoftmax`, such as `TokenNLL`.

        Of an `HVAE` it is `model.emission.token_nll`, unless its softmax is
        `"adaptive"` or `"class"`.

        Raises:
            ValueError: for another kind of softmax, which has no one kernel,
                or if `width` is more than the kernel has.
        """
        if not isinstance(softmax, LinearSoftmax) or not softmax.built:
            raise ValueError(
                "`softmax` must be a built LinearSoftmax, such as the "
                'model.emission.token_nll of an HVAE with softmax="full" (not '
                f'"adaptive" or "class"). Received: {softmax}'
            )
        layer = cls(softmax.vocabulary_size, width, num_candidates)
        kernel, bias, *bottleneck = (
            ops.convert_to_numpy(x).astype("float64")
            for x in softmax.linear_weights("float32")
        )
        if bottleneck:
            kernel = bottleneck[0] @ kernel
        layer.build((None, len(kernel)))
        rotation, size, basis = np.linalg.svd(kernel, full_matrices=False)
        rotated = np.zeros((len(kernel), kernel.shape[1]))
        rotated[: len(size)] = size[:, None] * basis
        full = np.zeros((len(kernel), len(kernel)))
        full[:, : len(size)] = rotation
        layer.rotation.assign(full)
        layer.preview.assign(rotated[:width])
        layer.rest.assign(rotated[width:].T)
        layer.bias.assign(bias)
        return layer

    def build(self, hidden_shape: tuple) -> None:
        units, words = hidden_shape[-1], self.vocabulary_size
        if self.width > units:
            raise ValueError(
                f"`width` must be at most the {units} dimensions of h. "
                f"Received: {self.width}"
            )
        for name, shape in (
            ("rotation", (units, units)),
            ("preview", (self.width, words)),
            ("rest", (words, units - self.width)),
            ("bias", (words,)),
        ):
            weight = self.add_weight(
                name=name, shape=shape, trainable=False, autocast=False
            )
            setattr(self, name, weight)

    def call(self, hidden: keras.KerasTensor) -> keras.KerasTensor:
        return self.logits(hidden)

    def logits(self, hidden: keras.KerasTensor) -> keras.KerasTensor:
        """What `call` returns."""
        shape = ops.shape(hidden)[:-1]
        hidden = ops.reshape(hidden, (-1, hidden.shape[-1]))
        rotated = ops.matmul(hidden, ops.cast(self.rotation, hidden.dtype))
        seen, unseen = rotated[:, : self.width], rotated[:, self.width :]
        preview = ops.cast(self.preview, hidden.dtype)
        logits = ops.cast(ops.matmul(seen, preview), "float32") + self.bias
        best, words = ops.top_k(
            logits, self.num_candidates, sorted=False
        )  # (R, N)
        rows = ops.take(ops.cast(self.rest, hidden.dtype), words, axis=0)
        more = ops.matmul(rows, unseen[..., None])[..., 0]  # (R, N)
        first = ops.arange(ops.shape(hidden)[0], dtype="int32")[:, None]
        at = ops.cast(words, "int32") + first * self.vocabulary_size
        logits = ops.scatter_update(
            ops.reshape(logits, (-1,)),
            ops.reshape(at, (-1, 1)),
            ops.reshape(best + ops.cast(more, "float32"), (-1,)),
        )
        return ops.reshape(logits, (*shape, self.vocabulary_size))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "width": self.width,
            "num_candidates": self.num_candidates,
        }
