"""NumPy's arrays on all cores: convolutions by Winograd's method, passes over memory in blocks that stay in cache.

``layers`` holds what does the same as a layer of the book, faster. Only the book is imported here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ops import Array, Ops
from . import convolution, layers
from .blocks import in_blocks
from .tuning import tune


class CpuOps(Ops):
    """The operations of :class:`tinygan.ops.Ops` on NumPy's arrays, fast."""

    convolve = staticmethod(convolution.convolve)
    convolve_adjoint = staticmethod(convolution.convolve_adjoint)
    convolve_weights = staticmethod(convolution.convolve_weights)

    def links(self, layers_: Sequence[Any]) -> list[Any]:
        tune()
        return [layers.faster(layer) for layer in layers_]

    def update(self, optimizer: Any, numbers: Any, *arrays: Array) -> None:
        in_blocks(lambda *blocks: optimizer.update(numbers, *blocks), *arrays)

    def mix(self, average: Array, new: Array, part: float | Array) -> None:
        def block(average: Array, new: Array, step: Array) -> None:
            np.subtract(new, average, out=step)
            step *= part
            average += step

        in_blocks(block, average, new, scratch=1)
