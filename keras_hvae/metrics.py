"""What `fit` and `evaluate` report besides the means of nll and KL."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_hvae")
class Perplexity(keras.metrics.Metric):
    """exp(Σ nats / Σ tokens): sums over all batches, then divides."""

    def __init__(self, name: str = "perplexity", **kwargs) -> None:
        super().__init__(name=name, **kwargs)
        self.nats = self.add_variable((), initializer="zeros", name="nats")
        self.tokens = self.add_variable((), initializer="zeros", name="tokens")

    def update_state(
        self, nats: keras.KerasTensor, tokens: keras.KerasTensor
    ) -> None:
        self.nats.assign_add(ops.sum(nats))
        self.tokens.assign_add(ops.sum(tokens))

    def result(self) -> keras.KerasTensor:
        return ops.exp(self.nats / ops.maximum(self.tokens, 1.0))


@keras.saving.register_keras_serializable("keras_hvae")
class CurrentValue(keras.metrics.Metric):
    """The last value seen."""

    def __init__(self, name: str = "current_value", **kwargs) -> None:
        super().__init__(name=name, **kwargs)
        # All replicas have the same value: it must not be summed over them.
        self.value = self.add_variable(
            (),
            initializer="zeros",
            aggregation="only_first_replica",
            name="value",
        )

    def update_state(self, value: keras.KerasTensor) -> None:
        self.value.assign(value)

    def result(self) -> keras.KerasTensor:
        # A copy: on TensorFlow the variable itself would change in logs that
        # are read after the next update.
        return self.value + 0.0
