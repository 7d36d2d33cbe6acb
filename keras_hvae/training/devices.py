"""Training on several devices of this machine."""

import contextlib

import keras

from keras_hvae.arguments import check_positive_int
from keras_hvae.data.replicas import mirrored


def many_devices(devices: int) -> contextlib.AbstractContextManager:
    """A scope: models made and trained in it use several devices.

    Each step cuts its batch, the *global* batch, into as many parts. On JAX
    this is the scope of a `keras.distribution.DataParallel`, on TensorFlow
    that of a `tf.distribute.MirroredStrategy`; a training in several
    processes makes these itself: see the guide. Where there is no GPU, the
    CPU is split: call it before anything has run on TensorFlow or JAX.

    Args:
        devices: how many. With 1 the scope does nothing.

    Raises:
        ValueError: if there are fewer, or on PyTorch.

    Example:

    >>> with keras_hvae.training.many_devices(1):
    ...     model = HVAE(20, latent_dim=2, embedding_dim=4, hidden_dim=8)
    """
    check_positive_int(devices=devices)
    if devices == 1:
        return contextlib.nullcontext()
    backend = keras.config.backend()
    if backend == "tensorflow":
        return mirrored(devices)
    if backend == "jax":
        return _data_parallel(devices).scope()
    raise ValueError(
        "`devices` must be 1 on PyTorch: Keras trains on several devices on "
        f"JAX and TensorFlow only. Received: {devices}"
    )


def _data_parallel(devices):
    import jax

    # Of no effect where there is a GPU; an error once JAX runs.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", devices)
    names = keras.distribution.list_devices()
    if len(names) < devices:
        raise ValueError(
            f"`devices` must be at most {len(names)}, the number of devices "
            "that JAX has here. (Where it runs already, its CPU can no longer "
            f"be split: enter the scope before that.) Received: {devices}"
        )
    return keras.distribution.DataParallel(devices=names[:devices])
