"""Workarounds for XLA bugs."""

import keras


def opaque(x: keras.KerasTensor) -> keras.KerasTensor:
    """x, a tensor, of which XLA does not know the value.

    XLA on CPUs gets while loops wrong that it knows, when it compiles, to run
    exactly once (seen with jaxlib 0.10).
    """
    if keras.config.backend() != "jax":
        return x
    from jax import lax

    return lax.optimization_barrier(x)
