"""What a run shows: samples of the same noise each time, and real images laid out in the same way; of a GAN that knows
classes a row for each of them."""

from __future__ import annotations

from math import isqrt

import numpy as np

from ..data import ImageData
from ..gan import GAN
from ..models import ConditionalGAN
from ..ops import get_xp
from . import plotting
from .feeding import labels_for

MAX_ROWS = 16  # classes that are shown


class Shown:
    """What a run shows of its GAN, and of what that learns from.

    Parameters
    ----------
    data : the real images, all of one shape.
    seed : of the noise, and of the choice of real images. The samples in one column of a picture by classes are made of
        one z.
    """

    def __init__(self, gan: GAN, data: ImageData, seed: int) -> None:
        # Keys that nobody else uses, see tinygan.data.epoch_order
        of_noise, self._of_images = (np.random.SeedSequence(seed, spawn_key=(3, k)) for k in (0, 1))
        rng, n = np.random.default_rng(of_noise), plotting.images_shown(data.image_shape)
        self.gan, self.data, self.columns = gan, data, isqrt(n)
        if not isinstance(gan, ConditionalGAN):
            self.noise = gan.noise(n, rng=rng)
            return
        rows = max(1, min(gan.classes, MAX_ROWS, plotting.MAX_SIDE // data.image_shape[0]))
        noise = gan.noise(self.columns, rng=rng)
        self.noise, self.labels = get_xp(noise).tile(noise, (rows, 1)), np.arange(rows).repeat(self.columns)

    def picture(self, *, low: float, high: float) -> np.ndarray:
        """What G, or its average, makes of the noise now."""
        gan, z = self.gan, self.noise
        samples = gan.sample(z=z, labels=self.labels) if isinstance(gan, ConditionalGAN) else gan.sample(z=z)
        return plotting.grid(samples, columns=self.columns, low=low, high=high)

    def real(self) -> np.ndarray:
        """As many images of the data in the same places, each once, and none of them mirrored; where there are too few,
        places stay empty."""
        images, rng = self.data.images, np.random.default_rng(self._of_images)
        tiles, rows = np.zeros((len(self.noise), *images.shape[1:]), np.uint8), [np.arange(len(images))]
        if isinstance(self.gan, ConditionalGAN):
            labels = labels_for(self.gan, self.data)[: len(images)]  # after these come those of mirror images
            rows = [np.flatnonzero(labels == k) for k in self.labels[:: self.columns]]
        for places, own in zip(np.split(tiles, len(rows)), rows, strict=True):  # views
            chosen = rng.permutation(own)[: len(places)]
            places[: len(chosen)] = images[chosen]
        return plotting.grid(tiles, columns=self.columns)
