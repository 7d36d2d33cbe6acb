"""What to do about a loss or gradients that are not finite."""

import math

import keras
from keras import ops

from keras_hvae.arguments import check_choice, check_positive_int

ACTIONS = ("skip", "stop")


class NonFiniteSteps(keras.callbacks.Callback):
    """Leaves out steps with a NaN or an infinity, or stops at them.

    A model that was compiled with an `optimizers.GuardedAdam` does not update
    its weights in such a step: they stay finite. Here the step is reported,
    with the place of its batch, and its metrics are taken out of the epoch's.
    Several steps in a row end the training with an error; with another
    optimizer the first one does, as its weights are lost.

    Args:
        action: `"skip"`, or `"stop"` to end the training at the first one.
        max_in_a_row: number of such steps in a row that ends the training.
        verbose: whether a line is printed for each.

    Attributes:
        steps: the epoch and the batch of each, from 1, a list of pairs.

    Raises:
        ValueError: for an argument out of range; in `fit`, where the training
            ends.

    Example:

    >>> model = HVAE(20, latent_dim=2, embedding_dim=4, hidden_dim=8)
    >>> model.compile(keras_hvae.optimizers.GuardedAdam())
    >>> guard = NonFiniteSteps()
    >>> history = model.fit(
    ...     np.full((2, 1, 1), 3), verbose=0, callbacks=[guard]
    ... )
    >>> guard.steps
    []
    """

    def __init__(
        self, action: str = "skip", max_in_a_row: int = 3, verbose: int = 1
    ) -> None:
        super().__init__()
        check_choice(ACTIONS, action=action)
        check_positive_int(max_in_a_row=max_in_a_row)
        self.action = action
        self.max_in_a_row = max_in_a_row
        self.verbose = verbose
        self.steps: list[tuple[int, int]] = []
        self._in_a_row = self._step = 0

    def get_state(self) -> dict:
        return {
            "steps": self.steps,
            "in_a_row": self._in_a_row,
            "step": self._step,
            "skipped": self._skipped,
            "metrics": self._metrics,
        }

    def set_state(self, state: dict) -> None:
        self.steps = [(epoch, step) for epoch, step in state["steps"]]
        self._in_a_row, self._step = state["in_a_row"], state["step"]
        self._skipped, self._metrics = state["skipped"], state["metrics"]

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._guarded = hasattr(self._optimizer(), "skipped")
        self._skipped = self._count()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch, self._step = epoch + 1, 0
        self._metrics = self._read()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._step += 1
        metrics, skipped = self._read(), self._count()
        finite = all(math.isfinite(x) for x in metrics)
        if finite and skipped == self._skipped:
            self._metrics, self._in_a_row = metrics, 0
            return
        self._in_a_row += 1
        self._skipped = skipped
        self.steps.append((self._epoch, self._step))
        place = f"epoch {self._epoch}, batch {self._step}"
        enough = self._in_a_row >= self.max_in_a_row
        if self.action == "stop" or enough or not self._guarded:
            row = self._in_a_row
            times = f", for {row} batches in a row" * (row > 1)
            raise ValueError(
                "The training diverged: expected a loss and gradients that are "
                "finite. Try a lower learning rate, and look at the batch. "
                f"Received: a NaN or an infinity at {place}{times}"
            )
        if self.verbose:
            print(
                f"\nA NaN or an infinity at {place}: the step is left out.",
                flush=True,
            )
        for variable, value in zip(self._variables(), self._metrics):
            variable.assign(value)

    def _optimizer(self):
        optimizer = self.model.optimizer
        # Under mixed precision it is wrapped to scale the loss.
        return getattr(optimizer, "inner_optimizer", optimizer)

    def _count(self):
        if not self._guarded:
            return 0
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        return int(ops.convert_to_numpy(self._optimizer().skipped))

    def _variables(self):
        return [x for x in self.model.metrics_variables if not tuple(x.shape)]

    def _read(self):
        # On JAX, Keras puts the state of training back into the variables at
        # the end of an epoch only.
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        return [float(ops.convert_to_numpy(x)) for x in self._variables()]
