"""The few primitives that every hot path leans on.

``elementwise`` works on any array. Others exist several times: in ``plain`` a few lines for any backend; in ``cpu``,
for NumPy arrays, the three products of a convolution, in pieces that stay in cache and on all cores; in ``gpu``, for
CuPy arrays, with kernels written in CUDA (``*.cu``). Tests show them equal, those of the GPU without one too.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from ..backend import Array, get_xp
from . import batchnorm, cpu, gpu, gpu_batchnorm, gpu_losses, launch, plain
from .elementwise import (
    accumulate,
    accumulate_matmul,
    fold,
    in_blocks,
    softplus,
    spread,
    sum_in_order,
    sum_rows,
    widen,
)
from .elementwise import sigmoid as _sigmoid
from .plain import Window
from .products import matmul

__all__ = [
    "Window",
    "accumulate",
    "accumulate_convolve_weights",
    "accumulate_matmul",
    "batchnorm_for",
    "bias_leaky",
    "bias_leaky_backward",
    "convolve",
    "convolve_adjoint",
    "convolve_weights",
    "fold",
    "fuses",
    "gpu",
    "gpu_losses",
    "in_blocks",
    "leaky_relu",
    "leaky_relu_backward",
    "matmul",
    "minibatch",
    "on_gpu",
    "sigmoid",
    "sigmoid_backward",
    "softplus",
    "spread",
    "sum_in_order",
    "sum_rows",
    "tanh_backward",
    "widen",
]


def on_gpu(x: Array) -> bool:
    """Whether the kernels of ``gpu`` can run on x."""
    return launch.reaches(x)


def fuses(x: Array) -> bool:
    """Whether two layers are better done as one where x is: passes over memory count on a GPU. On the CPU, blocks of
    both stay in cache anyway. (On the stand-in for a GPU, so that its tests see it.)"""
    return get_xp(x) is not np or on_gpu(x)


def _for(x: Array) -> ModuleType:
    return gpu if on_gpu(x) else plain


# ---- convolution -----------------------------------------------------------------------------------------------------


def convolve(x: Array, W: Array, window: Window, b: Array | None = None, slope: float = 1.0) -> Array:
    """See :func:`tinygan.kernels.plain.convolve`."""
    if _on_cpu(x):
        return plain.bias_leaky(cpu.convolve(x, W, window, b), None, slope)
    return _for(x).convolve(x, W, window, b, slope)


def convolve_adjoint(
    y: Array, W: Array, hw: tuple[int, int], window: Window, b: Array | None = None, slope: float = 1.0
) -> Array:
    """See :func:`tinygan.kernels.plain.convolve_adjoint`."""
    if _on_cpu(y):
        return plain.bias_leaky(cpu.convolve_adjoint(y, W, hw, window, b), None, slope)
    return _for(y).convolve_adjoint(y, W, hw, window, b, slope)


def convolve_weights(x: Array, y: Array, window: Window) -> Array:
    """See :func:`tinygan.kernels.plain.convolve_weights`."""
    return (cpu if _on_cpu(x) else _for(x)).convolve_weights(x, y, window)


def accumulate_convolve_weights(out: Array, x: Array, y: Array, window: Window, *, add: bool) -> None:
    """Like ``accumulate(out, convolve_weights(x, y, window))``; on a GPU it needs no memory beside ``out``."""
    if on_gpu(x):
        gpu.convolve_weights(x, y, window, out, add=add)
    else:
        accumulate(out, convolve_weights(x, y, window), add=add)


def _on_cpu(x: Array) -> bool:
    return get_xp(x) is np and not on_gpu(x)


# ---- rows of channels, and number by number --------------------------------------------------------------------------


def bias_leaky(y: Array, b: Array | None, slope: float = 1.0) -> Array:
    """See :func:`tinygan.kernels.plain.bias_leaky`."""
    return _for(y).bias_leaky(y, b, slope)


def bias_leaky_backward(
    dy: Array, y: Array | None, slope: float, db: Array | None = None, *, add: bool = False
) -> Array:
    """See :func:`tinygan.kernels.plain.bias_leaky_backward`."""
    return _for(dy).bias_leaky_backward(dy, y, slope, db, add=add)


def leaky_relu(x: Array, slope: float) -> Array:
    """See :func:`tinygan.kernels.plain.leaky_relu`."""
    return _for(x).leaky_relu(x, slope)


def leaky_relu_backward(y: Array, dy: Array, slope: float) -> Array:
    """See :func:`tinygan.kernels.plain.leaky_relu_backward`."""
    return _for(dy).leaky_relu_backward(y, dy, slope)


def sigmoid(s: Array) -> Array:
    """See :func:`tinygan.kernels.elementwise.sigmoid`."""
    return gpu.sigmoid(s) if on_gpu(s) else _sigmoid(s)


def sigmoid_backward(y: Array, dy: Array) -> Array:
    """See :func:`tinygan.kernels.plain.sigmoid_backward`."""
    return _for(dy).sigmoid_backward(y, dy)


def tanh_backward(y: Array, dy: Array) -> Array:
    """See :func:`tinygan.kernels.plain.tanh_backward`."""
    return _for(dy).tanh_backward(y, dy)


def batchnorm_for(x: Array) -> ModuleType:
    """Where the steps of batch normalisation are: :mod:`tinygan.kernels.batchnorm`, or the same for a GPU."""
    return gpu_batchnorm if on_gpu(x) else batchnorm


def minibatch(images: Array, indices: Array, low: float, high: float, dtype: Any) -> Array:
    """See :func:`tinygan.kernels.plain.minibatch`."""
    return _for(images).minibatch(images, indices, low, high, dtype)
