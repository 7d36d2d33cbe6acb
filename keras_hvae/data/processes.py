"""Which process this is, of those that train one model together."""

import concurrent.futures
import os
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


def save_alone(model: keras.Model, path: str | os.PathLike) -> None:
    """Saves a model in this process, without the others.

    Keras makes variables while it saves, and in the scope of a distribution
    or of a strategy all processes would have to make them. Other threads are
    in no scope.

    Args:
        model: that several processes may train.
        path: of the `.keras` file.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        thread.submit(model.save, path).result()


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
    strategy = getattr(model, "distribute_strategy", None)
    return strategy if in_several_workers(strategy) else None
