"""Counter-based random numbers, the same as those of an exported graph.

TensorFlow's stateless draws (`alg="philox"`) in NumPy, so that what is drawn
for a seed is one and the same in Python, on any backend, and in a SavedModel.
NumPy's own Philox has words of 64 bits and other numbers.

Reference:
    - [Salmon et al., 2011](https://doi.org/10.1145/2063384.2063405)
"""

from typing import Any

import numpy as np

MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], "uint64")
WEYL = np.array([0x9E3779B9, 0xBB67AE85], "uint64")
ROUNDS = 10
LOW = np.uint64(0xFFFFFFFF)
# Constants of the generator that turns a pair of seeds into key and counter.
SCRAMBLE_KEY = np.array([0x3EC8F720, 0x02461E29], "uint64")


def uniforms(seeds: Any, count: int) -> np.ndarray:
    """Numbers in [0, 1): `tf.random.stateless_uniform` of each pair.

    Args:
        seeds: pairs of ints >= 0, `(R, 2)`.
        count: how many numbers for each.

    Returns:
        float32 array of shape `(R, count)`.

    Example:

    >>> uniforms([(0, 0)], 2).round(4)
    array([[0.211, 0.706]], dtype=float32)
    """
    return _unit(_bits(seeds, count))[:, :count]


def normals(seeds: Any, count: int) -> np.ndarray:
    """Standard normal numbers: `tf.random.stateless_normal` of each pair.

    Args and returns: see `uniforms`. Equal to TensorFlow's to about 1e-6:
    its logarithm and sine are others.
    """
    unit = _unit(_bits(seeds, count))
    radius = np.sqrt(-2 * np.log(np.maximum(unit[:, ::2], np.float32(1e-7))))
    angle = np.float32(2 * np.pi) * unit[:, 1::2]
    pair = [radius * np.sin(angle), radius * np.cos(angle)]
    return np.stack(pair, axis=-1).reshape(len(unit), -1)[:, :count]


def _bits(seeds, count):
    """Words of 32 bits, at least `count` for each pair: uint64 `(R, W)`."""
    seeds = np.asarray(seeds, "uint64")
    halves = np.stack([seeds & LOW, seeds >> np.uint64(32)], axis=-1)
    mixed = _philox(halves.reshape(-1, 4), SCRAMBLE_KEY)  # (R, 4)
    groups = np.arange(-(-count // 4), dtype="uint64")
    counter = np.zeros((len(seeds), len(groups), 4), "uint64")
    counter[..., 0] = groups
    counter[..., 2:] = mixed[:, None, 2:]
    return _philox(counter, mixed[:, None, :2]).reshape(len(seeds), -1)


def _philox(counter, key):
    """Philox4x32-10: four words of a counter and a key of two."""
    a, b, c, d = np.moveaxis(counter, -1, 0)
    key_a, key_b = np.moveaxis(key, -1, 0)
    for _ in range(ROUNDS):
        first, second = MULTIPLIERS[0] * a, MULTIPLIERS[1] * c
        a, b, c, d = (
            (second >> np.uint64(32)) ^ b ^ key_a,
            second & LOW,
            (first >> np.uint64(32)) ^ d ^ key_b,
            first & LOW,
        )
        key_a, key_b = (key_a + WEYL[0]) & LOW, (key_b + WEYL[1]) & LOW
    return np.stack([a, b, c, d], axis=-1)


def _unit(bits):
    """float32 in [0, 1) of the 23 lowest bits."""
    bits = (bits & np.uint64(0x7FFFFF)) | np.uint64(0x3F800000)
    return bits.astype("uint32").view("float32") - np.float32(1)
