"""The chain of latents, one a sentence: posterior, prior, roll-out."""

import keras
from keras import ops

from keras_hvae.arguments import check_choice, check_positive_int
from keras_hvae.data import replicas
from keras_hvae.distributions import DiagGaussian
from keras_hvae.layers.latent.gaussian_head import GaussianHead, bounded_below
from keras_hvae.layers.latent.mean_norm import MeanNorm
from keras_hvae.layers.latent.sampling import Sampling
from keras_hvae.layers.latent.transition import Transition
from keras_hvae.layers.recurrent.scan import scan

PRIORS = ("shared", "learned")
INITIAL_PRIORS = ("standard", "empirical")
PASTS = ("latents", "text")
# The lowest log σ² of posteriors and of priors, where they are bounded.
POSTERIOR_LOWEST, PRIOR_LOWEST = -7.0, -4.0


@keras.saving.register_keras_serializable("keras_hvae")
class LatentChain(keras.layers.Layer):
    """Latents z_1 … z_n, each depending on the one before it.

    With contexts c_i (forward) and b (backward, the whole document):

    - t_1 = tanh(W b), t_i = f_z(c_i, z_{i−1});
    - posterior q_i = N(f_μ(t_i), f_σ(t_i)), z_i drawn from it;
    - decoder context d_i = tanh(W z_i);
    - prior p_1 = N(0, I) or the empirical one, p_i = N(f_μ(s_i), f_σ(s_i))
      with s_i = f_z(d_{i−1}, z_{i−1}).

    With `prior="shared"` prior and posterior use the same f_z, f_μ and f_σ,
    fed the decoder's context instead of the encoder's; with `"learned"` the
    prior has its own.

    With `past="text"` prior and decoder know the text before, too: for i ≥ 2
    s_i = f_z(c_{i−1}, z_{i−1}), and the decoder context is [d_i; c_{i−1}], of
    the first sentence [d_1; 0]. Then b should know nothing of later
    sentences, which are still to be written: see `ContextEncoder`,
    `inference="filtering"`.

    Padded sentences carry the latent before them on, so they change nothing.

    Args:
        latent_dim: dimension d of each latent.
        units: width of t_i, and of d_i when `prior="learned"`. With
            `"shared"`, d_i takes the width of the contexts.
        transition: f_z, one of `"rnn"`, `"concat"`, `"sum"`, `"gated"`;
            see `Transition`.
        prior: `"shared"` or `"learned"`.
        initial_prior: `"standard"` for N(0, I) or `"empirical"`: the weights
            `initial_mean` and `initial_log_var`, set by
            `HVAE.fit_initial_prior`.
        seed: int, optional.
        mean_norm: optional γ > 0: the means of the posterior, not of the
            prior, are batch-normalised with this scale, at each position over
            the real sentences there. In inference the statistics are moving
            averages, of the first position and of all others. See
            `MeanNorm`.
        past: what later sentences know of the ones before: `"latents"` or
            `"text"`.
        bounded: whether log σ² is kept above −7 in posteriors and above −4
            in the priors p_2 … p_n. A prior that is far too sure of a
            dimension makes a KL of thousands of nats out of a small step of
            the posterior's mean, and where information is free (see
            `MinimumRate`) nothing holds it back.

    Call arguments:
        contexts: c, tensor of shape `(B, n, H)`.
        backward: b, tensor of shape `(B, H)`.
        mask: optional bool tensor of shape `(B, n)`, True where real.
        noise: optional tensor of shape `(B, n, d)` to use for the draws'
            ε; zeros give the path of the posterior means.
        training: whether `mean_norm` is to use the batch's statistics.

    Returns:
        A dict: `"z"`, `"mean"`, `"log_var"`, `"prior_mean"`,
        `"prior_log_var"`, float32 of shape `(B, n, d)`, and `"context"`, the
        decoder contexts, of shape `(B, n, H_d)`, with `past="text"`
        `(B, n, H_d + H)`.

    Raises:
        ValueError: for a bad `latent_dim`, `units` or `mean_norm` or an
            unknown name.

    Example:

    >>> chain = LatentChain(2, units=4, seed=0)
    >>> out = chain(ops.ones((1, 3, 5)), ops.ones((1, 5)))
    >>> tuple(out["z"].shape), tuple(out["context"].shape)
    ((1, 3, 2), (1, 3, 5))
    """

    def __init__(
        self,
        latent_dim: int,
        units: int,
        transition: str = "concat",
        prior: str = "shared",
        initial_prior: str = "standard",
        seed: int | None = None,
        mean_norm: float | None = None,
        past: str = "latents",
        bounded: bool = False,
        **kwargs,
    ) -> None:
        # Half precision would round `noise` and the first prior.
        super().__init__(autocast=False, **kwargs)
        check_positive_int(latent_dim=latent_dim, units=units)
        check_choice(PRIORS, prior=prior)
        check_choice(INITIAL_PRIORS, initial_prior=initial_prior)
        check_choice(PASTS, past=past)
        self.latent_dim = latent_dim
        self.units = units
        self.transition = transition
        self.prior = prior
        self.initial_prior = initial_prior
        self.seed = seed
        self.mean_norm = mean_norm
        self.past = past
        self.bounded = bounded

        policy = self.dtype_policy
        self.sampling = Sampling(seed=seed, dtype="float32", name="sampling")
        self.initial = keras.layers.Dense(
            units, activation="tanh", dtype=policy, name="initial"
        )
        self.f_z = Transition(units, transition, dtype=policy, name="f_z")
        lowest = POSTERIOR_LOWEST if bounded else None
        self.head = GaussianHead(latent_dim, lowest, dtype=policy, name="head")
        if prior == "learned":
            self.prior_f_z = Transition(
                units, transition, dtype=policy, name="prior_f_z"
            )
            self.prior_head = GaussianHead(
                latent_dim, lowest, dtype=policy, name="prior_head"
            )
        else:
            self.prior_f_z, self.prior_head = self.f_z, self.head
        if mean_norm is not None:
            if not mean_norm > 0:
                raise ValueError(
                    f"`mean_norm` must be > 0 or None. Received: {mean_norm}"
                )
            # t_1 has its own layer, as its means are distributed differently.
            self.first_norm, self.norm = (
                MeanNorm(mean_norm, dtype="float32", name=name)
                for name in ("first_norm", "norm")
            )

    def build(
        self, contexts_shape: tuple, backward_shape: tuple, *args, **kwargs
    ) -> None:
        width = contexts_shape[-1]
        latent, hidden = (None, self.latent_dim), (None, self.units)
        self.initial.build((None, backward_shape[-1]))
        self.f_z.build((None, width), latent)
        self.head.build(hidden)
        if self.mean_norm is not None:
            self.first_norm.build(latent)
            self.norm.build(latent)
        context_units = width if self.prior == "shared" else self.units
        self.lat2dec = keras.layers.Dense(
            context_units,
            activation="tanh",
            dtype=self.dtype_policy,
            name="lat2dec",
        )
        self.lat2dec.build(latent)
        if self.prior == "learned":
            read = width if self.past == "text" else context_units
            self.prior_f_z.build((None, read), latent)
            self.prior_head.build(hidden)
        for name in ("initial_mean", "initial_log_var"):
            weight = self.add_weight(
                name=name,
                shape=(self.latent_dim,),
                initializer="zeros",
                trainable=False,
                autocast=False,
                dtype="float32",
            )
            setattr(self, name, weight)

    def call(
        self,
        contexts: keras.KerasTensor,
        backward: keras.KerasTensor,
        mask: keras.KerasTensor | None = None,
        noise: keras.KerasTensor | None = None,
        training: bool = False,
    ) -> dict[str, keras.KerasTensor]:
        if mask is None:
            mask = ops.ones(ops.shape(contexts)[:2], dtype="bool")
        if noise is None:
            # Before the scan: JAX allows no stateful draws inside.
            noise = replicas.draw(
                keras.random.normal,
                (*ops.shape(contexts)[:2], self.latent_dim),
                dtype="float32",
                seed=self.sampling.seed_generator,
            )
        given = contexts, backward, mask, noise
        path = self.posterior_path
        if training and self.mean_norm is not None:
            path = self._global_posterior_path
        z, posterior = path(*given, training=training)
        decoder_contexts = self.decoder_context(z, self.before(contexts))
        read = contexts if self.past == "text" else decoder_contexts
        prior = self._prior_path(z, read)
        return {
            "z": z,
            "mean": posterior.mean,
            "log_var": posterior.log_var,
            "prior_mean": prior.mean,
            "prior_log_var": prior.log_var,
            "context": decoder_contexts,
        }

    # === Posterior ===

    def posterior_path(
        self,
        contexts: keras.KerasTensor,
        backward: keras.KerasTensor,
        mask: keras.KerasTensor,
        noise: keras.KerasTensor,
        previous: keras.KerasTensor | None = None,
        started: keras.KerasTensor | None = None,
        training: bool = False,
    ) -> tuple[keras.KerasTensor, DiagGaussian]:
        """z and q of all sentences, by one scan of `_posterior_step`.

        Args:
            contexts, backward, mask, noise: see the call arguments.
            previous: z before the first of these sentences, `(B, d)`.
            started: bool `(B, 1)`, which rows have one: a sentence before
                these. Without it no row has.
            training: see the call arguments.

        Returns:
            z, `(B, n, d)`, and a `DiagGaussian` of that shape.
        """
        first = self.initial(backward)  # t_1
        # The part of each t_i from the contexts, in one product.
        given = self.f_z.prepare(ops.cast(contexts, self.compute_dtype))
        zeros = ops.zeros_like(noise[:, 0])
        # Rows that are at their first sentence: those of the first step of the
        # scan.
        is_first = (
            ops.zeros_like(noise[:, :, :1])
            + ops.cast(ops.arange(ops.shape(noise)[1]) == 0, "float32")[:, None]
        )
        if started is not None:
            is_first = is_first * (1.0 - ops.cast(started, "float32"))[:, None]

        def step(carry, inputs):
            given, epsilon, real, is_first = inputs
            real = real > 0
            posterior, raw = self._posterior_step(
                ops.cast(given, self.compute_dtype),
                first,
                carry[0],
                is_first > 0,
                real,
                training,
            )
            z = posterior.sample(epsilon)
            return tuple(
                ops.where(real, x, y)
                for x, y in zip((z, *posterior, raw), carry)
            )

        # The means before `mean_norm` are returned only if it is used.
        carry = (zeros,) * (3 if self.mean_norm is None else 4)
        if previous is not None:
            carry = (ops.cast(previous, "float32"), *carry[1:])
        z, mean, log_var, *raw = scan(
            step, carry, (given, noise, mask[..., None], is_first)
        )
        if raw and training:
            self.first_norm.update(raw[0][:, :1], mask[:, :1, None])
            self.norm.update(raw[0][:, 1:], mask[:, 1:, None])
        return z, DiagGaussian(mean, log_var)

    def _global_posterior_path(self, *given, training):
        """`posterior_path` of the global batch; this replica's rows of it.

        `mean_norm` needs the means of all replicas at each step of the scan,
        and within a loop replicas cannot exchange any.
        """
        contexts, backward, mask, noise = (
            replicas.global_rows(ops.cast(x, "float32")) for x in given
        )
        z, posterior = self.posterior_path(
            contexts, backward, mask > 0, noise, training=training
        )
        return replicas.own_rows(z), DiagGaussian(
            *map(replicas.own_rows, posterior)
        )

    def _posterior_step(
        self, given, first, previous, is_first, real, training=False
    ):
        """q_i, a `DiagGaussian` `(B, d)`, and its mean before `mean_norm`.

        Args:
            given: what `f_z.prepare` made of c_i, `(B, P)`.
            first: t_1, `(B, units)`.
            previous: z_{i−1}, `(B, d)`.
            is_first, real: bool `(B, 1)`.
            training: as in `call`.
        """
        hidden = self.f_z.step(given, ops.cast(previous, self.compute_dtype))
        raw, log_var = self.head(ops.where(is_first, first, hidden))
        mean = raw
        if self.mean_norm is not None:
            mean = ops.where(
                is_first,
                self.first_norm(raw, real, training=training),
                self.norm(raw, real, training=training),
            )
        return DiagGaussian(mean, log_var), raw

    def filter_step(
        self,
        context: keras.KerasTensor,
        backward: keras.KerasTensor,
        noise: keras.KerasTensor,
        previous: keras.KerasTensor,
        started: keras.KerasTensor,
        before: keras.KerasTensor | None = None,
    ) -> tuple[keras.KerasTensor, DiagGaussian, DiagGaussian]:
        """One sentence, in inference: z_i from q_i, with q_i and p_i.

        What particles and a reader that takes sentences as they come do;
        `call` does the same for all sentences at once.

        Args:
            context, backward: c_i and b, `(B, H)`.
            noise: ε, `(B, d)`; zeros give the mean.
            previous: z_{i−1}, `(B, d)`; any number where not `started`.
            started: bool `(B, 1)`, True unless this is the first sentence.
            before: with `past="text"` c_{i−1}, `(B, H)`.

        Returns:
            z `(B, d)`, and the `DiagGaussian`s q_i and p_i.
        """
        given = self.f_z.prepare(ops.cast(context, self.compute_dtype))
        posterior, _ = self._posterior_step(
            given,
            self.initial(backward),
            previous,
            ops.logical_not(started),
            ops.ones_like(started),
        )
        prior = self.prior_after(previous, started, before)
        return posterior.sample(noise), posterior, prior

    # === Prior ===

    def before(self, contexts: keras.KerasTensor) -> keras.KerasTensor | None:
        """With `past="text"` c_0 … c_{n−1}, `(B, n, H)`, c_0 = 0."""
        if self.past != "text":
            return None
        first = ops.zeros_like(contexts[:, :1])
        return ops.concatenate([first, contexts[:, :-1]], axis=1)

    def _prior_path(self, z, read):
        """p_1 … p_n given z, all sentences at once (no scan needed).

        Args:
            z: `(B, n, d)`.
            read: what p_{i+1} reads beside z_i: d_i, or c_i, `(B, n, ...)`.
        """
        later = self.prior_step(z[:, :-1], read[:, :-1])
        zeros = ops.zeros_like(z[:, :1])
        return DiagGaussian(
            *(
                ops.concatenate([zeros + x, y], axis=1)
                for x, y in zip(self.first_prior, later)
            )
        )

    @property
    def first_prior(self) -> DiagGaussian:
        """p_1: a `DiagGaussian` of shape `(d,)`."""
        return DiagGaussian(
            ops.convert_to_tensor(self.initial_mean),
            ops.convert_to_tensor(self.initial_log_var),
        )

    def prior_step(
        self, z: keras.KerasTensor, read: keras.KerasTensor
    ) -> DiagGaussian:
        """p_{i+1} given z_i and d_i, or c_i: a `DiagGaussian` `(..., d)`."""
        hidden = self.prior_f_z(
            ops.cast(read, self.compute_dtype),
            ops.cast(z, self.compute_dtype),
        )
        mean, log_var = self.prior_head(hidden)
        if self.bounded:
            log_var = bounded_below(log_var, PRIOR_LOWEST)
        return DiagGaussian(mean, log_var)

    def prior_after(
        self,
        z: keras.KerasTensor,
        started: keras.KerasTensor,
        before: keras.KerasTensor | None = None,
    ) -> DiagGaussian:
        """p of the sentence after z `(B, d)`, or p_1 where not `started`.

        With `past="text"` it needs `before`, the context of all sentences up
        to that one, `(B, H)`.
        """
        self._check_before(before)
        read = self.lat2dec(z) if before is None else before
        later = self.prior_step(z, read)
        return DiagGaussian(
            *(ops.where(started, x, y) for x, y in zip(later, self.first_prior))
        )

    def decoder_context(
        self, z: keras.KerasTensor, before: keras.KerasTensor | None = None
    ) -> keras.KerasTensor:
        """d = tanh(W z), or [d; c] with the context c before the sentence.

        Args:
            z: `(..., d)`.
            before: `(..., H)`, with `past="text"`.
        """
        self._check_before(before)
        d = self.lat2dec(z)
        if before is None:
            return d
        return ops.concatenate([d, ops.cast(before, d.dtype)], axis=-1)

    def _check_before(self, before):
        if (before is None) == (self.past == "text"):
            raise ValueError(
                '`before` must be given with `past="text"`, and else not. '
                f"Received: past={self.past!r}, before={before!r:.40}"
            )

    def write_path(
        self,
        contexts: keras.KerasTensor,
        backward: keras.KerasTensor,
        noise: keras.KerasTensor,
        given: keras.KerasTensor,
    ) -> keras.KerasTensor:
        """Decoder contexts of sentences that are being written.

        z_i is the mean of q_i where a sentence was given, and drawn from p_i
        where the model writes, or has written, it. For `past="text"`.

        Args:
            contexts, backward: of what is there so far, as in `call`.
            noise: ε of the draws, `(B, n, d)`.
            given: bool `(B, n)`.

        Returns:
            `(B, n, H_d + H)`. A row knows nothing of its own sentence or of
            later ones, but where these are `given`.
        """
        first = self.initial(backward)
        before = self.before(contexts)
        prepared = self.f_z.prepare(ops.cast(contexts, self.compute_dtype))
        place = ops.cast(ops.arange(ops.shape(noise)[1]), "float32")
        started = ops.zeros_like(noise[:, :, :1]) + place[:, None]  # (B, n, 1)
        given = ops.cast(given, "float32")[..., None]

        def step(z, inputs):
            prepared, before, epsilon, given, started = inputs
            posterior, _ = self._posterior_step(
                ops.cast(prepared, self.compute_dtype),
                first,
                z,
                started == 0,
                ops.ones_like(started, dtype="bool"),
            )
            prior = self.prior_after(z, started > 0, before)
            return ops.where(given > 0, posterior.mean, prior.sample(epsilon))

        z = scan(
            step,
            ops.zeros_like(noise[:, 0]),
            (prepared, before, noise, given, started),
        )
        return self.decoder_context(z, before)

    def roll_out(
        self,
        noise: keras.KerasTensor,
        previous: keras.KerasTensor | None = None,
        started: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        """Draws latents from the prior; not with `past="text"`.

        Args:
            noise: ε, tensor of shape `(B, k, d)`; zeros give the path of the
                prior means.
            previous: optional latent z of shape `(B, d)` to go on from.
                Default: start with p_1.
            started: optional bool `(B, 1)`: the rows that go on from
                `previous`; all of them if not given.

        Returns:
            float32 tensor of shape `(B, k, d)`.
        """
        if previous is None:
            previous = ops.zeros_like(noise[:, 0])
            started = ops.zeros_like(noise[:, 0, :1], dtype="bool")
        elif started is None:
            started = ops.ones_like(noise[:, 0, :1], dtype="bool")
        ordinal = ops.cast(ops.arange(ops.shape(noise)[1]), "float32")
        counts = (
            ops.cast(started, "float32")[:, None] + ordinal[:, None]
        )  # (B, k, 1)

        def step(z, inputs):
            epsilon, count = inputs
            return self.prior_after(z, count > 0).sample(epsilon)

        return scan(step, ops.cast(previous, "float32"), (noise, counts))

    def compute_mask(self, *args, **kwargs):
        return None  # The mask is an argument of `call`; the result has none.

    def compute_output_spec(self, contexts: keras.KerasTensor, *args, **kwargs):
        batch, sentences, width = contexts.shape
        specs = {
            name: keras.KerasTensor(
                (batch, sentences, self.latent_dim), dtype="float32"
            )
            for name in ("z", "mean", "log_var", "prior_mean", "prior_log_var")
        }
        text = width if self.past == "text" else 0
        width = (width if self.prior == "shared" else self.units) + text
        specs["context"] = keras.KerasTensor(
            (batch, sentences, width), dtype=self.compute_dtype
        )
        return specs

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "latent_dim": self.latent_dim,
            "units": self.units,
            "transition": self.transition,
            "prior": self.prior,
            "initial_prior": self.initial_prior,
            "seed": self.seed,
            "mean_norm": self.mean_norm,
            "past": self.past,
            "bounded": self.bounded,
        }
