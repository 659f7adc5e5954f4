"""How a row of numbers that belong to an image is arranged here and there, and where PyTorch is found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, BackendError, positive_int


def channels_first(h: int, w: int, c: int) -> np.ndarray | None:
    """Where the numbers of an image (H, W, C), in a row, stand in a row of the same image (C, H, W); None: at the same
    place."""
    return None if c == 1 or h * w == 1 else np.arange(h * w * c).reshape(h, w, c).transpose(2, 0, 1).ravel()


def same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    """Whether two orders, of which None is that of the images here, are one."""
    return (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))


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
