"""How what the host has decided reaches the device: arrays and numbers in nested tuples, in one piece of memory.

A step (:meth:`tinygan.GAN.play`) computes from real samples and from what :meth:`tinygan.GAN.draw` has decided. All of
it goes to the device in one copy, and what the step sees are views of that memory. A step that is replayed finds the
next draws in the same places.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...errors import BackendError
from ...ops import Array

ALIGNED = 256  # bytes: where each array begins, as in memory that CUDA hands out


class Place(NamedTuple):
    """Where one array or number lies."""

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype


class Tuple(NamedTuple):
    """The places of what is in a tuple, and how to make one of that kind."""

    kind: type
    items: tuple[Any, ...]


class Layout(NamedTuple):
    """Places of all that is in nested tuples, and how much memory they take; equal for values of equal shapes."""

    plan: Any
    nbytes: int

    def write(self, values: Any, memory: np.ndarray) -> None:
        """Write values of this layout into ``memory`` (nbytes,) uint8 on the host."""
        _write(self.plan, values, memory)

    def unpack(self, memory: Array) -> Any:
        """The values in ``memory`` (nbytes,) uint8, as views of it in tuples of the same kinds."""
        return _unpack(self.plan, memory)


def lay_out(values: Any, dtype: Any) -> Layout:
    """Find a place for each array and number in ``values``: integer arrays as they are, all else as ``dtype``."""
    end, dtype = 0, np.dtype(dtype)

    def plan(value: Any) -> Any:
        nonlocal end
        if value is None:
            return None
        if isinstance(value, tuple):
            return Tuple(type(value), tuple(plan(one) for one in value))
        whole = isinstance(value, np.ndarray) and value.dtype.kind in "iub"
        place = Place(end, np.shape(value), value.dtype if whole else dtype)
        size = place.dtype.itemsize * int(np.prod(place.shape))
        end += -(-size // ALIGNED) * ALIGNED
        return place

    planned = plan(values)
    return Layout(planned, end)


def _write(plan: Any, value: Any, memory: np.ndarray) -> None:
    if isinstance(plan, Tuple):
        for place, one in zip(plan.items, value, strict=True):
            _write(place, one, memory)
    elif plan is not None:
        if np.shape(value) != plan.shape:
            raise BackendError(f"an array {np.shape(value)} does not fit the place of one {plan.shape}.")
        np.ndarray(plan.shape, plan.dtype, memory, plan.start)[...] = value


def _unpack(plan: Any, memory: Array) -> Any:
    if plan is None:
        return None
    if isinstance(plan, Tuple):
        items = [_unpack(place, memory) for place in plan.items]
        return plan.kind(*items) if hasattr(plan.kind, "_fields") else plan.kind(items)
    size = plan.dtype.itemsize * int(np.prod(plan.shape))
    return memory[plan.start : plan.start + size].view(plan.dtype).reshape(plan.shape)
