"""Information that posteriors are to carry: a minimum desired rate."""

import math

import keras
from keras import ops

from keras_hvae.data.replicas import sum_over_replicas

PLACES = 16  # positions with an I of their own; later ones share the last
HIGHEST = 2.0  # of the multiplier
LOWEST_WEIGHT = 0.1  # of the KL: with none at all it might grow for ever


@keras.saving.register_keras_serializable("keras_hvae")
class MinimumRate(keras.layers.Layer):
    """Holds the information of posteriors at a rate, by a multiplier.

    In the units of its prior, u = (z − μ_p) / σ_p, every prior is N(0, I).
    With N(m, C) the Gaussian that has the moments of all posteriors q(u | x),
    C = Cov μ + diag E σ²,

    E KL(q ‖ N(0, I)) = I + KL(N(m, C) ‖ N(0, I))
    I = E KL(q ‖ N(m, C)) = ½ log det C − ½ E Σ_d log σ_d²

    The last term of the first line is what *all* posteriors have in common
    against the prior: it tells nothing of x. I, the *rate*, is what tells them
    apart. Dimensions that say the same count once in it. It is an upper
    bound of the mutual information, I(x; u) = I − KL(q(u) ‖ N(m, C)), and a
    tight one where the average q(u) of the posteriors is near a Gaussian.

    In a loss D + β w (KL − ν I) information has a price, w (1 − ν), and the
    mismatch another, w. A multiplier λ in [0, 2] sets both. With the error
    e = 1 − I / `rate`, at each batch

    λ ← λ + `speed` · e,   l = λ + `gain` · e,   ν = min(l, 1),
    w = min(2 − l, 1), at least 0.1

    It starts at 2, as an autoencoder whose latents learn to tell sentences
    apart. From λ = 1 on the mismatch is paid in full and information is free;
    at 0 the loss is the ELBO's. λ is the multiplier of the constraint
    I ≥ `rate`, the term of `gain` damps its swings. Information is never paid
    for: but for the error of I in few rows, the loss is not less than D. (If
    they were paid, posteriors would find ways that raise I and lower no D.)
    Where the model cannot use so much, I stays below the rate.

    C is that of a batch: over several batches posteriors that turn in their
    space would count as apart. It is taken about the averages of each position,
    in units of their average σ²: posteriors that differ by their place alone
    say nothing. log det C of few rows is too small; the first term of what it
    lacks on average is added, k (k + 1) / 2F, F degrees of freedom, k = tr
    (1 − C⁻¹) dimensions in use. Each position has an I, a moving average, and
    a multiplier of its own; from the 16th on they share one.

    Args:
        rate: I to be held, nats a sentence, > 0.
        momentum: of the moving average, in [0, 1).
        speed, gain: see above; > 0 and ≥ 0.

    Call arguments:
        kl: KL(q ‖ p) of each sentence, tensor of shape `(B, n)`.
        mean, log_var: of q(u | x), tensors of shape `(B, n, d)`.
        mask: bool tensor of shape `(B, n)`, True where real.

    Returns:
        float32 tensor of shape `(B, n)`: w (KL − ν I), nats, 0 where the mask
        is False. Its gradient is that of the batch's sum of this.

    Raises:
        ValueError: for an argument out of range.

    Example: half of the sentences say "yes", in both dimensions.

    >>> layer = MinimumRate(1.0)
    >>> said = ops.tile([[[1.0, 1.0]], [[-1.0, -1.0]]], (500, 1, 1))
    >>> kl = ops.ones((1000, 1))  # ½ Σ μ²
    >>> cost = layer(kl, said, ops.zeros((1000, 1, 2)), ops.cast(kl, "bool"))
    >>> round(float(layer.information()[0]), 2)  # ½ log (1 + 2)
    0.55

    Reference:
        - [Pelsmaeker and Aziz, 2020](https://arxiv.org/abs/1904.08194)
          (minimum desired rate)
        - [Rezende and Viola, 2018](https://arxiv.org/abs/1810.00597)
          (constraints by multipliers)
    """

    def __init__(
        self,
        rate: float,
        momentum: float = 0.9,
        speed: float = 0.01,
        gain: float = 4.0,
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

    def build(self, mean_shape: tuple, *args, **kwargs) -> None:
        for name, initializer in (
            ("count", 0.0),
            ("nats", 0.0),
            ("multiplier", HIGHEST),
        ):
            weight = self.add_weight(
                name=name,
                shape=(PLACES,),
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
        mean: keras.KerasTensor,
        log_var: keras.KerasTensor,
        mask: keras.KerasTensor,
    ) -> keras.KerasTensor:
        real = ops.cast(mask, "float32")
        # `where`, not a product: a pad's statistics may be infinite.
        mean, log_var = (
            ops.where(mask[..., None], ops.cast(x, "float32"), 0.0)
            for x in (mean, log_var)
        )
        kl = ops.where(mask, ops.cast(kl, "float32"), 0.0)
        place = ops.arange(ops.shape(mean)[1])
        place = ops.cast(ops.minimum(place, PLACES - 1), "int32")  # (n,)
        count, center, variance = self._averages(mean, log_var, real)
        rest = real[..., None] * (mean - center) / ops.sqrt(variance)
        log_var = log_var - ops.log(variance)
        gradient, information, count = self._gaussian(
            ops.stop_gradient(rest),
            ops.stop_gradient(log_var),
            real,
            count,
            place,
        )
        self._update(count, information)
        level = self.level()
        # ½ log det C has the gradient of ½ Σ r C⁻¹ r / F, C⁻¹ taken as fixed.
        gradient, information, level = (
            ops.take(x, place, axis=0) for x in (gradient, information, level)
        )
        square = ops.einsum("bnd,nde,bne->bn", rest, gradient, rest)
        surrogate = 0.5 * (square - ops.sum(log_var, axis=-1))
        exact = surrogate + ops.stop_gradient(information - surrogate)
        free = ops.minimum(level, 1.0)
        weight = ops.clip(HIGHEST - level, LOWEST_WEIGHT, 1.0)
        return real * weight * (kl - free * exact)

    def information(self) -> keras.KerasTensor:
        """I at each position: nats, shape `(16,)`; 0 where none was seen."""
        count = ops.convert_to_tensor(self.count)
        return self.nats / ops.where(count > 0, count, 1.0)

    def level(self) -> keras.KerasTensor:
        """l at each position: shape `(16,)`."""
        error = 1.0 - self.information() / self.rate
        return ops.clip(self.multiplier + self.gain * error, 0.0, HIGHEST)

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

    def _gaussian(self, rest, log_var, real, count, place):
        """Of the batch: the gradient of 2 I by the scatter, I, and sentences.

        The first, `(16, d, d)`, is C⁻¹ over the degrees of freedom, times the
        number of sentences, as I is summed over them. The others are `(16,)`.
        """
        member = ops.cast(place == ops.arange(PLACES)[:, None], "float32")
        sums = (
            ops.einsum("bnd,bne->nde", rest, rest),
            ops.sum(real[..., None] * log_var, axis=(0, 2)),
        )
        # A position has one degree of freedom less than sentences.
        sums = [count, ops.maximum(count - 1.0, 0.0)] + [
            sum_over_replicas(x) for x in sums
        ]
        # (n, ...) to (16, ...)
        count, freedom, scatter, log_var = (
            ops.tensordot(member, x, axes=1) for x in sums
        )
        some, freedom = (ops.maximum(x, 1.0) for x in (count, freedom))
        # In units of E σ², whose own covariance is the identity.
        eye = ops.eye(rest.shape[-1])
        covariance = scatter / freedom[:, None, None]
        # TensorFlow raises for a matrix without an inverse: one that is not
        # finite, or where rounding leaves nothing of the identity.
        finite = ops.all(ops.isfinite(covariance), axis=(1, 2))
        covariance = ops.where(finite[:, None, None], covariance, 0.0)
        largest = ops.max(ops.diagonal(covariance, axis1=1, axis2=2), axis=-1)
        covariance = covariance + (1.0 + 1e-6 * largest)[:, None, None] * eye
        _, log_det = ops.slogdet(covariance)
        inverse = ops.linalg.inv(covariance)
        used = ops.trace(eye - inverse, axis1=1, axis2=2)
        log_det = log_det + used * (used + 1.0) / (2.0 * freedom)
        information = 0.5 * (log_det - log_var / some)
        information = ops.where(finite, information, math.nan)
        return (some / freedom)[:, None, None] * inverse, information, count

    def _update(self, count, information):
        """Takes a batch into the moving average; moves the multipliers."""
        # A position without a row in this batch keeps what it had, and a step
        # that is not finite is left out (`optimizers.GuardedAdam`).
        counts = ops.logical_and(count > 0, ops.all(ops.isfinite(information)))
        for weight, x in (
            (self.count, count),
            (self.nats, count * information),
        ):
            old = ops.convert_to_tensor(weight)
            moved = self.momentum * old + x
            weight.assign(ops.where(counts, moved, old))
        step = self.speed * (1.0 - self.information() / self.rate)
        old = ops.convert_to_tensor(self.multiplier)
        moved = ops.clip(old + step, 0.0, HIGHEST)
        self.multiplier.assign(ops.where(counts, moved, old))

    def compute_mask(self, *args, **kwargs):
        return None  # The mask is an argument of `call`; the result has none.

    def compute_output_spec(self, mean: keras.KerasTensor, *args, **kwargs):
        return keras.KerasTensor(mean.shape[:-1], dtype="float32")

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "rate": self.rate,
            "momentum": self.momentum,
            "speed": self.speed,
            "gain": self.gain,
        }
