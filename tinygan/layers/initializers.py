"""How weights start: plain functions ``init(shape, *, fan_in, fan_out, rng, dtype)`` that return an array.

``fan_in`` is how many inputs feed one output of the layer and ``fan_out`` how many outputs one input feeds; where the
variance of what flows through a layer stays near 1, forward and backward, signals neither die nor explode.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .starting import Rng, as_generator

Initializer = Callable[..., np.ndarray]


def he_normal(shape, *, fan_in: int, fan_out: int, rng: Rng, dtype=np.float32) -> np.ndarray:
    """Normal with variance 2 / fan_in, which keeps the variance through ReLU layers (He et al., 2015, eq. 10)."""
    return _normal(shape, (2.0 / fan_in) ** 0.5, rng, dtype)


def glorot_uniform(shape, *, fan_in: int, fan_out: int, rng: Rng, dtype=np.float32) -> np.ndarray:
    """Uniform in ±√(6 / (fan_in + fan_out)), a balance of forward and backward (Glorot and Bengio, 2010, eq. 16)."""
    limit = (6.0 / (fan_in + fan_out)) ** 0.5
    return as_generator(rng).uniform(-limit, limit, size=shape).astype(dtype)


def dcgan_normal(shape, *, fan_in: int, fan_out: int, rng: Rng, dtype=np.float32) -> np.ndarray:
    """Normal with standard deviation 0.02, whatever the size of the layer (Radford et al., 2016, section 4)."""
    return _normal(shape, 0.02, rng, dtype)


def _normal(shape, std: float, rng: Rng, dtype) -> np.ndarray:
    return (std * as_generator(rng).standard_normal(shape)).astype(dtype)
