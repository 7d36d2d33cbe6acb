"""Pretraining as an autoencoder, then a new decoder."""

import keras
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.callbacks.kl_annealing import KLAnnealing


class AutoencoderPretraining(KLAnnealing):
    """Trains with β = 0 first, then with a fresh decoder and a rising β.

    After `steps` steps as an autoencoder the encoder says much, but nothing
    that a decoder trained beside it can be weaned from. So the decoder
    starts anew: the layers of `model.decoder_layers()` (without the table of
    tied embeddings) take initial values, and what the optimizer keeps for
    them becomes zero. Then β grows linearly to `end` in
    `annealing_steps`. Give the model free bits as well.

    Steps are counted as by `KLAnnealing`: a resumed training goes on where
    it was, and a decoder is reset but once.

    Args:
        steps: number of steps with β = 0.
        annealing_steps: number of steps after them until β = `end`.
        end: last β, >= 0.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> pretraining = AutoencoderPretraining(steps=100, annealing_steps=10)
    >>> [pretraining.kl_weight(step) for step in (99, 100, 105, 110)]
    [0.0, 0.0, 0.5, 1.0]

    Reference:
        - [Li et al., 2019](https://arxiv.org/abs/1909.00868)
    """

    def __init__(
        self, steps: int, annealing_steps: int, end: float = 1.0
    ) -> None:
        check_positive_int(steps=steps, annealing_steps=annealing_steps)
        super().__init__(annealing_steps, end=end)
        self.pretraining_steps = steps
        self._last_step: int | None = None

    def kl_weight(self, step: float) -> float:
        """β at a step."""
        return super().kl_weight(max(step - self.pretraining_steps, 0))

    def on_train_batch_begin(
        self, batch: int, logs: dict | None = None
    ) -> None:
        super().on_train_batch_begin(batch, logs)
        step = self.step()
        last = step - 1 if self._last_step is None else self._last_step
        # A range, not an equality: a call may stand for several steps, or
        # several calls for one.
        if last < self.pretraining_steps <= step:
            reset_decoder(self.model)
        self._last_step = step

    def get_state(self) -> dict:
        return {"last_step": self._last_step}

    def set_state(self, state: dict) -> None:
        self._last_step = state["last_step"]


def reset_decoder(model: keras.Model) -> None:
    """Gives the decoder's weights initial values, and no past."""
    config = model.get_config()
    fresh = type(model).from_config(config)
    table = getattr(model.emission, "token_embedding", None)  # of words only
    tied = set() if table is None else {*map(id, table.trainable_variables)}
    for layer, new in zip(model.decoder_layers(), fresh.decoder_layers()):
        for variable, value in zip(
            layer.trainable_variables, new.trainable_variables, strict=True
        ):
            if id(variable) not in tied:
                variable.assign(value)
                _forget(model.optimizer, variable)


def _forget(optimizer, variable):
    """Sets to zero what an optimizer keeps for a variable."""
    # Keras names the variables of an optimizer so.
    prefix = variable.path.replace("/", "_") + "_"
    for slot in optimizer.variables:
        if slot.name.startswith(prefix) and slot.shape == variable.shape:
            slot.assign(ops.zeros(slot.shape, slot.dtype))
