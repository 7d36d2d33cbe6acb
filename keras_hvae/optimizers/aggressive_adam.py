"""Adam that can hold the decoder fixed."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_hvae.arguments import check_unused


@keras.saving.register_keras_serializable("keras_hvae")
class AggressiveAdam(keras.optimizers.Adam):
    """Adam whose learning rate for the decoder is multiplied by a gate.

    Where the gate, the variable `decoder_gate`, is 0, a step updates all but
    the decoder; where it is 1, all. `callbacks.AggressiveEncoder` shuts and
    opens it; a `fit` that was interrupted may leave it shut. Without the
    callback this is plain Adam. The moments of the decoder's gradients are
    kept up to date behind a shut gate, so that the bias correction, which
    counts all steps, is right for them.

    Args:
        learning_rate: a float or a schedule.
        decoder: names of the layers that are the decoder: those weights are
            gated whose path has one of the names. The table of tied
            embeddings is the encoder's.
        **kwargs: as of `keras.optimizers.Adam`, but for `weight_decay` and
            `gradient_accumulation_steps`, which know nothing of the gate.

    Raises:
        ValueError: if one of these two is given; when it is built, if no
            weight is the decoder's.

    Example:

    >>> model = HVAE(20, latent_dim=2, embedding_dim=4, hidden_dim=8)
    >>> model.compile(keras_hvae.optimizers.AggressiveAdam(1e-3))
    >>> float(model.optimizer.decoder_gate)
    1.0
    """

    def __init__(
        self,
        learning_rate: float
        | keras.optimizers.schedules.LearningRateSchedule = 0.001,
        decoder: Sequence[str] = ("word_decoder", "token_nll", "lat2dec"),
        name: str = "aggressive_adam",
        **kwargs,
    ) -> None:
        check_unused(kwargs, "weight_decay", "gradient_accumulation_steps")
        super().__init__(learning_rate, name=name, **kwargs)
        self.decoder = tuple(decoder)
        self.decoder_gate = self.add_variable(
            (),
            initializer="ones",
            aggregation="only_first_replica",
            name="decoder_gate",
        )

    def build(self, variables: list) -> None:
        if self.built:
            return
        self._gated = [
            not set(self.decoder).isdisjoint(x.path.split("/"))
            for x in variables
        ]
        if not any(self._gated):
            raise ValueError(
                "`decoder` must have the name of a layer with weights. "
                f"Received: {self.decoder}"
            )
        super().build(variables)

    def update_step(
        self,
        gradient: keras.KerasTensor,
        variable: keras.Variable,
        learning_rate: keras.KerasTensor,
    ) -> None:
        if self._gated[self._get_variable_index(variable)]:
            learning_rate = learning_rate * self.decoder_gate
        super().update_step(gradient, variable, learning_rate)

    def load_own_variables(self, store: Any) -> None:
        super().load_own_variables(store)
        # Saved during a training, the gate may be closed.
        self.decoder_gate.assign(1.0)

    def get_config(self) -> dict:
        return {**super().get_config(), "decoder": self.decoder}
