"""Information that posteriors are to carry: a minimum desired rate."""

import math

import keras
from keras import ops

from keras_hvae.data.replicas import global_rows, own_rows, sum_over_replicas

PLACES = 16  # positions with an I of their own; later ones share the last
BANK = 4096  # posteriors of the mixture
# The highest rate, in nats, that a mixture of so many can measure.
MEASURED = math.log(BANK) - 3.0
HIGHEST = 2.0  # of the multiplier
LOWEST_WEIGHT = 0.3  # of the KL: with none at all it might grow for ever


@keras.saving.register_keras_serializable("keras_hvae")
class MinimumRate(keras.layers.Layer):
    """Holds the information of posteriors at a rate, by a multiplier.

    In the units of its prior, u = (z − μ_p) / σ_p, every prior is N(0, I).
    With q(u) the average of all posteriors q(u | x),

    E KL(q(u | x) ‖ N(0, I)) = I + KL(q(u) ‖ N(0, I))
    I = E log q(u | x) − E log q(u)

    The last term of the first line is what *all* posteriors have in common
    against the prior: it tells nothing of x. I, the mutual information of x
    and u, is what tells them apart. q(u) is estimated by the mixture of the
    last N = 4,096 posteriors, that of u itself among them:

    I = log N − log Σ_j q(u | x_j) / q(u | x)

    so that dimensions that say the same count once, and to say the same more
    clearly counts nothing. Of N posteriors no more than log N = 7.6 nats can
    be told. Up to a rate of 5.3 (log N − 3) I is what is held (at 5 nats it
    is too low by 0.1 to 0.2); above it, the KL is held.

    In a loss D + β w (KL − ν I) information has a price, w (1 − ν), and the
    mismatch another, w. A multiplier λ in [0, 2] sets both. With the error
    e = 1 − I / `rate`, at each batch

    λ ← λ + `speed` · e,   l = λ + `gain` · e,   ν = min(l, 1),
    w = min(2 − l, 1), at least 0.3

    λ starts at 2, as an autoencoder whose latents learn to tell sentences
    apart. From l = 1 on the mismatch is paid in full and information is free;
    at 0 the loss is the ELBO's. λ is the multiplier of the constraint I ≥
    `rate`, the term of `gain` damps its swings; a larger one, or a longer
    average, makes them (I answers within ten batches). λ rests while l is at
    an end of its range and would go outwards, else it would have to come back
    first (the anti-windup of integral controllers). Information is free at
    most: if it were paid for, posteriors would find ways that raise I and lower
    no D. What a KL has above log N nats costs w, so that it has to lower D.
    Where the model cannot use so much, I stays below the rate.

    Posteriors are taken about the averages of their position in the batch, in
    units of their average σ²: those that differ by their place alone say
    nothing. Each position has an I, a moving average, and a multiplier of its
    own; from the 16th on they share one.

    Args:
        rate: nats a sentence to be held, > 0.
        momentum: of the moving average, in [0, 1).
        speed, gain: see above; > 0 and ≥ 0.

    Call arguments:
        kl: KL(q ‖ p) of each sentence, tensor of shape `(B, n)`.
        sample: u, one of each posterior, tensor of shape `(B, n, d)`.
        mean, log_var: of q(u | x), tensors of the same shape.
        mask: bool tensor of shape `(B, n)`, True where real.

    Returns:
        float32 tensor of shape `(B, n)`: w (KL − ν I), nats, 0 where the mask
        is False. Its gradient takes the mixture's posteriors as fixed, as on
        average the gradient of log q(u) by them is 0.

    Raises:
        ValueError: for an argument out of range.

    Example: half of the sentences say "yes", in both dimensions.

    >>> layer = MinimumRate(1.0)
    >>> said = ops.tile([[[9.0, 9.0]], [[-9.0, -9.0]]], (500, 1, 1))
    >>> kl = ops.ones((1000, 1))
    >>> mask = ops.cast(kl, "bool")
    >>> cost = layer(kl, said, said, ops.zeros((1000, 1, 2)), mask)
    >>> round(float(layer.held()[0]), 2)  # log 2
    0.69

    Reference:
        - [Pelsmaeker and Aziz, 2020](https://arxiv.org/abs/1904.08194)
          (minimum desired rate)
        - [Rezende and Viola, 2018](https://arxiv.org/abs/1810.00597)
          (constraints by multipliers)
        - [Hoffman and Johnson, 2016](
          https://approximateinference.org/accepted/HoffmanJohnson2016.pdf)
          (the KL as information and mismatch)
    """

    def __init__(
        self,
        rate: float,
        momentum: float = 0.5,
        speed: float = 0.05,
        gain: float = 2.0,
        **kwargs,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        for name, value in (("rate", rate), ("speed", speed)):
            if not value > 0:
                raise ValueError(f"`{name}` must be > 0. Received: {value}")
        if not 0 <= momentum < 1:
            raise ValueError(
                f"`momentum` must be in [0, 1). Received: {momentum}"
            )
        if not gain >= 0:
            raise ValueError(f"`gain` must be >= 0. Received: {gain}")
        self.rate = rate
        self.momentum = momentum
        self.speed = speed
        self.gain = gain

    def build(self, kl_shape: tuple, sample_shape: tuple, *args) -> None:
        for name, shape, initializer in (
            ("count", (PLACES,), 0.0),
            ("nats", (PLACES,), 0.0),
            ("multiplier", (PLACES,), HIGHEST),
            ("mixture", (BANK, 1 + 2 * sample_shape[-1]), 0.0),
        ):
            weight = self.add_weight(
                name=name,
                shape=shape,
                initializer=keras.initializers.Constant(initializer),
                trainable=False,
                autocast=False,
                dtype="float32",
                aggregation="mean",
            )
            setattr(self, name, weight)

    def call(
        self,
        kl: keras.KerasTensor,
        sample: keras.KerasTensor,
        mean: keras.KerasTensor,
        log_var: keras.KerasTensor,
        mask: keras.KerasTensor,
    ) -> keras.KerasTensor:
        real = ops.cast(mask, "float32")
        # `where`, not a product: a pad's statistics may be infinite.
        sample, mean, log_var = (
            ops.where(mask[..., None], ops.cast(x, "float32"), 0.0)
            for x in (sample, mean, log_var)
        )
        kl = ops.where(mask, ops.cast(kl, "float32"), 0.0)
        place = ops.arange(ops.shape(mean)[1])
        place = ops.cast(ops.minimum(place, PLACES - 1), "int32")  # (n,)
        count, center, variance = self._averages(mean, log_var, real)
        mean, sample = (
            (x - center) / ops.sqrt(variance) for x in (mean, sample)
        )
        log_var = log_var - ops.log(variance)
        mixture, at = self._mixture(mean, log_var, real)
        information = self._information(sample, mean, log_var, mixture, at)
        held = information if self.rate <= MEASURED else kl
        total = ops.sum(real * ops.stop_gradient(held), axis=0)
        # (n,) to (16,)
        member = ops.cast(place == ops.arange(PLACES)[:, None], "float32")
        self._update(
            ops.matmul(member, count),
            ops.matmul(member, sum_over_replicas(total)),
            mixture,
        )
        level = ops.take(self.level(), place, axis=0)
        free = ops.minimum(level, 1.0)
        weight = ops.clip(HIGHEST - level, LOWEST_WEIGHT, 1.0)
        return real * weight * (kl - free * information)

    def held(self) -> keras.KerasTensor:
        """What is held, at each position: nats, `(16,)`; 0 of none seen."""
        count = ops.convert_to_tensor(self.count)
        return self.nats / ops.where(count > 0, count, 1.0)

    def level(self) -> keras.KerasTensor:
        """l at each position: shape `(16,)`."""
        return ops.clip(self._level(), 0.0, HIGHEST)

    def _level(self):
        return self.multiplier + self.gain * (1.0 - self.held() / self.rate)

    def mean_of(self, values: keras.KerasTensor) -> keras.KerasTensor:
        """The mean of `(16,)` values over sentences: a scalar."""
        count = ops.convert_to_tensor(self.count)
        return ops.sum(count * values) / ops.maximum(ops.sum(count), 1e-6)

    def _averages(self, mean, log_var, real):
        """At each position: sentences `(n,)`, E μ and E σ², `(n, d)`."""
        count = sum_over_replicas(ops.sum(real, axis=0))
        total = sum_over_replicas(ops.sum(mean, axis=0))
        noise = ops.sum(real[..., None] * ops.exp(log_var), axis=0)
        noise = sum_over_replicas(noise)
        some = ops.maximum(count, 1.0)[:, None]
        seen = count[:, None] > 0
        return count, total / some, ops.where(seen, noise / some, 1.0)

    def _mixture(self, mean, log_var, real):
        """The last posteriors, this batch's first; where each row is.

        Returns:
            1 where there is one, μ and log σ², `(BANK, 1 + 2 d)`, and the
            number of each of this replica's rows, `(B · n,)`.
        """
        rows = ops.concatenate([real[..., None], mean, log_var], axis=-1)
        rows = ops.stop_gradient(ops.reshape(rows, (-1, rows.shape[-1])))
        rows = global_rows(rows)
        # Padding last. The keys are all different, as sorts need not be stable.
        size = ops.shape(rows)[0]
        padding = ops.cast(rows[:, 0] == 0, "int32")
        order = ops.argsort(ops.arange(size) + size * padding)
        rows = ops.take(rows, order, axis=0)
        old = ops.convert_to_tensor(self.mixture)
        new = ops.concatenate([rows, old], axis=0)[:BANK]
        return new, own_rows(ops.argsort(order))

    def _information(self, sample, mean, log_var, mixture, at):
        """log q(u | x) − log q(u) of each sentence, `(B, n)`."""
        noise = (sample - mean) * ops.exp(-0.5 * log_var)
        own = -0.5 * ops.sum(ops.square(noise) + log_var, axis=-1)  # (B, n)
        d = sample.shape[-1]
        there, means, log_vars = ops.split(mixture, [1, 1 + d], axis=-1)
        # Σ (u − μ)² / σ² of each u and each posterior, by products.
        u = ops.reshape(sample, (-1, d))
        precision = ops.exp(-log_vars)
        square = (
            ops.square(u) @ ops.transpose(precision)
            - 2.0 * u @ ops.transpose(means * precision)
            + ops.sum(means * means * precision, axis=-1)
        )
        square = ops.maximum(square, 0.0)  # but for rounding
        others = -0.5 * (square + ops.sum(log_vars, axis=-1))
        other = at[:, None] != ops.arange(BANK)
        other = ops.logical_and(other, there[:, 0] > 0)
        ratios = ops.where(other, others - ops.reshape(own, (-1, 1)), -1e30)
        ratios = ops.pad(ratios, ((0, 0), (0, 1)))  # its own, log 1
        number = 1.0 + ops.sum(ops.cast(other, "float32"), axis=1)
        nats = ops.log(number) - ops.logsumexp(ratios, axis=1)
        return ops.reshape(nats, ops.shape(own))

    def _update(self, count, nats, mixture):
        """Takes a batch into averages and mixture; moves the multipliers."""
        # A position without a row in this batch keeps what it had, and a step
        # that is not finite is left out (`optimizers.GuardedAdam`).
        finite = ops.all(ops.isfinite(nats)) & ops.all(ops.isfinite(mixture))
        old = ops.convert_to_tensor(self.mixture)
        self.mixture.assign(ops.where(finite, mixture, old))
        counts = ops.logical_and(count > 0, finite)
        for weight, x in ((self.count, count), (self.nats, nats)):
            old = ops.convert_to_tensor(weight)
            moved = self.momentum * old + x
            weight.assign(ops.where(counts, moved, old))
        step = self.speed * (1.0 - self.held() / self.rate)
        level = self._level()
        outwards = ops.logical_or(
            ops.logical_and(level >= HIGHEST, step > 0),
            ops.logical_and(level <= 0.0, step < 0),
        )
        counts = ops.logical_and(counts, ops.logical_not(outwards))
        old = ops.convert_to_tensor(self.multiplier)
        moved = ops.clip(old + step, 0.0, HIGHEST)
        self.multiplier.assign(ops.where(counts, moved, old))

    def compute_mask(self, *args, **kwargs):
        return None  # The mask is an argument of `call`; the result has none.

    def compute_output_spec(self, kl, sample, *args, **kwargs):
        return keras.KerasTensor(sample.shape[:-1], dtype="float32")

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "rate": self.rate,
            "momentum": self.momentum,
            "speed": self.speed,
            "gain": self.gain,
        }
