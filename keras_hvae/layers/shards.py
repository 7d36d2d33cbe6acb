"""Rows that each device computes apart from the others, on JAX."""

from collections.abc import Callable, Sequence

import keras


def on_own_rows(
    function: Callable,
    rows: Sequence[keras.KerasTensor],
    weights: Sequence[keras.KerasTensor],
) -> keras.KerasTensor:
    """Runs a function of rows where they are: `function(*rows, *weights)`.

    Under a `keras.distribution` JAX divides a program among the devices. It
    cannot divide what sorts rows, or loops as often as the data says: each
    device would do all of it. Where rows do not depend on each other, each
    may do so with its own.

    Args:
        function: returns a tensor with as many rows as it gets.
        rows: tensors `(R, ...)`.
        weights: tensors that all devices have.
    """
    mesh = keras.distribution.distribution()
    if (
        keras.config.backend() != "jax"
        or mesh is None
        or mesh.device_mesh.devices.size == 1
        or rows[0].shape[0] % mesh.num_model_replicas
    ):
        return function(*rows, *weights)
    import jax

    own = jax.sharding.PartitionSpec(mesh.batch_dim_name)
    all_have = jax.sharding.PartitionSpec()
    run = jax.shard_map(
        function,
        mesh=mesh.device_mesh.backend_mesh,
        in_specs=(*(own for _ in rows), *(all_have for _ in weights)),
        out_specs=own,
        # It would ask for casts wherever a loop mixes rows and constants.
        check_vma=False,
    )
    return run(*rows, *weights)
