"""The best model so far, always whole on disk."""

import keras

from keras_hvae.files import write_whole


class BestModel(keras.callbacks.Callback):
    """Saves the model after each epoch in which `monitor` is a new minimum.

    The file is written under a temporary name and then renamed, so that a
    stop at any moment leaves the last good model.

    Args:
        filepath: path that ends in `.keras`.
        monitor: the figure to compare, the lower the better. The default,
            `"val_loss"`, is the validation −ELBO at β = 1.
        initial_best: the figure of the model that is already there, when a
            training goes on.
        kl_floor: floor of the validation KL in nats a document: what
            `val_kl` lacks of it is added to the figure. With free bits of λ
            nats a sentence, λ times the sentences of a document: the
            objective of training. Without it a model whose latents are not
            used yet can have the lowest −ELBO.

    Raises:
        ValueError: at the end of the first epoch, if the logs lack `monitor`,
            or `val_kl` where there is a floor.
    """

    def __init__(
        self,
        filepath,
        monitor="val_loss",
        initial_best=float("inf"),
        kl_floor=0.0,
    ):
        super().__init__()
        self.filepath = filepath
        self.monitor = monitor
        self.best = initial_best
        self.kl_floor = kl_floor

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        needed = [self.monitor] + (["val_kl"] if self.kl_floor else [])
        for name in needed:
            if name not in logs:
                raise ValueError(
                    f"`monitor` must be one of {sorted(logs)}. "
                    f"Received: {name!r}"
                )
        figure = logs[self.monitor]
        if self.kl_floor:
            figure += max(self.kl_floor - logs["val_kl"], 0.0)
        if figure < self.best:
            self.best = figure
            with write_whole(self.filepath) as temporary:
                self.model.save(temporary)
