"""The images of a data set in a device's memory, where minibatches are gathered without moving a pixel."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, fraction
from ..ops import Array, Ops, get_ops, get_xp
from .dataset import ImageData, check_range

SHARE = 0.25  #: of a device's free memory that images may take; the rest is for networks and what backward needs
PIECE = 64 << 20  # bytes copied to the device at a time, so that a memory map never has to be read as a whole


class OnDevice:
    """What :meth:`ImageData.batch` gives, to the bit, as arrays of a backend.

    Where the images fit into the device's memory they are copied there once, as bytes; from then on a batch costs its
    indices, 8 bytes an image. Where they do not, or on NumPy, every batch is made on the host and copied.

    Parameters
    ----------
    data : the images.
    backend : where batches are wanted, a backend or its name.
    share : of the device's free memory, how much the images may take at most, in [0, 1]; 0 keeps them on the host.

    Attributes
    ----------
    kept : whether the images are in the device's memory.
    """

    def __init__(self, data: ImageData, backend: str | Ops, *, share: float = SHARE) -> None:
        if not isinstance(data, ImageData):
            raise ArgumentError(f"OnDevice: expected tinygan.data.ImageData, got {type(data).__name__}.")
        share = fraction(share, "OnDevice: share", closed="[]")
        self.data, self.backend = data, get_ops(backend)
        self.kept = self.backend.name != "numpy" and data.images.nbytes <= share * self._free_memory()
        self._images: Any = self._copy() if self.kept else None  # (N, H, W, C) uint8
        self._gather = getattr(self.backend, "minibatch", minibatch)  # a GPU has a kernel for it

    def __repr__(self) -> str:
        return f"OnDevice({self.data!r}, {self.backend.name!r})"

    def batch(self, indices: np.ndarray, *, low: float = -1.0, high: float = 1.0, dtype: Any = np.float32) -> Array:
        """Return the images at ``indices`` (B,), on the host, as floats (B, H, W, C) in [low, high] on the backend.

        The host does not wait. The indices are checked as in :meth:`ImageData.batch`, which raises the same errors.
        """
        if not self.kept:
            return self.backend.from_host(self.data.batch(indices, low=low, high=high, dtype=dtype))
        indices, dtype = self.data.check_batch(indices, low=low, high=high, dtype=dtype)
        low, high = check_range(low, high)
        return self._gather(self._images, self.backend.from_host(indices), low, high, dtype)

    def _free_memory(self) -> float:
        ask = getattr(self.backend, "free_memory", None)
        return ask() if ask else float("inf")

    def _copy(self) -> Array:
        host, xp = self.data.images, self.backend.xp
        images = xp.empty(host.shape, dtype=xp.uint8)
        rows = max(1, PIECE // host[0].nbytes)
        for i in range(0, len(host), rows):
            images[i : i + rows] = self.backend.from_host(np.ascontiguousarray(host[i : i + rows]))
        return images


def minibatch(images: Array, indices: Array, low: float, high: float, dtype: Any) -> Array:
    """Pick images and make floats of them: images (N, H, W, C) uint8, indices (B,) int64 -> x (B, H, W, C) of dtype.

        x[b,h,w,c] = (p − 127.5) / (127.5 / half) + middle           half = (high − low) / 2, middle = (high + low) / 2
        p = images[i, h, w, c]           for i = indices[b] < N
        p = images[i − N, h, W − 1 − w, c]   for i in N..2N − 1, which stand for mirror images

    rounded after each operation, which makes the result that of every other backend to the bit.
    """
    xp, n = get_xp(images, indices), len(images)
    pixels = images[indices % n]  # (B, H, W, C), a copy
    mirrored = (indices >= n)[:, None, None, None]
    x = xp.where(mirrored, pixels[:, :, ::-1], pixels).astype(dtype)
    middle, half = (high + low) / 2, (high - low) / 2
    x -= 127.5
    x /= 127.5 / half
    if middle:
        x += middle
    return x
