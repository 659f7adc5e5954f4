"""How a row of numbers that belong to an image is arranged here and there, and where PyTorch is found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, BackendError, positive_int

Order = np.ndarray | None  # where the numbers of a row stand there; None: at the same place


def channels_first(h: int, w: int, c: int) -> Order:
    """Where the numbers of an image (H, W, C), in a row, stand in a row of the same image (C, H, W); None: at the same
    place."""
    return None if c == 1 or h * w == 1 else np.arange(h * w * c).reshape(h, w, c).transpose(2, 0, 1).ravel()


def same(a: Order, b: Order) -> bool:
    """Whether two orders, of which None is that of the images here, are one."""
    return (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))


def placed(array: np.ndarray, order: Order) -> np.ndarray:
    """Rows that are in this order there, as they are here."""
    if order is None:
        return array
    here = np.empty_like(array)
    here[order] = array
    return here


def joined(orders: Sequence[Order], sizes: Sequence[int]) -> Order:
    """The order of rows of these sizes, one behind the other."""
    if all(order is None for order in orders):
        return None
    starts = np.cumsum([0, *sizes])
    parts = [np.arange(n) if order is None else order for order, n in zip(orders, sizes, strict=True)]
    return np.concatenate([start + part for start, part in zip(starts, parts, strict=False)])


def checked_shape(shape: Any, name: str) -> tuple[int, ...] | None:
    """The shape of a sample as it is here, (F,) or (H, W, C), or None."""
    if shape is None:
        return None
    if not isinstance(shape, Sequence) or isinstance(shape, str) or len(shape) not in (1, 3):
        raise ArgumentError(f"{name}: input_shape must be (F,) or (H, W, C), got {shape!r:.200}.")
    return tuple(positive_int(size, f"{name}: each size of input_shape") for size in shape)


def find_torch() -> Any:
    """The module ``torch``; BackendError if it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise BackendError(f"PyTorch is not here ({error}); pip install torch") from error
    return torch


def find_blocks() -> Any:
    """The module ``torch_blocks``, which needs PyTorch."""
    find_torch()
    from . import torch_blocks

    return torch_blocks
