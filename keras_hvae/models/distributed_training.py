"""What makes `fit` and `evaluate` run on several devices."""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_hvae.data import replicas, sharding

BATCH_SIZE = 32  # Keras' default


class DistributedTraining(keras.Model):
    """Gives each device its rows of a batch, and Keras what it then needs.

    For models that were made under a `keras.distribution` (JAX) or in the
    scope of a `tf.distribute.Strategy` (TensorFlow); for others it does
    nothing. Stands before other bases of a model.

    A batch of a corpus is the *global* batch, whatever the number of devices
    and processes. All processes read it, and each puts its own rows on its
    devices.
    """

    def fit(self, *args: Any, **kwargs) -> keras.callbacks.History:
        if self._devices() == 1:
            return super().fit(*args, **kwargs)
        given = _bind(super().fit, args, kwargs)
        if given.get("validation_split"):
            raise ValueError(
                "`validation_split` must be 0 on several devices: give "
                f"`validation_data`. Received: {given['validation_split']}"
            )
        names = "validation_data", "validation_batch_size", "validation_steps"
        given |= {
            **self._spread(
                given, "x", "batch_size", "steps_per_epoch", shuffle=False
            ),
            **self._spread(given, *names),
        }
        if self._strategy() is not None:
            replicas.clip_the_sum(self.optimizer)
        with _sharded():
            return super().fit(**given)

    def evaluate(self, *args: Any, **kwargs) -> Any:
        # `fit` has spread its validation data itself.
        if self._devices() == 1 or "_use_cached_eval_dataset" in kwargs:
            return super().evaluate(*args, **kwargs)
        given = _bind(super().evaluate, args, kwargs)
        given |= self._spread(given, "x", "batch_size", "steps")
        with _sharded():
            return super().evaluate(**given)

    def call(self, *args: Any, **kwargs) -> Any:
        replicas.wait_for_all()
        return super().call(*args, **kwargs)

    @property
    def losses(self) -> list:
        return replicas.own_losses(super().losses)

    def build_optimizer(self) -> None:
        """Makes the variables of the optimizer, beside those of the model."""
        if self.optimizer is None or self.optimizer.built:
            return
        strategy, scope = self._strategy(), contextlib.nullcontext()
        if strategy is not None:
            scope = strategy.scope()
        with scope:
            self.optimizer.build(self.trainable_variables)

    def compute_metrics(self, *args: Any, **kwargs) -> dict:
        figures = super().compute_metrics(*args, **kwargs)
        # Of several workers, Keras (3.15) takes the mean of a step's figures
        # along an axis, and scalars have none: keras issue 20585.
        strategy = self._strategy()
        if strategy is None or not replicas.in_several_workers(strategy):
            return figures
        return tree.map_structure(lambda x: ops.expand_dims(x, 0), figures)

    def _maybe_symbolic_build(self, *args, **kwargs):
        # Under a strategy Keras (3.15) takes the mean of a first batch over
        # the replicas, to build what is not built yet; of several workers it
        # fails. All of a functional model is built.
        if self._strategy() is None:
            super()._maybe_symbolic_build(*args, **kwargs)

    def _strategy(self):
        """TensorFlow's strategy that the model was made in, or `None`."""
        if keras.config.backend() != "tensorflow":
            return None
        strategy = self.distribute_strategy
        return strategy if strategy.num_replicas_in_sync > 1 else None

    def _devices(self):
        """How many devices train the model."""
        mesh = keras.distribution.distribution()
        if keras.config.backend() == "jax" and mesh is not None:
            return mesh.num_model_replicas
        strategy = self._strategy()
        return 1 if strategy is None else strategy.num_replicas_in_sync

    def _spread(self, given, data, batch_size, steps, **options):
        """New values of the arguments `data`, `batch_size` and `steps`."""
        x, devices = given.get(data), self._devices()
        if not isinstance(x, keras.utils.PyDataset) and (
            not sharding.is_dataset(x)
        ):
            size = given.get(batch_size) or given.get("batch_size")
            return self._spread_arrays(x, data, batch_size, size or BATCH_SIZE)
        strategy, mesh = self._strategy(), keras.distribution.distribution()
        if strategy is not None:
            x, known = sharding.distribute(x, strategy)
            return {data: x, steps: given.get(steps) or known, **options}
        if not mesh.auto_shard_dataset:  # each process has its own rows
            return {}
        shares = min(devices, mesh.num_processes)
        return {data: sharding.share(x, devices, shares, mesh.data_shard_id)}

    def _spread_arrays(self, x, data, batch_size, size):
        """Arrays with rows of padding, so that each device gets as many; in
        several processes of JAX those of this one.
        """
        leaves, devices = tree.flatten(x), self._devices()
        if not leaves or not all(
            isinstance(a, np.ndarray) or ops.is_tensor(a) for a in leaves
        ):
            return {}
        if size % devices:
            raise ValueError(
                f"`{batch_size}` must be a multiple of {devices}, the number "
                f"of devices. Received: {size}"
            )
        mesh = keras.distribution.distribution()
        shares = 1
        if self._strategy() is None and mesh.auto_shard_dataset:
            shares = min(devices, mesh.num_processes)

        def own(a):
            a = sharding.fill_up(ops.convert_to_numpy(a), devices)
            if shares == 1:
                return a
            return sharding.share_of_arrays(a, size, shares, mesh.data_shard_id)

        return {data: tree.map_structure(own, x), batch_size: size // shares}


def _bind(function, args, kwargs):
    return dict(inspect.signature(function).bind(*args, **kwargs).arguments)


@contextlib.contextmanager
def _sharded() -> Iterator[None]:
    """Tells Keras that each process gives its own rows."""
    mesh = keras.distribution.distribution()
    if mesh is None:
        yield
        return
    before = mesh.auto_shard_dataset
    # Keras raises for all but `tf.data`, and cannot shard batches of unlike
    # sizes.
    mesh.auto_shard_dataset = before and mesh.num_processes == 1
    try:
        yield
    finally:
        mesh.auto_shard_dataset = before
