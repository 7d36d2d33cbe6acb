"""A linear layer and the softmax's cross-entropy, fused."""

import keras
from keras import ops

from keras_hvae.layers.recurrent.devices import on_gpu
from keras_hvae.layers.recurrent.xla import opaque
from keras_hvae.layers.shards import on_own_rows

# Most logits in memory at a time (64 MiB in float32, 512 MiB on a GPU, which
# would wait for many small products), and bounds of the number of rows.
MOST_LOGITS, MOST_LOGITS_ON_GPU = 2**24, 2**27
ROWS, ROWS_ON_GPU = (128, 4096), (128, 2**14)


def linear_nll(
    hidden: keras.KerasTensor,
    kernel: keras.KerasTensor,
    bias: keras.KerasTensor,
    targets: keras.KerasTensor,
    mask: keras.KerasTensor,
    training: bool = False,
    bottleneck: keras.KerasTensor | None = None,
) -> keras.KerasTensor:
    """−log softmax(h W + b)[target] of the rows where `mask` is True.

    With a bottleneck C it is −log softmax(h C W + b)[target].

    The logits of the whole batch never exist: real rows are taken chunk by
    chunk. In training, a chunk's gradients are computed along with it, as if
    all rows' losses are to be summed with one weight; if the gradient that
    comes back says otherwise, they are computed again.

    Args:
        hidden: h, tensor of shape `(N, H)`.
        kernel: W, tensor of shape `(H, V)`.
        bias: b, tensor of shape `(V,)`.
        targets: int tensor of shape `(N,)`.
        mask: bool tensor of shape `(N,)`.
        training: whether to compute gradients on the way.
        bottleneck: optional C, tensor of shape `(G, H)` for h of width G.

    Returns:
        float32 tensor of shape `(N,)`, in nats; 0 where `mask` is False.
    """
    weights = (
        (kernel, bias) if bottleneck is None else (kernel, bias, bottleneck)
    )

    def run(hidden, targets, mask, *weights):
        return _fused(hidden, targets, mask, training, *weights)

    return on_own_rows(run, (hidden, targets, mask), weights)


def _fused(hidden, targets, mask, training, *weights):
    rows, vocabulary_size = ops.shape(hidden)[0], weights[0].shape[1]
    count = opaque(ops.sum(ops.cast(mask, "int32")))
    order = ops.argsort(ops.cast(ops.logical_not(mask), "int32"))
    size = _chunk(vocabulary_size, MOST_LOGITS, ROWS)
    # Of the last chunk some is wasted where shapes are static.
    fixed = keras.config.backend() == "jax"
    if on_gpu():
        most = _chunk(vocabulary_size, MOST_LOGITS_ON_GPU, ROWS_ON_GPU)
        size = min(most, max(size, rows // 16)) if fixed else most
    elif fixed:
        size = min(size, max(ROWS[0], rows // 32))
    if not fixed:
        # Chunks of one size, so that no position of them is wasted.
        chunks = ops.maximum(-(-count // size), 1)
        size = ops.maximum(-(-count // chunks), 1)

    def loop(hidden, weights, scales=None, gradients=True):
        """nll, and the gradients of Σ scales · nll if asked for.

        That of `hidden` without `scales`.
        """
        kernel, bias, *narrow = weights
        kernel_t = ops.transpose(kernel)
        places = ops.arange(size, dtype="int32")

        def body(start, nll, *sums):
            live = start + places < count
            # Out-of-range rows scatter into scratch rows past N.
            at = ops.take(order, ops.minimum(start + places, rows - 1))
            at = ops.where(live, ops.cast(at, "int32"), rows + places)
            real = ops.minimum(at, rows - 1)
            h, target = ops.take(hidden, real, 0), ops.take(targets, real, 0)
            u = ops.matmul(h, narrow[0]) if narrow else h
            logits = ops.cast(ops.matmul(u, kernel) + bias, "float32")
            p = ops.softmax(logits)
            # log Σ exp, shifted by the largest entry, without another pass over
            # all logits.
            log_sum = ops.max(logits, -1) - ops.log(ops.max(p, -1))
            own = ops.take_along_axis(logits, target[:, None], 1)[:, 0]
            nll = ops.scatter_update(nll, at[:, None], log_sum - own)
            if gradients:
                d_hidden, d_kernel, d_bias, *d_narrow = sums
                own_p = ops.take_along_axis(p, target[:, None], 1)[:, 0]
                d = ops.scatter_update(
                    p, ops.stack([places, target], axis=1), own_p - 1
                )
                scale = ops.cast(live, "float32")
                if scales is not None:
                    scale = scale * ops.take(scales, real, 0)
                d_bias = d_bias + ops.matmul(scale[None], d)[0]
                d = ops.cast(d, h.dtype)
                scale = ops.cast(scale, h.dtype)[:, None]
                d_kernel = d_kernel + _outer(u * scale, d)
                d = ops.matmul(d, kernel_t)
                if narrow:
                    d_narrow = [d_narrow[0] + _outer(h * scale, d)]
                    d = ops.matmul(d, ops.transpose(narrow[0]))
                d_hidden = ops.scatter_update(d_hidden, at[:, None], d)
                sums = d_hidden, d_kernel, d_bias, *d_narrow
            return start + size, nll, *sums

        state = [ops.zeros((rows + size,), "float32")]
        if gradients:
            zeros = ops.zeros((rows + size, hidden.shape[-1]), hidden.dtype)
            state += [zeros, *(ops.zeros(x.shape, "float32") for x in weights)]
        start = ops.zeros((), "int32")
        _, nll, *sums = ops.while_loop(
            lambda start, *_: start < count, body, (start, *state)
        )
        if gradients:
            sums[0] = sums[0][:rows]
        return nll[:rows], sums

    @ops.custom_gradient
    def fused(hidden, *weights):
        nll, sums = loop(hidden, weights, gradients=training)

        def grad(*args, upstream=None):
            if upstream is None:
                (upstream,) = args
            inf = float("inf")
            lowest = ops.min(ops.where(mask, upstream, inf), initial=inf)
            highest = ops.max(ops.where(mask, upstream, -inf), initial=-inf)
            scale = ops.where(count > 0, highest, 0.0)

            def again():
                return tuple(loop(hidden, weights, upstream)[1])

            def scaled():
                return sums[0], *(x * scale for x in sums[1:])

            if training:
                gradients = ops.cond(lowest < highest, again, scaled)
            else:
                gradients = again()
            d_hidden = gradients[0] * ops.cast(upstream, hidden.dtype)[:, None]
            return d_hidden, *(
                ops.cast(x, w.dtype) for x, w in zip(gradients[1:], weights)
            )

        return nll, grad

    return fused(hidden, *weights)


def _chunk(vocabulary_size, most_logits, rows):
    """How many rows are taken at a time."""
    return min(max(most_logits // vocabulary_size, rows[0]), rows[1])


def _outer(x, y):
    return ops.cast(ops.matmul(ops.transpose(x), y), "float32")
