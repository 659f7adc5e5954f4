"""Stacked digits: three grey digits as the colours of one image, so that there are 1,000 kinds of images to lose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError, positive_int
from ..layers.starting import as_generator
from .dataset import MAX_BYTES, ImageData

CHANNELS, DIGITS = 3, 10
MODES = DIGITS**CHANNELS


class Stacked:
    """Images of three digits, a red, a green and a blue one, each drawn alone from the same grey digits.

    The test of mode collapse by Che et al. (2017, section 4.1, "compositional MNIST") and Metz et al. (2017, section
    3.3.1): a generator that leaves kinds out shows it, since how many of the 1,000 there are can be counted.

    Parameters
    ----------
    digits : (N, H, W, 1) grey images, with a label of 0 to 9 each.

    Attributes
    ----------
    image_shape : (H, W, 3).

    Raises
    ------
    DataError
        The digits are not grey, or have no labels, or have labels above 9.

    Notes
    -----
    Of N digits N³ images can be made: 60,000 give 2·10¹⁴. So none is kept; a batch is stacked when it is drawn, and
    training need never see an image twice. The mode of an image with the digits a (red), b (green) and c (blue) is

        m = 100 a + 10 b + c      in 0..999
    """

    def __init__(self, digits: ImageData) -> None:
        if not isinstance(digits, ImageData):
            raise DataError(f"Stacked: expected tinygan.data.ImageData, got {type(digits).__name__}.")
        *_, channels = digits.image_shape
        if channels != 1:
            raise DataError(
                f"{digits.name}: stacking needs grey digits, not {channels} channels; load(..., channels=1)."
            )
        if digits.labels is None:
            raise DataError(f"{digits.name}: stacking needs the labels, which say what mode an image is of.")
        if digits.labels.max() >= DIGITS:
            raise DataError(f"{digits.name}: stacking needs labels of 0 to 9, got {digits.labels.max()}.")
        self.digits, self._labels = digits, digits.labels
        self.image_shape = (*digits.image_shape[:2], CHANNELS)

    def __repr__(self) -> str:
        return f"Stacked({self.digits!r})"

    def draw(self, n: int, rng: np.random.Generator, *, low: float = -1.0, high: float = 1.0) -> np.ndarray:
        """Return n new images (n, H, W, 3) as float32: black is ``low``, and full colour ``high``."""
        rows = self._rows(positive_int(n, "Stacked: n", most=MAX_BYTES), rng)
        flat = self.digits.batch(rows.ravel(), low=low, high=high)[..., 0]  # (n · 3, H, W)
        return np.ascontiguousarray(np.moveaxis(flat.reshape(n, CHANNELS, *flat.shape[1:]), 1, -1))

    def fixed(self, n: int, rng: np.random.Generator) -> ImageData:
        """Return n images as a data set with their modes as labels, for what needs the same images again and again.

        The literature keeps 128,000 of them (Srivastava et al., 2017), which take 301 MB at 28x28; 25,600 take 60 MB.

        Raises
        ------
        DataError
            They would take more than 4 GiB.
        """
        height, width, _ = self.image_shape
        if positive_int(n, "Stacked: n") * height * width * CHANNELS > MAX_BYTES:
            raise DataError(f"{self.digits.name}: {n:,} stacked images take more than 4 GiB; ask for fewer, or draw().")
        rows = self._rows(n, rng)
        images = np.empty((n, *self.image_shape), np.uint8)
        for c in range(CHANNELS):  # through batch, which knows what is mirrored; a thousand at a time as floats
            for i in range(0, n, 1000):
                images[i : i + 1000, ..., c] = self.digits.batch(rows[i : i + 1000, c], low=0.0, high=255.0)[..., 0]
        labels = modes(self._labels[rows])
        name = f"stacked {self.digits.name}"
        return ImageData(images, labels, name, f"{n:,} images of three digits each, from {self.digits.description}")

    def _rows(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Which digits (n, 3) make the images: each drawn evenly from all, with repetition."""
        return as_generator(rng).integers(0, len(self.digits), (positive_int(n, "Stacked: n"), CHANNELS))


def channels(images: np.ndarray) -> np.ndarray:
    """Take stacked images (N, H, W, 3) apart: (N · 3, H, W, 1), the three digits of an image one after the other."""
    return np.moveaxis(images, -1, 1).reshape(-1, *images.shape[1:3], 1)


def modes(named: np.ndarray | Sequence[Sequence[int]]) -> np.ndarray:
    """Return m = 100 a + 10 b + c (N,) for the names (a, b, c) that the three digits of each image have, (N, 3)."""
    return np.asarray(named) @ np.array([100, 10, 1])
