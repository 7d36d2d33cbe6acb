"""The base class of softmaxes of a linear layer."""

import keras
from keras import ops

from keras_hvae.layers.float_weights import float_weight, linear
from keras_hvae.layers.softmax.linear_nll import linear_nll
from keras_hvae.layers.softmax.output_softmax import OutputSoftmax


class LinearSoftmax(OutputSoftmax):
    """p(w | h) = softmax(W h + b)[w], or softmax(E P h + b)[w] if tied.

    Tied to the table E of an embedding there is no W, but a projection P of h
    to the width of the embedding. The tie survives saving, but not
    `keras.models.clone_model`: a config has an embedding of its own.
    Subclasses define `flat_nll`.

    Args:
        vocabulary_size: number of ids V.
        bias_initializer: initializer of b.
        embedding: optional `keras.layers.Embedding` of V ids to tie to.

    Raises:
        ValueError: if `vocabulary_size` is not an integer >= 1, or `embedding`
            is not of as many ids.

    Reference:
        - [Press and Wolf, 2017](https://arxiv.org/abs/1608.05859) (tying)
    """

    # Whether W is stored as (V, H), so that rows can be gathered.
    by_word = False

    def __init__(
        self,
        vocabulary_size: int,
        bias_initializer: str | keras.initializers.Initializer = "zeros",
        embedding: keras.layers.Embedding | None = None,
        **kwargs,
    ) -> None:
        super().__init__(vocabulary_size, **kwargs)
        if embedding is not None:
            size = getattr(embedding, "input_dim", embedding)
            if size != vocabulary_size:
                raise ValueError(
                    "`embedding` must be a keras.layers.Embedding of "
                    f"{vocabulary_size} ids. Received: {size}"
                )
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.embedding = embedding
        if embedding is not None:
            self.bottleneck = keras.layers.Dense(
                embedding.output_dim,
                use_bias=False,
                dtype=self.dtype_policy,
                name="bottleneck",
            )

    def build(
        self, hidden_shape: tuple, targets_shape: tuple | None = None
    ) -> None:
        if self.embedding is None:
            shape = (hidden_shape[-1], self.vocabulary_size)
            self.kernel = self.add_weight(
                name="kernel",
                shape=shape[::-1] if self.by_word else shape,
                initializer="glorot_uniform",
                autocast=False,
            )
        else:
            self.bottleneck.build(hidden_shape)
            if not self.embedding.built:
                self.embedding.build()
        self.bias = self.add_weight(
            name="bias",
            shape=(self.vocabulary_size,),
            initializer=self.bias_initializer,
            autocast=False,
        )

    def narrow(self, hidden: keras.KerasTensor) -> keras.KerasTensor:
        """P h if tied, else h."""
        if self.embedding is None:
            return hidden
        return linear(self.bottleneck, hidden)

    def rows(self) -> keras.KerasTensor:
        """W or E by word: tensor of shape `(V, H)`."""
        if self.embedding is not None:
            return float_weight(
                self.embedding, "embeddings", self.variable_dtype
            )
        kernel = ops.convert_to_tensor(self.kernel)
        return kernel if self.by_word else ops.transpose(kernel)

    def columns(self) -> keras.KerasTensor:
        """W or E as the kernel of a `Dense`: tensor of shape `(H, V)`."""
        if self.embedding is None and not self.by_word:
            return ops.convert_to_tensor(self.kernel)
        return ops.transpose(self.rows())

    def linear_weights(self, dtype: str) -> tuple[keras.KerasTensor, ...]:
        """Kernel `(H, V)`, bias; if tied, `(E, V)`, bias and P `(H, E)`."""
        weights = [self.columns(), ops.convert_to_tensor(self.bias)]
        if self.embedding is not None:
            weights.append(float_weight(self.bottleneck, "kernel", dtype))
        return tuple(ops.cast(x, dtype) for x in weights)

    def full_nll(
        self,
        hidden: keras.KerasTensor,
        targets: keras.KerasTensor,
        mask: keras.KerasTensor,
        training: bool = False,
    ) -> keras.KerasTensor:
        """The exact nll of rows; see `flat_nll`."""
        kernel, bias, *bottleneck = self.linear_weights(hidden.dtype)
        return linear_nll(
            hidden, kernel, bias, targets, mask, training, *bottleneck
        )

    def logits(self, hidden: keras.KerasTensor) -> keras.KerasTensor:
        kernel, bias, *_ = self.linear_weights(hidden.dtype)
        logits = ops.matmul(self.narrow(hidden), kernel) + bias
        return ops.cast(logits, "float32")

    def get_config(self) -> dict:
        embedding = self.embedding
        if embedding is not None:
            embedding = keras.saving.serialize_keras_object(embedding)
        return {
            **super().get_config(),
            "bias_initializer": keras.initializers.serialize(
                self.bias_initializer
            ),
            "embedding": embedding,
        }

    @classmethod
    def from_config(cls, config: dict):
        config = dict(config)
        if config.get("embedding") is not None:
            config["embedding"] = keras.saving.deserialize_keras_object(
                config["embedding"]
            )
        return cls(**config)
