"""Stops a training after a number of steps."""

import keras

from keras_hvae.arguments import check_positive_int


class StopAfter(keras.callbacks.Callback):
    """Ends a training after so many batches, counted over all epochs.

    Args:
        steps: number of batches.

    Raises:
        ValueError: if `steps` is not an integer >= 1.

    Example:

    >>> model = HVAE(20, latent_dim=2, embedding_dim=4, hidden_dim=8)
    >>> model.compile("adam")
    >>> ids = np.full((6, 1, 1), 3)
    >>> history = model.fit(
    ...     ids, batch_size=1, verbose=0, callbacks=[StopAfter(4)]
    ... )
    >>> int(model.optimizer.iterations.numpy())
    4
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        check_positive_int(steps=steps)
        self.steps = steps

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._seen = 0

    def get_state(self) -> dict:
        return {"seen": self._seen}

    def set_state(self, state: dict) -> None:
        self._seen = state["seen"]

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._seen += 1
        if self._seen >= self.steps:
            self.model.stop_training = True
