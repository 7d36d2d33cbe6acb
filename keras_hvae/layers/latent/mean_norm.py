"""Batch normalisation of posterior means, with a fixed scale."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_hvae")
class MeanNorm(keras.layers.Layer):
    """Gives posterior means a fixed spread: γ (μ − E μ) / sqrt(Var μ) + shift.

    E and Var are over the batch in training, moving averages of them in
    inference; γ is fixed, the shift learned. A posterior whose means are
    spread cannot be one and the same for all sentences: in training, against a
    standard normal prior, the average KL is at least about
    ½ Σ_d (γ² + shift_d²) nats. Against a prior that depends on the latent
    before there is no such bound.

    `call` assigns nothing, so that it may stand in a scan over the sentences
    of a document, one position at a time; `update` then takes all positions
    at once. Computed in float32.

    Args:
        scale: γ > 0.
        momentum: of the moving averages, in [0, 1).

    Call arguments:
        mean: μ, tensor of shape `(B, d)`.
        mask: bool tensor of shape `(B, 1)`, True where real.
        training: whether to take the batch's statistics; with less than two
            real rows there are none, and the moving ones are taken.

    Returns:
        float32 tensor of shape `(B, d)`.

    Raises:
        ValueError: if `scale` is not > 0 or `momentum` is outside [0, 1).

    Example:

    >>> layer = MeanNorm(0.5)
    >>> mean = ops.array([[1.0], [3.0]])
    >>> normed = layer(mean, ops.ones((2, 1), "bool"), training=True)
    >>> [round(float(x), 3) for x in ops.ravel(normed)]
    [-0.5, 0.5]

    Reference:
        - [Zhu et al., 2020](https://arxiv.org/abs/2004.12585) (BN-VAE)
    """

    epsilon = 1e-8

    def __init__(self, scale: float, momentum: float = 0.95, **kwargs) -> None:
        super().__init__(autocast=False, **kwargs)
        if not scale > 0:
            raise ValueError(f"`scale` must be > 0. Received: {scale}")
        if not 0 <= momentum < 1:
            raise ValueError(
                f"`momentum` must be in [0, 1). Received: {momentum}"
            )
        self.scale = scale
        self.momentum = momentum

    def build(self, mean_shape: tuple, mask_shape: tuple | None = None) -> None:
        for name, initializer, trainable in (
            ("shift", "zeros", True),
            ("moving_mean", "zeros", False),
            ("moving_variance", "ones", False),
        ):
            weight = self.add_weight(
                name=name,
                shape=(mean_shape[-1],),
                initializer=initializer,
                trainable=trainable,
                autocast=False,
                dtype="float32",
                aggregation="mean",
            )
            setattr(self, name, weight)

    def call(
        self,
        mean: keras.KerasTensor,
        mask: keras.KerasTensor,
        training: bool = False,
    ) -> keras.KerasTensor:
        mean = ops.cast(mean, "float32")
        center = ops.convert_to_tensor(self.moving_mean)
        variance = ops.convert_to_tensor(self.moving_variance)
        if training:
            count, *moments = self._moments(mean, mask)
            center, variance = (
                ops.where(count > 1, batch, moving)
                for batch, moving in zip(moments, (center, variance))
            )
        spread = ops.sqrt(variance + self.epsilon)
        return self.scale * (mean - center) / spread + self.shift

    def update(self, mean: keras.KerasTensor, mask: keras.KerasTensor) -> None:
        """Moves the averages towards those of a batch.

        Args:
            mean: the μ that were given to `call`, tensor of shape `(..., d)`.
            mask: bool tensor of shape `(..., 1)`.
        """
        mean = ops.stop_gradient(mean)
        count, *moments = self._moments(
            ops.reshape(mean, (-1, mean.shape[-1])), ops.reshape(mask, (-1, 1))
        )
        # A step that is not finite is left out (`optimizers.GuardedAdam`).
        finite = ops.all(ops.isfinite(ops.stack(moments)))
        counts = ops.logical_and(count > 1, finite)
        moving = self.moving_mean, self.moving_variance
        for weight, batch in zip(moving, moments):
            step = (1.0 - self.momentum) * (batch - weight)
            weight.assign(weight + ops.where(counts, step, 0.0))

    def _moments(self, mean, mask):
        """Number, mean and variance of the real rows."""
        real = ops.cast(mask, "float32")  # (R, 1)
        count = ops.sum(real)
        some = ops.maximum(count, 1.0)
        center = ops.sum(real * mean, axis=0) / some
        variance = ops.sum(real * ops.square(mean - center), axis=0) / some
        return count, center, variance

    def compute_mask(self, *args, **kwargs):
        return None  # The mask is an argument of `call`; the result has none.

    def compute_output_spec(self, mean: keras.KerasTensor, *args, **kwargs):
        return keras.KerasTensor(mean.shape, dtype="float32")

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "scale": self.scale,
            "momentum": self.momentum,
        }
