"""Dropout that differs from replica to replica."""

from typing import Any

import keras

from keras_hvae.data.replicas import ReplicaSeed, num_replicas


@keras.saving.register_keras_serializable("keras_hvae")
class ReplicaDropout(keras.layers.Dropout):
    """`keras.layers.Dropout`, independent on each replica.

    Under a `tf.distribute.Strategy` all replicas have the same seeds, and
    Keras' own drops the same entries on each. On one device, and on JAX, it
    is Keras' own.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0 or num_replicas() == 1:
            return super().call(inputs, training=training)
        return keras.random.dropout(
            inputs,
            self.rate,
            noise_shape=self.noise_shape,
            seed=ReplicaSeed(self.seed_generator),
        )
