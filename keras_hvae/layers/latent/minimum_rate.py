"""Information that posteriors are to carry: a minimum desired rate."""

import keras
from keras import ops

from keras_hvae.data.replicas import sum_over_replicas

GROUPS = 2  # The first sentence, whose prior is another, and all later ones.


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

    A loss D + β (KL − ν I), ν in [0, 1], makes information cheaper, and with
    ν = 1 free; the mismatch is always paid. With the error e = 1 − I / `rate`,

    ν = λ + `gain` · e, λ ← λ + `speed` · e with each batch, both in [0, 1]

    λ is the Lagrange multiplier of the constraint I ≥ `rate`; the term beside
    it damps its swings. Information is never paid for: where it does not lower
    D, or where the model cannot use so much, I stays below the rate.

    The covariance is that of about the last ten batches: one of fewer rows
    than dimensions says little, and over many batches posteriors that turn in
    their space would count as apart. Each batch counts with its scatter about
    its own averages, in units of its average σ², at each position: posteriors
    that drift from batch to batch, or differ by their place alone, say
    nothing. The first sentence and all later ones have a covariance and a ν of
    their own.

    Args:
        rate: I to be held, nats a sentence, > 0.
        momentum: of the moving sums, in [0, 1).
        speed, gain: see above; > 0 and ≥ 0.

    Call arguments:
        mean, log_var: of q(u | x), tensors of shape `(B, n, d)`.
        mask: bool tensor of shape `(B, n)`, True where real.

    Returns:
        float32 tensor of shape `(B, n)`: ν I of the sentence's group, nats, 0
        where the mask is False. Its gradient is that of ν I over the batch.

    Raises:
        ValueError: for an argument out of range.

    Example: half of the sentences say "yes", in both dimensions.

    >>> layer = MinimumRate(1.0)
    >>> yes = ops.array([[[1.0, 1.0]], [[-1.0, -1.0]]])
    >>> _ = layer(yes, ops.zeros((2, 1, 2)), ops.ones((2, 1), "bool"))
    >>> round(float(layer.information()[0]), 4)  # ½ log (1 + 2 · 2)
    0.8047

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
        dim = mean_shape[-1]
        for name, shape, initializer in (
            ("count", (GROUPS,), "zeros"),
            ("freedom", (GROUPS,), "zeros"),
            ("scatter", (GROUPS, dim, dim), "zeros"),
            ("log_var", (GROUPS,), "zeros"),
            ("multiplier", (GROUPS,), "ones"),
        ):
            weight = self.add_weight(
                name=name,
                shape=shape,
                initializer=initializer,
                trainable=False,
                autocast=False,
                dtype="float32",
                aggregation="mean",
            )
            setattr(self, name, weight)

    def call(
        self,
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
        place = ops.arange(ops.shape(mean)[1])
        group = ops.cast(ops.minimum(place, 1), "int32")  # (n,)
        count, center, variance = self._averages(mean, log_var, real)
        rest = real[..., None] * (mean - center) / ops.sqrt(variance)
        log_var = log_var - ops.log(variance)
        counts = self._add(
            *map(ops.stop_gradient, (rest, log_var)), real, count, group
        )
        precision, information = self._gaussian()
        step = self.speed * (1.0 - information / self.rate)
        multiplier = ops.convert_to_tensor(self.multiplier)
        moved = ops.clip(multiplier + step, 0.0, 1.0)
        self.multiplier.assign(ops.where(counts, moved, multiplier))
        # ½ log det C has the gradient of ½ Σ r C⁻¹ r / F, C⁻¹ taken as fixed.
        precision = ops.take(precision, group, axis=0)  # (n, d, d)
        square = ops.einsum("bnd,nde,bne->bn", rest, precision, rest)
        surrogate = 0.5 * (square - ops.sum(log_var, axis=-1))
        value = ops.take(information, group, axis=0)  # (n,)
        weight = ops.take(self._share(information), group, axis=0)
        exact = surrogate + ops.stop_gradient(value - surrogate)
        return real * weight * exact

    def information(self) -> keras.KerasTensor:
        """I of the first sentence and of later ones: nats, shape `(2,)`."""
        return self._gaussian()[-1]

    def free_share(self) -> keras.KerasTensor:
        """ν of the first sentence and of later ones: shape `(2,)`."""
        return self._share(self.information())

    def _share(self, information):
        error = 1.0 - information / self.rate
        return ops.clip(self.multiplier + self.gain * error, 0.0, 1.0)

    def mean_of(self, values: keras.KerasTensor) -> keras.KerasTensor:
        """The mean of `(2,)` values over sentences: a scalar."""
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

    def _add(self, rest, log_var, real, count, group):
        """Takes a batch into the sums; returns which groups it has, `(2,)`."""
        member = ops.cast(group == ops.arange(GROUPS)[:, None], "float32")
        sums = (
            ops.einsum("bnd,bne->nde", rest, rest),
            ops.sum(real[..., None] * log_var, axis=(0, 2)),
        )
        # A position has one degree of freedom less than sentences.
        batch = [count, ops.maximum(count - 1.0, 0.0)]
        batch += map(sum_over_replicas, sums)
        # (n, ...) to (2, ...)
        batch = [ops.tensordot(member, x, axes=1) for x in batch]
        # A step that is not finite is left out (`optimizers.GuardedAdam`).
        finite = ops.stack([ops.all(ops.isfinite(x)) for x in batch])
        counts = ops.logical_and(batch[0] > 0, ops.all(finite))
        weights = self.count, self.freedom, self.scatter, self.log_var
        for weight, x in zip(weights, batch):
            # A group without a row in this batch keeps what it had.
            shape = (GROUPS, *(1,) * (len(x.shape) - 1))
            old = ops.convert_to_tensor(weight)
            moved = self.momentum * old + x
            weight.assign(ops.where(ops.reshape(counts, shape), moved, old))
        return counts

    def _gaussian(self):
        """The gradient of 2 I by the scatter of a batch, and I `(2,)`.

        The former, `(2, d, d)`, is C⁻¹ over the degrees of freedom, times the
        number of sentences: I is summed over them.
        """
        sums = map(ops.convert_to_tensor, (self.count, self.freedom))
        count, freedom = (ops.where(x > 0, x, 1.0) for x in sums)
        # In units of E σ², whose own covariance is the identity.
        covariance = self.scatter / freedom[:, None, None]
        covariance = covariance + ops.eye(covariance.shape[-1])
        _, log_det = ops.slogdet(covariance)
        information = 0.5 * (log_det - self.log_var / count)
        share = ops.reshape(count / freedom, (-1, 1, 1))
        return share * ops.linalg.inv(covariance), information

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
