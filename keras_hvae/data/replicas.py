"""Replicas of a model under `tf.distribute`, which Keras does not tell of.

With a strategy of TensorFlow each replica runs a step on its rows of the
global batch, and Keras adds up the gradients. What a layer sums over the batch
it has to sum over the replicas, too. On JAX a step is one program for the
global batch, and on one device there is one replica: there all that follows
leaves its argument as it is.

All replicas must have as many rows: see `data.sharding`.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import keras
from keras import ops


def _context():
    """TensorFlow's context of this replica, if it is one of several."""
    if keras.config.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return context


def num_replicas() -> int:
    """How many replicas run this step; 1 outside of a step."""
    context = _context()
    return 1 if context is None else context.num_replicas_in_sync


def sum_over_replicas(x: Any) -> Any:
    """The sum of a tensor over the replicas; differentiable."""
    context = _context()
    return x if context is None else context.all_reduce("SUM", x)


def mean_over_replicas(x: Any) -> Any:
    """The mean of a tensor over the replicas; differentiable.

    What stands for a sum over the batch in a loss: Keras divides the losses
    of replicas by their number before it adds them up.
    """
    replicas = num_replicas()
    return x if replicas == 1 else sum_over_replicas(x) / replicas


def own_loss(x: Any) -> Any:
    """Marks a loss, for `add_loss`, as one of this replica.

    Replicas share the layers, and each is traced in a thread of its own, in
    turns. Where one waits for the others within `call`, Keras (3.15) mixes up
    the losses of all: see `own_losses`.
    """
    if _context() is not None:
        x._thread = threading.get_ident()
    return x


def own_losses(losses: list) -> list:
    """Of a model's losses those that are not marked as of another replica."""
    thread = threading.get_ident()
    return [x for x in losses if getattr(x, "_thread", thread) == thread]


def wait_for_all() -> None:
    """Waits until all replicas are here.

    A model that is called forgets its losses: none may add one before all
    have been called.
    """
    sum_over_replicas(ops.zeros(()))


def global_rows(x: Any) -> Any:
    """The rows of all replicas: `(B, ...)` to `(R · B, ...)`, float."""
    context = _context()
    if context is None:
        return x
    replicas = context.num_replicas_in_sync
    replica = ops.convert_to_tensor(context.replica_id_in_sync_group, "int32")
    own = ops.one_hot(replica, replicas, dtype=x.dtype)
    own = ops.reshape(own, (replicas, *(1,) * len(x.shape)))
    shape = ops.shape(x)
    rows = context.all_reduce("SUM", own * x[None])
    return ops.reshape(rows, (replicas * shape[0], *shape[1:]))


def own_rows(x: Any) -> Any:
    """This replica's rows of the global batch: `(R · B, ...)` to `(B, ...)`."""
    context = _context()
    if context is None:
        return x
    replicas = context.num_replicas_in_sync
    shape = ops.shape(x)
    x = ops.reshape(x, (replicas, shape[0] // replicas, *shape[1:]))
    return ops.take(x, context.replica_id_in_sync_group, axis=0)


def draw(random: Callable, shape: tuple, **kwargs) -> Any:
    """Random numbers for this replica's rows.

    All replicas have the same seed. Each draws the numbers of the global batch
    and takes its own, so that no two rows have the same, and a row has those
    that one device would give it.

    Args:
        random: such as `keras.random.normal`.
        shape: of this replica's numbers; axis 0 are its rows.
        **kwargs: for `random`.
    """
    replicas = num_replicas()
    if replicas == 1:
        return random(shape, **kwargs)
    return own_rows(random((replicas * shape[0], *shape[1:]), **kwargs))


class ReplicaSeed(keras.random.SeedGenerator):
    """The seeds of a generator, others on each replica.

    For draws so large that `draw` would take too long. Those of the first
    replica are the generator's own.

    Args:
        generator: a `keras.random.SeedGenerator`, the one that has a state.
    """

    def __init__(self, generator: keras.random.SeedGenerator) -> None:
        # Without the base class's: this one has no state of its own.
        self.generator = generator

    def next(self, ordered: bool = True) -> Any:
        seed = self.generator.next(ordered)
        context = _context()
        if context is None:
            return seed
        replica = ops.cast(context.replica_id_in_sync_group, seed.dtype)
        # A step adds 1 to the second number; the first is the layer's.
        return seed + ops.stack([replica * 7919, ops.zeros_like(replica)])


def clip_the_sum(optimizer: keras.optimizers.Optimizer) -> None:
    """Makes an optimizer clip the gradient of the global batch.

    Under a strategy, Keras (3.15) clips the gradient of each replica and then
    adds them up: another direction than that of the same batch on one device.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    clips = optimizer.clipnorm, optimizer.global_clipnorm, optimizer.clipvalue
    if not any(clips) or "_clip_gradients" in vars(optimizer):
        return
    for name in ("_clip_gradients", "_all_reduce_sum_gradients"):
        if not hasattr(optimizer, name):
            raise NotImplementedError(
                "This version of Keras adds up the gradients of replicas in a "
                "way that is not known here: compile without clipping. "
                f"Received: Keras {keras.__version__}"
            )
    clip, add_up = optimizer._clip_gradients, sum_over_replicas

    def clip_sum(gradients):
        return clip(add_up(gradients))

    optimizer._clip_gradients = clip_sum
    # They are added up by then.
    optimizer._all_reduce_sum_gradients = list


def in_several_workers(strategy: Any) -> bool:
    """Whether a strategy of TensorFlow trains in several processes."""
    import tensorflow as tf

    kind = tf.distribute.MultiWorkerMirroredStrategy
    return (
        isinstance(strategy, kind)
        and len(strategy.cluster_resolver.cluster_spec().as_dict()) > 0
    )


def many_workers() -> contextlib.AbstractContextManager:
    """The scope of a strategy over the processes of `TF_CONFIG`."""
    import tensorflow as tf

    return tf.distribute.MultiWorkerMirroredStrategy().scope()


def mirrored(number: int) -> contextlib.AbstractContextManager:
    """The scope of a strategy over so many devices of this machine.

    GPUs, or, where there are none, as many parts of the CPU.

    Raises:
        ValueError: if there are not as many.
    """
    import tensorflow as tf

    kind, late = "GPU", ""
    there = len(tf.config.list_physical_devices(kind))
    if not there:
        kind = "CPU"
        (cpu,) = tf.config.list_physical_devices(kind)
        try:
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * number
            )
        except RuntimeError:
            late = " TensorFlow runs already: enter the scope before that."
        there = len(tf.config.list_logical_devices(kind))
    if there < number:
        raise ValueError(
            f"`devices` must be at most {there}, the number of {kind}s.{late} "
            f"Received: {number}"
        )
    names = [f"{kind}:{i}" for i in range(number)]
    return tf.distribute.MirroredStrategy(names).scope()
