"""The samples that a run draws: of the same noise each time, and of a GAN that knows classes a row for each of them."""

from __future__ import annotations

from math import isqrt

import numpy as np

from ..gan import GAN
from ..models import ConditionalGAN
from ..ops import get_xp
from . import plotting

MAX_ROWS = 16  # classes that are shown


class Shown:
    """What a run shows of its GAN.

    Parameters
    ----------
    image_shape : (H, W, C) of the images.
    seed : of the noise. The samples in one column of a picture by classes are made of one z.
    """

    def __init__(self, gan: GAN, image_shape: tuple[int, ...], seed: int) -> None:
        # A key that nobody else uses, see tinygan.data.epoch_order
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(3, 0)))
        self.gan, n = gan, plotting.images_shown(image_shape)
        self.columns = isqrt(n)
        if not isinstance(gan, ConditionalGAN):
            self.noise = gan.noise(n, rng=rng)
            return
        rows = max(1, min(gan.classes, MAX_ROWS, plotting.MAX_SIDE // image_shape[0]))
        noise = gan.noise(self.columns, rng=rng)
        self.noise, self.labels = get_xp(noise).tile(noise, (rows, 1)), np.arange(rows).repeat(self.columns)

    def picture(self, *, low: float, high: float) -> np.ndarray:
        """What G, or its average, makes of the noise now."""
        gan, z = self.gan, self.noise
        samples = gan.sample(z=z, labels=self.labels) if isinstance(gan, ConditionalGAN) else gan.sample(z=z)
        return plotting.grid(samples, columns=self.columns, low=low, high=high)
