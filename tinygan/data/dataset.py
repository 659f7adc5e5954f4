"""Labelled images in memory, and the order in which training visits them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError, positive_int, real
from ..errors import seed as check_seed
from ..layers.starting import flag
from ..ops import as_array
from .files import printable

MAX_BYTES = 4 << 30  #: of images that are made or unpacked in memory; a memory map may hold more
DARK = 64  #: images with no brighter value than this use less than a quarter of the range


@dataclass(frozen=True, eq=False, repr=False)
class ImageData:
    """Images as bytes, with or without labels. Training sees floats, but only of the batch at hand.

    Attributes
    ----------
    images : (N, H, W, C) uint8, in memory or a memory map, which is read batch by batch and may be larger than memory.
    labels : (len(self),) int64, from 0; or None.
    name : what the set is called, and what its error messages begin with.
    description : one line for the user: what this is and where it came from.
    classes : what the labels stand for, if they have names.
    mirrored : whether the indices N to 2N − 1 stand for the mirror images of 0 to N − 1, made when they are asked for.
        Labels given for N images are then repeated.

    Raises
    ------
    DataError
        The arrays are not of this shape and kind; the message says how to make them so.
    """

    images: np.ndarray
    labels: np.ndarray | None = None
    name: str = "images"
    description: str = ""
    classes: tuple[str, ...] = ()
    mirrored: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.images, np.ndarray) and not isinstance(self.images, np.memmap):  # no subclass but this
            object.__setattr__(self, "images", as_array(self.images))
        object.__setattr__(self, "mirrored", flag(self.mirrored, f"{self.name}: mirrored"))
        _check_layout(self.images, self.name)
        if self.images.dtype != np.uint8:
            mend = (
                "ImageData.from_floats(images, low=..., high=...) makes bytes of them"
                if self.images.dtype.kind == "f"
                else "if they hold 0 to 255, images.astype(numpy.uint8) makes bytes of them"
            )
            raise DataError(f"{self.name}: expected images of uint8, got {self.images.dtype}; {mend}.")
        if self.labels is not None:
            labels = self.labels
            if self.mirrored and np.shape(labels) == (len(self.images),):
                labels = np.concatenate([labels, labels])
            labels = checked_labels(labels, len(self), self.name)
            object.__setattr__(self, "labels", labels)  # frozen for everybody else
        object.__setattr__(self, "description", printable(str(self.description)))

    @classmethod
    def from_floats(
        cls,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        *,
        low: float = 0.0,
        high: float = 1.0,
        name: str = "images",
        description: str = "",
    ) -> ImageData:
        """Round float images (N, H, W, C), black at ``low`` and white at ``high``, to the 256 grey levels of bytes.

        Raises
        ------
        DataError
            The shape is another, the dtype is no float, or a value is NaN, infinite, or half a grey level or more
            outside [low, high]; what rounding leaves there is black or white.
        """
        low, high = check_range(low, high)
        _check_layout(images, name)
        if images.dtype.kind != "f":
            raise DataError(f"{name}: from_floats expects floats, got {images.dtype}; uint8 goes to ImageData itself.")
        finite = np.isfinite(images)
        if not finite.all():
            n, *pixel = (int(i) for i in np.argwhere(~finite)[0])
            raise DataError(
                f"{name}: image {n} holds {images[n, *pixel]} at pixel {tuple(pixel)}, and {np.sum(~finite)} values in "
                "all are not finite; leave such images out, or mend them with numpy.nan_to_num."
            )
        smallest, largest = float(images.min()), float(images.max())
        beyond = max(low - smallest, largest - high)
        if beyond >= half_a_level(low, high):
            mend = "pass the low and high that stand for black and white"
            if beyond < (high - low) / 10:
                mend += f", or numpy.clip(images, {low}, {high}) if these do"
            raise DataError(
                f"{name}: expected values in [{low}, {high}], got [{shown(smallest)}, {shown(largest)}]; {mend}."
            )
        scaled = np.rint((images.astype(np.float64) - low) * (255.0 / (high - low)))
        return cls(np.clip(scaled, 0.0, 255.0).astype(np.uint8), labels, name, description)

    def __len__(self) -> int:
        return len(self.images) * (2 if self.mirrored else 1)

    def __repr__(self) -> str:
        labels = "" if self.labels is None else ", with labels"
        return f"ImageData({self.name!r}, {len(self):,} images of {'x'.join(map(str, self.image_shape))}{labels})"

    def _repr_html_(self) -> str:
        from .contact_sheet import as_html  # which Pillow draws

        return as_html(self)

    def with_mirror_images(self) -> ImageData:
        """Return the same images, each followed later by its mirror image; this takes no memory."""
        if self.mirrored:
            return self
        return replace(self, mirrored=True, description=f"{self.description}, and their mirror images")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one image, (H, W, C)."""
        return self.images.shape[1:]

    def batch(
        self, indices: np.ndarray, *, low: float = -1.0, high: float = 1.0, dtype: Any = np.float32
    ) -> np.ndarray:
        """Return the images at ``indices`` (B,) as floats (B, H, W, C): byte 0 becomes ``low``, byte 255 ``high``.

        The default range is that of a generator that ends in tanh.

        Raises
        ------
        DataError
            No index at all, one beyond the data, or something other than a row of integers.
        ArgumentError
            ``low`` is not below ``high``, or ``dtype`` is no float.
        """
        indices, dtype = self.check_batch(indices, low=low, high=high, dtype=dtype)
        low, high = check_range(low, high)
        # From the middle outward, so that -1, 0 and 1 come out exact; Python floats, so that dtype stays.
        middle, half = (high + low) / 2, (high - low) / 2
        n = len(self.images)
        pixels = self.images[indices % n]  # (B, H, W, C), a copy
        pixels[indices >= n] = pixels[indices >= n, :, ::-1]
        out = np.subtract(pixels, 127.5, dtype=dtype)
        out /= 127.5 / half
        if middle:
            out += middle
        return out

    def check_batch(self, indices: np.ndarray, *, low: float, high: float, dtype: Any) -> tuple[np.ndarray, np.dtype]:
        """Refuse what :meth:`batch` refuses; return the indices as int64, and the dtype as such."""
        check_range(low, high)
        try:
            dtype = np.dtype(dtype)
        except Exception as error:  # NumPy has several for it
            raise ArgumentError(f"{self.name}: {dtype!r:.200} is no dtype; use numpy.float32.") from error
        if dtype.kind != "f":
            raise ArgumentError(f"{self.name}: a batch is made of floats, got dtype {dtype}; use numpy.float32.")
        try:
            indices = np.asarray(indices)
        except ValueError as error:  # rows of several lengths
            raise DataError(f"{self.name}: expected a row of integer indices, got {indices!r:.200}.") from error
        if indices.ndim != 1 or indices.dtype.kind not in "iu":
            raise DataError(
                f"{self.name}: expected a row of integer indices, got {indices.dtype} of shape {indices.shape}; "
                "a boolean mask goes through numpy.flatnonzero first."
            )
        if indices.size == 0:
            raise DataError(f"{self.name}: the batch is empty; pass at least one index.")
        if indices.min() < 0 or indices.max() >= len(self):
            raise DataError(
                f"{self.name}: indices must lie in 0..{len(self) - 1}, got {indices.min()} to {indices.max()}."
            )
        return indices.astype(np.int64, copy=False), dtype


def epoch_order(n: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return the order (n,) in which epoch number ``epoch`` visits n images: a permutation drawn from (seed, epoch).

    It depends on nothing else, so a resumed run finds its place without any stored state.
    """
    n, epoch = positive_int(n, "epoch_order: n", most=MAX_BYTES), positive_int(epoch, "epoch_order: epoch", least=0)
    seed = check_seed(seed, "epoch_order")
    # One seed serves a whole run. Of its keys, (0,) and (1,) are the GAN's noise, (0, i) and (1, i) images that tinygan
    # draws, (3, 0) the noise of a run's pictures, (3, 1) the choice of real ones beside them, (4, i) layers that are
    # made without a Generator
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2, epoch))).permutation(n)


def batches(n: int, batch_size: int, *, seed: int, start: int = 0) -> Iterator[np.ndarray]:
    """Yield the indices (batch_size,) of step ``start``, ``start`` + 1, ... of an endless training run over n images.

    Every epoch has n // batch_size steps in its own :func:`epoch_order`; the few images left over sit out, other
    ones each time. ``batches(..., start=k)`` goes on exactly where a run stopped after k steps.

    Raises
    ------
    DataError
        The batch is larger than the data.
    ArgumentError
        ``batch_size``, ``seed`` or ``start`` has no meaning.
    """
    per_epoch = steps_per_epoch(n, batch_size)
    start, seed = positive_int(start, "batches: start", least=0), check_seed(seed, "batches")
    n, batch_size = int(n), int(batch_size)

    def steps() -> Iterator[np.ndarray]:  # a generator of its own, so that the checks above run at the call
        epoch, step = divmod(start, per_epoch)
        while True:
            order = epoch_order(n, seed=seed, epoch=epoch)
            for first in range(step * batch_size, per_epoch * batch_size, batch_size):
                yield order[first : first + batch_size]
            epoch, step = epoch + 1, 0

    return steps()


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Return how many whole batches n images make; raise if not even one."""
    n, batch_size = positive_int(n, "the number of images", least=0), positive_int(batch_size, "the batch size")
    if batch_size > n:
        raise DataError(
            f"a batch of {batch_size} is larger than the data, which has {n} image{'' if n == 1 else 's'}. "
            + ("Use a smaller batch: --batch-size, or batch_size=." if n > 1 else "A GAN needs many more.")
        )
    return n // batch_size


def half_a_level(low: float, high: float) -> float:
    """How far outside [low, high] a value may lie and still be rounded to black or white."""
    return (high - low) / 510.0


def shown(x: float) -> str:
    """As many digits as tell the number from its neighbours."""
    return repr(x).removesuffix(".0")


def darkness(images: np.ndarray) -> str:
    """A hint for the user if a quarter or more of the images (N, H, W, C) are nearly black, judged by a hundred of
    them; else nothing."""
    most = images[:: -(-len(images) // 100)].max(axis=(1, 2, 3))
    dark = most[most < DARK]
    if 4 * len(dark) < len(most):
        return ""
    brightest = int(dark.max())
    which = "" if len(dark) == len(most) else f"{len(dark)} of {len(most)} that were looked at are "
    return (
        f"; {which}nearly black, their brightest value is {brightest} of 255 (in 16 bits: {256 * brightest + 255:,} of "
        "65,535): multiply the values so that they reach white, and save them again"
    )


def check_range(low: Any, high: Any) -> tuple[float, float]:
    """Return ``low`` and ``high`` as floats if they are finite and in this order, else raise ArgumentError."""
    if not -np.inf < real(low) < real(high) < np.inf:
        raise ArgumentError(f"range: expected low below high, both finite, got low={low!r:.200}, high={high!r:.200}.")
    return real(low), real(high)


def _check_layout(images: np.ndarray, name: str) -> None:
    """Refuse whatever is not an array (N, H, W, C) with at least one pixel."""
    if not isinstance(images, np.ndarray):
        raise DataError(
            f"{name}: expected a NumPy array, got {type(images).__name__}; numpy.asarray(images) or "
            "tinygan.to_numpy(images) makes one."
        )
    if images.ndim != 4:
        mend = {
            2: "rows of pixels need images.reshape(-1, height, width, channels)",
            3: "one channel is images[..., None], a single image is images[None]",
        }.get(images.ndim, "reshape them")
        raise DataError(f"{name}: expected images of shape (N, H, W, C), got {images.shape}; {mend}.")
    if images.size == 0:
        raise DataError(f"{name}: the data is empty, its shape is {images.shape}; at least one image is needed.")


def checked_labels(labels: np.ndarray, n: int, name: str) -> np.ndarray:
    """Return ``labels`` as (n,) int64."""
    try:
        labels = np.asarray(labels)
    except ValueError as error:  # rows of several lengths
        raise DataError(f"{name}: expected one label per image, got {labels!r:.200}.") from error
    if labels.shape != (n,):
        mend = "labels and images seem to be of different sets"
        if labels.ndim == 2 and len(labels) == n:
            mend = (
                "labels[:, 0] takes the only column" if labels.shape[1] == 1 else "labels.argmax(axis=1) numbers them"
            )
        raise DataError(f"{name}: expected one label per image, shape ({n},), got {labels.shape}; {mend}.")
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"{name}: expected integer labels, got {labels.dtype}; "
            "numpy.unique(labels, return_inverse=True) numbers them."
        )
    if labels.min() < 0 or labels.max() > np.iinfo(np.int64).max:
        raise DataError(
            f"{name}: expected labels that count from 0, got {labels.min()} to {labels.max()}; "
            "numpy.unique(labels, return_inverse=True) numbers them."
        )
    return labels.astype(np.int64)
