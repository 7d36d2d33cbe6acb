"""What the latents carry, epoch by epoch."""

import itertools

import keras

# A sentence whose KL, or whose loss without its latent, is less says nothing.
DEAD = 0.1
FADING = 0.25


class LatentDiagnostics(keras.callbacks.Callback):
    """Measures the latents after each epoch and says what to do if they die.

    Adds to the logs: `kl_first`, `kl_last` (nats a sentence at the first and
    the last position), `active_units`, `mi_full`, `mi_batch32` and
    `z_ablation`; see `evaluation.evaluate`. The last whole result is
    `diagnostics.figures`, and all that was said is in `diagnostics.advice`, a
    list with an entry an epoch.

    Args:
        validation: batches of ids `(B, n, m)`, such as `corpus.valid`.
        max_batches: about how many of them to use, spread evenly.
        seed: of the posterior draws.
        verbose: whether to print the figures and the advice.

    Example:

    >>> diagnostics = LatentDiagnostics([np.full((2, 1, 1), 3)], verbose=0)
    >>> model = HVAE(20, latent_dim=2, embedding_dim=4, hidden_dim=8)
    >>> model.compile("adam")
    >>> history = model.fit(
    ...     np.full((2, 1, 1), 3), verbose=0, callbacks=[diagnostics]
    ... )
    >>> "active_units" in history.history
    True
    """

    def __init__(self, validation, max_batches=16, seed=0, verbose=1):
        super().__init__()
        self.validation = validation
        self.max_batches = max_batches
        self.seed = seed
        self.verbose = verbose
        self.figures = None
        self.advice = []

    def on_train_begin(self, logs=None):
        if not self.model.latent_dim:
            raise ValueError(
                "A model without latents has nothing to diagnose. "
                f"Received: {type(self.model).__name__}"
            )

    def on_epoch_end(self, epoch, logs=None):
        # A callback stands below the evaluation that it uses.
        from keras_hvae.evaluation import evaluate

        if hasattr(self.model, "jax_state_sync"):
            # JAX keeps the state of training outside the variables.
            self.model.jax_state_sync()
        self.figures = evaluate(
            self.model, self._batches(), seed=self.seed, verbose=0
        )
        kl = self.figures["kl_by_position"]
        shown = {
            "kl_first": kl[0],
            "kl_last": kl[-1],
            **{
                key: self.figures[key]
                for key in (
                    "active_units",
                    "mi_full",
                    "mi_batch32",
                    "z_ablation",
                )
                if self.figures[key] is not None
            },
        }
        if logs is not None:
            logs.update(shown)
        self.advice.append(advise(self.figures))
        if self.verbose:
            positions = " ".join(f"{x:.1f}" for x in kl)
            rest = ", ".join(
                f"{key} {value:.4g}" for key, value in list(shown.items())[2:]
            )
            print(f"\nKL by position {positions}; {rest}\n{self.advice[-1]}")

    def _batches(self):
        # Spread over the whole: the first ones may be the shortest.
        every = 1
        if hasattr(self.validation, "__len__"):
            every = max(1, len(self.validation) // self.max_batches)
        yield from itertools.islice(self.validation, 0, None, every)


def advise(figures):
    """What the figures of `evaluate` say about the latents, in words.

    Args:
        figures: a dict with `"kl_by_position"`,
            `"active_units_by_position"`, `"latent_dim"` and `"z_ablation"`.

    Returns:
        A string.

    Example:

    >>> advise(
    ...     {
    ...         "kl_by_position": [3.0, 0.0],
    ...         "active_units_by_position": [9, 9],
    ...         "latent_dim": 32,
    ...         "z_ablation": 0.9,
    ...     }
    ... )
    'The chain dies at sentence 2 (KL 0.00): raise `free_bits`, ...'
    """
    kl, ablation = figures["kl_by_position"], figures["z_ablation"]
    # Not the pooled ones: means that drift from one position to the next say
    # nothing about a document.
    active = max(figures["active_units_by_position"])
    if max(kl) < DEAD:
        return (
            f"The latents have collapsed (KL at most {max(kl):.2f} nats a "
            "sentence): raise `free_bits`, then `word_dropout`; a run that "
            "has collapsed rarely recovers, so start anew."
        )
    for position, value in enumerate(kl, 1):
        if value < DEAD:
            return (
                f"The chain dies at sentence {position} (KL {value:.2f}): "
                'raise `free_bits`, with `free_bits_mode="dimension"` or '
                '"batch", which hold every position up.'
            )
    if ablation is not None and ablation < DEAD:
        return (
            f"The decoder does not read the latents (z-ablation {ablation:.2f} "
            "nats) although they cost KL: train longer; if it stays so, raise "
            "`word_dropout` or give `bow_weight`."
        )
    if active < FADING * figures["latent_dim"]:
        return (
            f"At most {active} of {figures['latent_dim']} units are active at "
            'a position: use `free_bits_mode="dimension"`, or a smaller '
            "`latent_dim`."
        )
    return "The latents are alive at every position."
