"""The few primitives that every hot path leans on.

``elementwise`` works on any array. The three products of a convolution exist twice: ``plain`` is a few lines for any
backend, ``cpu`` is what NumPy arrays get, in pieces that stay in cache and on all cores; tests show them equal.
"""

from __future__ import annotations

import numpy as np

from ..backend import Array, get_xp
from . import cpu, plain
from .elementwise import (
    accumulate,
    accumulate_matmul,
    fold,
    in_blocks,
    sigmoid,
    softplus,
    spread,
    sum_in_order,
    sum_rows,
    widen,
)
from .plain import Window

__all__ = [
    "Window",
    "accumulate",
    "accumulate_matmul",
    "convolve",
    "convolve_adjoint",
    "convolve_weights",
    "fold",
    "in_blocks",
    "sigmoid",
    "softplus",
    "spread",
    "sum_in_order",
    "sum_rows",
    "widen",
]


def convolve(x: Array, W: Array, window: Window, b: Array | None = None) -> Array:
    """See :func:`tinygan.kernels.plain.convolve`."""
    return _for(x).convolve(x, W, window, b)


def convolve_adjoint(y: Array, W: Array, hw: tuple[int, int], window: Window, b: Array | None = None) -> Array:
    """See :func:`tinygan.kernels.plain.convolve_adjoint`."""
    return _for(y).convolve_adjoint(y, W, hw, window, b)


def convolve_weights(x: Array, y: Array, window: Window) -> Array:
    """See :func:`tinygan.kernels.plain.convolve_weights`."""
    return _for(x).convolve_weights(x, y, window)


def _for(x: Array):
    return cpu if get_xp(x) is np else plain
