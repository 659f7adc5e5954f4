"""The images of a data set in a device's memory, where minibatches are gathered without moving a pixel."""

from __future__ import annotations

import numpy as np

from ..backend import Array, Backend, get_backend
from ..kernels import minibatch
from .dataset import ImageData

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

    def __init__(self, data: ImageData, backend: str | Backend, *, share: float = SHARE) -> None:
        self.data, self.backend = data, get_backend(backend)
        self.kept = self.backend.name != "numpy" and data.images.nbytes <= share * self._free_memory()
        self._images = self._copy() if self.kept else None  # (N, H, W, C) uint8

    def batch(self, indices: np.ndarray, *, low: float = -1.0, high: float = 1.0, dtype: type = np.float32) -> Array:
        """Return the images at ``indices`` (B,), on the host, as floats (B, H, W, C) in [low, high] on the backend.

        The host does not wait. The indices are checked as in :meth:`ImageData.batch`, which raises the same errors.
        """
        if not self.kept:
            return self.backend.from_host(self.data.batch(indices, low=low, high=high, dtype=dtype))
        indices, dtype = self.data.check_batch(indices, low=low, high=high, dtype=dtype)
        return minibatch(self._images, self.backend.from_host(indices), low, high, dtype)

    def _free_memory(self) -> float:
        return self.backend.free_memory() if self.backend.free_memory else float("inf")

    def _copy(self) -> Array:
        host, xp = self.data.images, self.backend.xp
        images = xp.empty(host.shape, dtype=xp.uint8)
        rows = max(1, PIECE // host[0].nbytes)
        for i in range(0, len(host), rows):
            images[i : i + rows] = self.backend.from_host(np.ascontiguousarray(host[i : i + rows]))
        return images
