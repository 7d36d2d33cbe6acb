"""Adaptive softmax: fewer dimensions for rarer words."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_hvae.layers.float_weights import kernel_and_bias, linear
from keras_hvae.layers.softmax.linear_nll import linear_nll
from keras_hvae.layers.softmax.output_softmax import OutputSoftmax


@keras.saving.register_keras_serializable("keras_hvae")
class AdaptiveSoftmax(OutputSoftmax):
    """Softmax in two levels by word frequency: fast for large vocabularies.

    A head of width H has the most frequent words and one entry for each
    cluster of rarer ones; cluster i has its words behind a bottleneck of
    width H / `div_value`^(i+1):

    p(w | h) = p_head(w | h), or p_head(cluster | h) · p_cluster(w | W h)

    which sums to one over the vocabulary. A word outside the head costs head
    and cluster, any other the head only. Ids must be in order of falling
    frequency.

    Args:
        vocabulary_size: number of ids V, the special ones included.
        cutoffs: ascending ids where the clusters begin; the last cluster ends
            with V. Default: V / 10 and V / 2.5 (1000 and 4000 of 10,000).
        div_value: by what the width shrinks from cluster to cluster.
        bias_initializer: initializer of a bias over V ids, such as `Zipf`;
            clusters take their part of it, their entries in the head the sum.

    Raises:
        ValueError: if `cutoffs` are not ascending, or not within 1 and V − 1;
            if `div_value` is less than 1.

    Example:

    >>> layer = AdaptiveSoftmax(10, cutoffs=(5, 8), div_value=2)
    >>> nll = layer(ops.ones((1, 1, 2, 4)), ops.array([[[4, 9]]]))
    >>> log_probs = layer.log_probs(ops.ones((1, 4)))
    >>> round(float(ops.sum(ops.exp(log_probs))), 5)
    1.0

    Reference:
        - [Grave et al., 2017](https://arxiv.org/abs/1609.04309)
    """

    def __init__(
        self,
        vocabulary_size: int,
        cutoffs: Sequence[int] | None = None,
        div_value: int = 4,
        bias_initializer: str | keras.initializers.Initializer = "zeros",
        **kwargs,
    ) -> None:
        super().__init__(vocabulary_size, **kwargs)
        if cutoffs is None:
            cutoffs = (
                max(vocabulary_size // 10, 1),
                max(2 * vocabulary_size // 5, 2),
            )
        self.cutoffs = _check_cutoffs(cutoffs, vocabulary_size)
        if not div_value >= 1:
            raise ValueError(f"`div_value` must be >= 1. Received: {div_value}")
        self.div_value = div_value
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.head = keras.layers.Dense(
            self.cutoffs[0] + len(self.cutoffs),
            bias_initializer=self._head_bias,
            dtype=self.dtype_policy,
            name="head",
        )
        self.bottlenecks, self.clusters = [], []

    def build(
        self, hidden_shape: tuple, targets_shape: tuple | None = None
    ) -> None:
        units = hidden_shape[-1]
        self.head.build(hidden_shape)
        for i, (start, stop) in enumerate(self._ranges()):
            width = max(int(units / self.div_value ** (i + 1)), 1)
            bottleneck = keras.layers.Dense(
                width,
                use_bias=False,
                dtype=self.dtype_policy,
                name=f"bottleneck_{i}",
            )
            bottleneck.build((None, units))
            cluster = keras.layers.Dense(
                stop - start,
                bias_initializer=self._cluster_bias(start, stop),
                dtype=self.dtype_policy,
                name=f"cluster_{i}",
            )
            cluster.build((None, width))
            self.bottlenecks.append(bottleneck)
            self.clusters.append(cluster)

    def flat_nll(
        self,
        hidden: keras.KerasTensor,
        targets: keras.KerasTensor,
        mask: keras.KerasTensor,
        training: bool = False,
    ) -> keras.KerasTensor:
        first = self.cutoffs[0]
        head_targets = ops.where(targets < first, targets, 0)
        total = 0.0
        for i, (start, stop) in enumerate(self._ranges()):
            inside = ops.logical_and(targets >= start, targets < stop)
            head_targets = ops.where(inside, first + i, head_targets)
            total = total + linear_nll(
                hidden,
                *kernel_and_bias(self.clusters[i], hidden.dtype),
                ops.where(inside, targets - start, 0),
                ops.logical_and(mask, inside),
                training,
                *kernel_and_bias(self.bottlenecks[i], hidden.dtype),
            )
        return total + linear_nll(
            hidden,
            *kernel_and_bias(self.head, hidden.dtype),
            head_targets,
            mask,
            training,
        )

    def log_probs(self, hidden: keras.KerasTensor) -> keras.KerasTensor:
        """float32 log-probabilities: `(..., H)` to `(..., V)`."""
        # The layers are not called: quantised ones would round `hidden`, unlike
        # the loss.
        head = ops.log_softmax(ops.cast(linear(self.head, hidden), "float32"))
        first = self.cutoffs[0]
        parts = [head[..., :first]]
        for i, cluster in enumerate(self.clusters):
            logits = linear(cluster, linear(self.bottlenecks[i], hidden))
            inside = ops.log_softmax(ops.cast(logits, "float32"))
            parts.append(head[..., first + i : first + i + 1] + inside)
        return ops.concatenate(parts, axis=-1)

    def logits(self, hidden: keras.KerasTensor) -> keras.KerasTensor:
        return self.log_probs(hidden)

    def _ranges(self):
        stops = (*self.cutoffs[1:], self.vocabulary_size)
        return list(zip(self.cutoffs, stops))

    def _full_bias(self, dtype):
        return self.bias_initializer((self.vocabulary_size,), dtype=dtype)

    def _head_bias(self, shape, dtype=None):
        bias = self._full_bias(dtype)
        sums = [
            ops.logsumexp(bias[start:stop], keepdims=True)
            for start, stop in self._ranges()
        ]
        return ops.concatenate([bias[: self.cutoffs[0]], *sums])

    def _cluster_bias(self, start, stop):
        return lambda shape, dtype=None: self._full_bias(dtype)[start:stop]

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "cutoffs": self.cutoffs,
            "div_value": self.div_value,
            "bias_initializer": keras.initializers.serialize(
                self.bias_initializer
            ),
        }


def _check_cutoffs(cutoffs, vocabulary_size):
    cutoffs = list(cutoffs)
    bounds = [0, *cutoffs, vocabulary_size]
    if not cutoffs or any(a >= b for a, b in zip(bounds, bounds[1:])):
        raise ValueError(
            "`cutoffs` must be ascending ids between 1 and vocabulary_size − 1 "
            f"= {vocabulary_size - 1}. Received: {cutoffs}"
        )
    return cutoffs
