"""The best model so far, always whole on disk."""

import math
import os

import keras

from keras_hvae.data.processes import is_first, save_alone
from keras_hvae.files import check_regular, write_whole

# The share of its rate from which on a model counts as one that has reached it.
REACHED = 0.95


class BestModel(keras.callbacks.Callback):
    """Saves the model after each epoch in which `monitor` is a new minimum.

    The file is written under a temporary name and then renamed, so that a
    stop at any moment leaves the last good model. Of several processes that
    train one model the first writes it.

    A model with a `rate` is to be the best of those that carry so much: a model
    that has not learned to would often have a better −ELBO. So an epoch that
    comes nearer to 95 % of the rate is better whatever its figure, and from
    there on the figure decides.

    Args:
        filepath: path that ends in `.keras`.
        monitor: the figure to compare, the lower the better. The default,
            `"val_loss"`, is the validation −ELBO at β = 1.
        initial_best: the figure of the model that is already there, when a
            training goes on without a `training.Checkpoint`, which gives it
            back.

    Attributes:
        best: the lowest figure so far.
        best_epoch: the epoch that it is of, from 1; `None` before.

    Raises:
        ValueError: at the end of the first epoch, if the logs lack `monitor`.
    """

    def __init__(
        self,
        filepath: str | os.PathLike,
        monitor: str = "val_loss",
        initial_best: float = float("inf"),
    ) -> None:
        super().__init__()
        self.filepath = filepath
        self.monitor = monitor
        self.best = initial_best
        self.best_epoch: int | None = None
        # Of the best model: the share of the rate that it lacks.
        self._lacks = math.inf if math.isinf(initial_best) else 0.0

    def get_state(self) -> dict:
        return {
            "best": float(self.best),
            "best_epoch": self.best_epoch,
            "lacks": self._lacks,
        }

    def set_state(self, state: dict) -> None:
        if state["best_epoch"] is not None:
            check_regular(self.filepath)
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self._lacks = state.get("lacks", 0.0)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = logs or {}
        if self.monitor not in logs:
            raise ValueError(
                f"`monitor` must be one of {sorted(logs)}. "
                f"Received: {self.monitor!r}"
            )
        lacks, figure = self._lack(logs), logs[self.monitor]
        if (lacks, figure) < (self._lacks, self.best):
            self.best, self._lacks = figure, lacks
            if is_first(self.model):
                with write_whole(self.filepath) as temporary:
                    save_alone(self.model, temporary)
            self.best_epoch = epoch + 1

    def _lack(self, logs):
        """The share of its rate that a model lacks; 0 where it has none."""
        layer = getattr(self.model, "kl", None)
        rate = getattr(layer, "rate", None)
        if not rate:
            return 0.0
        return max(0.0, REACHED - float(logs["rate"]) / rate)
