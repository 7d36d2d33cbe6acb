"""What the latents carry, epoch by epoch."""

import itertools
import math
from collections.abc import Iterable

import keras

from keras_hvae.evaluation import advise, evaluate

SHOWN = (
    "information",
    "mismatch",
    "mi_full",
    "mi_batch32",
    "z_ablation",
    "z_ablation_length_matched",
    "length_r2",
    "effective_rank",
    "active_units",
)


class LatentDiagnostics(keras.callbacks.Callback):
    """Measures the latents after each epoch and says what they carry.

    Adds to the logs: `kl_first`, `kl_last` (nats a sentence at the first and
    the last position), `information`, `mismatch`, `mi_full`, `mi_batch32`,
    `z_ablation`, `z_ablation_length_matched`, `length_r2`, `effective_rank`
    and `active_units`, where they are known; see `evaluation.evaluate`. The
    last whole result is `diagnostics.figures`, and all that was said is in
    `diagnostics.advice`, a list with an entry an epoch: see
    `evaluation.advise`.

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
    >>> "information" in history.history
    True
    """

    def __init__(
        self,
        validation: Iterable,
        max_batches: int | None = 16,
        seed: int = 0,
        verbose: int = 1,
    ) -> None:
        super().__init__()
        self.validation = validation
        self.max_batches = max_batches
        self.seed = seed
        self.verbose = verbose
        self.figures: dict | None = None
        self.advice = []

    def on_train_begin(self, logs: dict | None = None) -> None:
        if not self.model.latent_dim:
            raise ValueError(
                "A model without latents has nothing to diagnose. "
                f"Received: {type(self.model).__name__}"
            )

    def get_state(self) -> dict:
        return {"figures": self.figures, "advice": self.advice}

    def set_state(self, state: dict) -> None:
        self.figures, self.advice = state["figures"], state["advice"]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is not None and not math.isfinite(logs.get("loss", 0.0)):
            self.advice.append("The training has diverged: nothing to measure.")
            return
        self.figures = evaluate(
            self.model, self._batches(), seed=self.seed, verbose=0
        )
        kl = self.figures["kl_by_position"]
        shown = {
            "kl_first": kl[0],
            "kl_last": kl[-1],
            **{
                key: self.figures[key]
                for key in SHOWN
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
        # Batches spread over the whole dataset: the first ones may hold the
        # shortest documents.
        every = 1
        if hasattr(self.validation, "__len__"):
            every = max(1, len(self.validation) // self.max_batches)
        yield from itertools.islice(self.validation, 0, None, every)
