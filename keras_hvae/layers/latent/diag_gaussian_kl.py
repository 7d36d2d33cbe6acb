"""KL term between diagonal Gaussians: masked, weighted, with a floor."""

import keras
from keras import ops

from keras_hvae.arguments import check_choice
from keras_hvae.data.replicas import mean_over_replicas, own_loss
from keras_hvae.distributions import DiagGaussian
from keras_hvae.layers.latent.minimum_rate import MinimumRate
from keras_hvae.layers.reductions import count_documents

FREE_BITS_MODES = ("dimension", "sentence", "batch")


@keras.saving.register_keras_serializable("keras_hvae")
class DiagGaussianKL(keras.layers.Layer):
    """Adds β · KL(q || p) to the model's loss and returns the KL itself.

    Per sentence the KL of two diagonal Gaussians, in nats, in float32, 0
    where the mask is False. What is *returned* is always the plain KL. What
    is added to the loss with `add_loss` is, in training, `kl_weight` times
    the KL with its free-bits floor λ; in inference the plain KL (β = 1, no
    floor). Either is summed over the sentences of a document and averaged
    over the real documents of the batch.

    `free_bits` λ is in nats *a sentence* in each mode:

    - `"dimension"`: at each position Σ_d max(λ / d, KL_d), KL_d averaged
      over the batch: no dimension gains by dying (Kingma et al., 2016);
    - `"sentence"`: max(λ, KL) for each sentence of each document;
    - `"batch"`: at each position max(λ, KL averaged over the batch), so that
      sentences which say more may have more than those which say less.

    A floor is reached by whatever makes a KL, and most of that may be the same
    for all sentences. `rate` holds the *information* of the posteriors in its
    place, the part of the KL that differs between sentences: see
    `MinimumRate`.

    Args:
        kl_weight: initial β ≥ 0. The weight `layer.kl_weight` can be assigned
            at any time; `KLAnnealing` does so.
        free_bits: floor λ ≥ 0 in nats a sentence; 0 is no floor.
        free_bits_mode: one of `"dimension"`, `"sentence"`, `"batch"`.
        rate: optional information to be held, in nats a sentence, ≥ 0; 0 is
            none. Not together with `free_bits`; for tensors `(B, n, d)`.

    Call arguments:
        mean, log_var: posterior, tensors of shape `(B, ..., d)`.
        prior_mean, prior_log_var: prior, tensors that broadcast to the same
            shape. Defaults are the standard normal.
        mask: optional bool tensor of shape `(B, ...)`, True where real.
        sample: the z that was drawn from the posterior, of the shape of its
            mean; in training a `rate` needs it.
        training: whether to apply `kl_weight` and `free_bits`.

    Returns:
        float32 tensor of shape `(B, ...)`: the KL in nats.

    Raises:
        ValueError: for a negative weight, floor or rate, a floor and a rate,
            an unknown mode, or no `sample` in a training with a `rate`.

    Example:

    >>> layer = DiagGaussianKL()
    >>> float(layer(ops.ones((1, 1, 4)), ops.zeros((1, 1, 4)))[0, 0])
    2.0
    >>> len(layer.losses)
    1

    Reference:
        - [Kingma et al., 2016](https://arxiv.org/abs/1606.04934) (free bits)
    """

    def __init__(
        self,
        kl_weight: float = 1.0,
        free_bits: float = 0.0,
        free_bits_mode: str = "batch",
        rate: float | None = None,
        **kwargs,
    ) -> None:
        # A KL in half precision would be inexact: `call` casts its inputs to
        # float32.
        super().__init__(autocast=False, **kwargs)
        for name, value in (
            ("kl_weight", kl_weight),
            ("free_bits", free_bits),
            ("rate", rate or 0.0),
        ):
            if not value >= 0:
                raise ValueError(f"`{name}` must be >= 0. Received: {value}")
        check_choice(FREE_BITS_MODES, free_bits_mode=free_bits_mode)
        if rate and free_bits:
            raise ValueError(
                "`free_bits` must be 0 with a `rate`, which takes their place. "
                f"Received: free_bits={free_bits}, rate={rate}"
            )
        self.initial_kl_weight = kl_weight
        self.free_bits = free_bits
        self.free_bits_mode = free_bits_mode
        self.rate = rate
        self.minimum_rate = None
        if rate:
            self.minimum_rate = MinimumRate(
                rate, dtype="float32", name="minimum_rate"
            )
        self.kl_weight = self.add_weight(
            name="kl_weight",
            shape=(),
            initializer=keras.initializers.Constant(kl_weight),
            trainable=False,
            autocast=False,
            dtype="float32",
        )

    def build(self, mean_shape: tuple, *args, **kwargs) -> None:
        if self.minimum_rate is not None:
            self.minimum_rate.build(mean_shape[:-1], mean_shape)

    def call(
        self,
        mean: keras.KerasTensor,
        log_var: keras.KerasTensor,
        prior_mean: keras.KerasTensor = 0.0,
        prior_log_var: keras.KerasTensor = 0.0,
        mask: keras.KerasTensor | None = None,
        sample: keras.KerasTensor | None = None,
        training: bool = False,
    ) -> keras.KerasTensor:
        posterior, prior = keras.tree.map_structure(
            lambda x: ops.cast(x, "float32"),
            (
                DiagGaussian(mean, log_var),
                DiagGaussian(prior_mean, prior_log_var),
            ),
        )
        kl = posterior.kl(prior, per_dimension=True)  # (B, ..., d)
        if mask is None:
            mask = ops.ones_like(kl[..., 0], dtype="bool")
        real = ops.cast(mask, "float32")  # (B, ...)
        # `where`, not a product: a pad's statistics may be infinite.
        kl = ops.where(ops.cast(mask, "bool")[..., None], kl, 0.0)
        per_sentence = ops.sum(kl, axis=-1)  # (B, ...)
        if training:
            if self.minimum_rate is None:
                total = self._floored(kl, per_sentence, real)
            else:
                if sample is None:
                    raise ValueError(
                        "`sample` must be the posterior's z in a training "
                        "with a `rate`. Received: None"
                    )
                # In the units of its prior, which is N(0, I) then.
                scale = ops.exp(-0.5 * prior.log_var)
                cost = self.minimum_rate(
                    per_sentence,
                    scale * (ops.cast(sample, "float32") - prior.mean),
                    scale * (posterior.mean - prior.mean),
                    posterior.log_var - prior.log_var,
                    ops.cast(mask, "bool"),
                )
                total = ops.sum(cost)
            total = self.kl_weight * total
        else:
            total = ops.sum(per_sentence)
        self.add_loss(own_loss(total / count_documents(ops.cast(mask, "bool"))))
        return per_sentence

    def _floored(self, kl, per_sentence, real):
        """The batch's KL with its free-bits floor, summed."""
        if not self.free_bits:
            return ops.sum(per_sentence)
        if self.free_bits_mode == "sentence":
            return ops.sum(ops.maximum(per_sentence, self.free_bits) * real)
        # Over the global batch: the mean over replicas, as in
        # `count_documents`. (...): real sentences a position.
        count = mean_over_replicas(ops.sum(real, axis=0))
        if self.free_bits_mode == "batch":
            total = mean_over_replicas(ops.sum(per_sentence, axis=0))
            return ops.sum(ops.maximum(total, self.free_bits * count))
        total = mean_over_replicas(ops.sum(kl, axis=0))
        floor = self.free_bits / kl.shape[-1] * count[..., None]
        return ops.sum(ops.maximum(total, floor))

    def compute_mask(self, *args, **kwargs):
        return None  # The mask is an argument of `call`; the result has none.

    def compute_output_spec(self, mean: keras.KerasTensor, *args, **kwargs):
        return keras.KerasTensor(mean.shape[:-1], dtype="float32")

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "kl_weight": self.initial_kl_weight,
            "free_bits": self.free_bits,
            "free_bits_mode": self.free_bits_mode,
            "rate": self.rate,
        }
