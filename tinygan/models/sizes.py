"""What the sizes of a system must be, and how its images grow."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from ..errors import ArgumentError, positive_int
from ..layers.starting import MAX_NUMBERS


def growth(image_shape: tuple[int, int, int], levels: int, name: str) -> tuple[int, int, list[int]]:
    """(h, w, strides): the size a generator of so many levels starts at, and how much each of them enlarges it."""
    h, w, _ = image_shape
    doublings = next((k for k in range(levels, 1, -1) if gcd(h, w) % 2**k == 0), None)
    if doublings is None:
        raise ArgumentError(
            f"{name}: height and width must be multiples of 4, since G doubles a small image, got {h}x{w}. Bring "
            "the images to such a size: --size 64, or load(..., size=64)."
        )
    return h >> doublings, w >> doublings, [1] * (levels - doublings) + [2] * doublings


def doubling(width: int, levels: int, name: str) -> list[int]:
    """The channels of so many levels, each twice as many as the one before; ArgumentError if ``width`` is none."""
    width = positive_int(width, f"{name}: width", most=MAX_NUMBERS)
    return [width << level for level in range(levels)]


def checked_image_shape(image_shape: Sequence[int], name: str) -> tuple[int, int, int]:
    """(H, W, C) as whole numbers; ArgumentError if it is no such shape."""
    if not isinstance(image_shape, Sequence) or len(image_shape) != 3:
        raise ArgumentError(f"{name}: image_shape must be (H, W, C), got {image_shape!r:.200}; a grey image has C = 1.")
    h, w, c = (positive_int(s, f"{name}: each size of image_shape") for s in image_shape)
    return h, w, c


def checked_sizes(hidden: Sequence[int], name: str) -> tuple[int, ...]:
    """The widths of hidden layers; ArgumentError if they are none."""
    try:
        sizes = tuple(hidden)
    except TypeError:
        text = f"{name}: the hidden widths must be a sequence such as (256, 512), got {hidden!r:.200}."
        raise ArgumentError(text) from None
    return tuple(positive_int(size, f"{name}: each hidden width") for size in sizes)
