"""Which process this is, of those that train one model together."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_hvae.data.replicas import in_several_workers


def is_first(model: keras.Model) -> bool:
    """Whether this is the process that writes files: the first, or the only.

    Args:
        model: that is trained.
    """
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        return jax.process_index() == 0
    strategy = _strategy(model)
    if strategy is None:
        return True
    resolver = strategy.cluster_resolver
    others = set(resolver.cluster_spec().as_dict()) - {resolver.task_type}
    return resolver.task_id == 0 and "chief" not in others


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Lets this process make variables that the others do not know of.

    On JAX, Keras has all processes make each variable together. It makes some
    while it saves a model, too.
    """
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


def of_the_first(model: keras.Model, numbers: np.ndarray) -> np.ndarray:
    """The numbers that the first process has; all processes wait for it.

    Args:
        model: that is trained.
        numbers: int32, of the same shape in each process.
    """
    numbers = np.asarray(numbers, "int32")
    if keras.config.backend() == "jax":
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.broadcast_one_to_all(numbers))
    strategy = _strategy(model)
    if strategy is None:
        return numbers
    import tensorflow as tf

    @tf.function
    def add_up():
        def own():
            context = tf.distribute.get_replica_context()
            # The first process has the first replica.
            first = context.replica_id_in_sync_group == 0
            return context.all_reduce("SUM", tf.where(first, numbers, 0))

        return strategy.experimental_local_results(strategy.run(own))[0]

    return add_up().numpy()


def _strategy(model: Any) -> Any:
    """TensorFlow's strategy of several processes, or `None`."""
    if keras.config.backend() != "tensorflow":
        return None
    strategy = model.distribute_strategy
    return strategy if in_several_workers(strategy) else None
