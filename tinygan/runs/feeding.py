"""What each step of a run is given: its real samples, or those of them that belong to this process."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..data import ImageData, OnDevice, batches
from ..errors import DataError
from ..gan import GAN
from ..models import ConditionalGAN
from ..ops import Array, ops_of
from ..parallel import Group


def real_samples(
    gan: GAN, data: ImageData, group: Group, batch_size: int, seed: int, low: float, high: float
) -> Iterator[tuple[Array, ...]]:
    """What each step from here on is called with in this process: its real samples, where the networks live, and of a
    GAN that knows classes their labels."""
    theta, d_steps = gan.discriminator.theta, gan.d_steps
    labels = labels_for(gan, data) if isinstance(gan, ConditionalGAN) else None
    rows, images = rows_of_process(group, batch_size), OnDevice(data, ops_of(theta))
    for order in batches(len(data), batch_size * d_steps, seed=seed, start=gan.t):
        of_turns = order.reshape(d_steps, batch_size)[:, rows]
        chosen = of_turns.reshape(-1)
        real = images.batch(chosen, low=low, high=high, dtype=theta.dtype)
        yield (real,) if labels is None else (real, labels[chosen])


def labels_for(gan: ConditionalGAN, data: ImageData) -> np.ndarray:
    """The labels of the data; DataError if it has none, or some that are no classes of the GAN."""
    if data.labels is None:
        where = data.description or f"{len(data):,} images"
        raise DataError(
            f"{data.name}: a GAN that knows classes needs a label for each image, and there are none ({where}). Lay "
            "pictures into a folder for each class, or give ImageData(images, labels)."
        )
    if data.labels.max() >= gan.classes:
        raise DataError(
            f"{data.name}: has labels of 0 to {data.labels.max()}, but the networks are made for {gan.classes} classes."
        )
    return data.labels


def rows_of_process(group: Group, batch_size: int) -> np.ndarray:
    """Which rows of a batch this process trains on."""
    return np.arange(batch_size)[group.rows(batch_size)]


def images_of_each_class(data: ImageData) -> np.ndarray:
    """How many images of each class the data has, (classes,), which has labels: of those with a name, or up to the
    largest label.

    Raises
    ------
    DataError
        There are numbers of classes without an image, of which nothing could be learned.
    """
    assert data.labels is not None
    there, counts = np.unique(data.labels, return_counts=True)
    classes = max(len(data.classes), int(there[-1]) + 1)
    if len(there) < classes:
        raise DataError(
            f"{data.name}: its labels are of {len(there)} classes, but count from 0 to {classes - 1}; the others have "
            "no image to learn from. numpy.unique(labels, return_inverse=True) numbers them from 0 without a gap."
        )
    return counts
