"""NVIDIA GPUs, by CuPy: kernels of our own (``*.cu``), products by cuBLAS, whole steps replayed as CUDA graphs.

``fused`` says what layers are made of here, in plain lines; ``kernels``, ``batchnorm`` and ``losses`` launch the same
on a GPU; ``layers`` puts them in the places of a network's layers; ``graphs`` records and replays a step. Importing
this imports no CuPy. Imported from here are the book and ``backends``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...ops import Array
from ...optim.adam import Adam
from . import batchnorm, cublas, kernels, losses
from .fused import FusedOps
from .graphs import stepper

__all__ = ["CudaOps", "stepper"]


class CudaOps(FusedOps):
    """The operations of :class:`FusedOps` on CuPy's arrays, with kernels of our own.

    Parameters
    ----------
    cupy : the module.
    device : the name of the GPU, for people.
    tf32, free_memory : see :class:`FusedOps`.
    """

    name = "cupy"

    def __init__(
        self, cupy: Any, device: str, *, tf32: bool = False, free_memory: Callable[[], int] | None = None
    ) -> None:
        self.xp, self.array_type, self.device = cupy, cupy.ndarray, device
        self.tf32, self.free_memory = tf32, free_memory

    def from_host(self, x: np.ndarray) -> Array:
        return self.xp.asarray(x)

    def to_host(self, x: Array) -> np.ndarray:
        return self.xp.asnumpy(x)

    matmul = staticmethod(cublas.matmul)
    gather_columns = staticmethod(kernels.gather_columns)
    scatter_columns = staticmethod(kernels.scatter_columns)
    convolve = staticmethod(kernels.convolve)
    convolve_adjoint = staticmethod(kernels.convolve_adjoint)
    convolve_weights = staticmethod(kernels.convolve_weights)
    bias_leaky = staticmethod(kernels.bias_leaky)
    bias_leaky_backward = staticmethod(kernels.bias_leaky_backward)
    leaky_relu = staticmethod(kernels.leaky_relu)
    leaky_relu_backward = staticmethod(kernels.leaky_relu_backward)
    sigmoid = staticmethod(kernels.sigmoid)
    sigmoid_backward = staticmethod(kernels.sigmoid_backward)
    tanh_backward = staticmethod(kernels.tanh_backward)
    normalise_batches = staticmethod(batchnorm.normalise_batches)
    normalise_fixed = staticmethod(batchnorm.normalise_fixed)
    normalise_backward = staticmethod(batchnorm.normalise_backward)
    minibatch = staticmethod(kernels.minibatch)
    loss = staticmethod(losses.fused)

    def update(self, optimizer: Any, numbers: Any, *arrays: Array) -> None:
        if type(optimizer) is Adam:
            (theta, g, M, V), (a, e) = arrays, numbers
            kernels.adam(theta, g, M, V, a, e, optimizer.beta1, optimizer.beta2)
        else:
            optimizer.update(numbers, *arrays)

    def mix(self, average: Array, new: Array, part: Any) -> None:
        kernels.average(average, new, part)
