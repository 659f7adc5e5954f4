"""What each step of a run is given: its real samples, or those of them that belong to this process."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..data import ImageData, OnDevice, batches
from ..gan import GAN
from ..ops import Array, ops_of
from ..parallel import Group


def real_samples(
    gan: GAN, data: ImageData, group: Group, batch_size: int, seed: int, low: float, high: float
) -> Iterator[Array]:
    """The real samples of each step from here on that belong to this process, where the networks live."""
    theta, d_steps = gan.discriminator.theta, gan.d_steps
    rows, images = rows_of_process(group, batch_size), OnDevice(data, ops_of(theta))
    for order in batches(len(data), batch_size * d_steps, seed=seed, start=gan.t):
        of_turns = order.reshape(d_steps, batch_size)[:, rows]
        yield images.batch(of_turns.reshape(-1), low=low, high=high, dtype=theta.dtype)


def rows_of_process(group: Group, batch_size: int) -> np.ndarray:
    """Which rows of a batch this process trains on."""
    return np.arange(batch_size)[group.rows(batch_size)]
