"""The sixth system: residual blocks without normalisation, in the spirit of R3GAN (Huang et al., 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from math import atanh
from typing import Any

import numpy as np

from ..errors import ArgumentError, positive_int, real
from ..layers import Conv2D, ConvTranspose2D, Dense, Flatten, Layer, LeakyReLU, Reshape, Tanh
from ..layers.initializers import Rng, as_generator, dcgan_normal, he_normal
from ..network import Sequential
from .blocks import Residual
from .knowledge import knowledge
from .sizes import checked_image_shape, growth

Pair = tuple[Sequential, Sequential]
LARGEST_START = 8  # pixels of the images that G starts from, where their size allows so few


def resnet(
    image_shape: Sequence[int] = (28, 28, 1),
    *,
    noise_dim: int = 100,
    width: int = 16,
    mean: float = 0.0,
    classes: int | None = None,
    conditional: str = "projection",
    rng: Rng = 0,
    dtype: Any = np.float32,
) -> Pair:
    r"""Residual blocks instead of normalisation, for images in [−1, 1], and a loss of pairs: :class:`Relativistic
    <tinygan.losses.Relativistic>` with R1 and R2 (Huang et al., 2024).

    A block y = x + f(x), with f of three convolutions, 1x1, 3x3 and 1x1 over half the channels (He et al., 2016,
    figure 5), begins as y = x: the last of them is 0 at first, so that signals neither grow nor fade through any number
    of blocks, which is what normalisation is for elsewhere (Zhang et al., 2019).

    Parameters
    ----------
    image_shape : (H, W, C); H and W are multiples of 4. G doubles a small image until it has that size.
    noise_dim : length of z.
    width : channels of the largest images in both networks; the smallest have four times as many, those between twice.
    mean : of the pixels of real images, in (−1, 1): G's first images have it. Where most pixels are black, G would
        run into black at once otherwise, where tanh is flat, and stay there for hundreds of steps.
    classes, conditional : of how many classes images are, and how the networks are told; None: they know of none.
    rng : Generator or seed for all weights.

    Returns
    -------
    generator : z (N, noise_dim) -> images (N, H, W, C) in (−1, 1).
    discriminator : images (N, H, W, C) -> logits (N, 1). No sample sees another, so batches may be small.
    """
    image_shape = h, w, c_image = checked_image_shape(image_shape, "resnet")
    noise_dim, width = positive_int(noise_dim, "resnet: noise_dim"), positive_int(width, "resnet: width")
    if not -1.0 < (shade := real(mean)) < 1.0:
        raise ArgumentError(f"resnet: mean must be a number between -1 and 1, got {mean!r:.100}.")
    known = knowledge(classes, conditional, "resnet")
    common = {"rng": as_generator(rng), "dtype": dtype}
    levels = _doublings(h, w)
    h, w, _ = growth(image_shape, levels, "resnet")
    c = [4 * width, *[2 * width] * (levels - 2), width]  # from the smallest images to the largest

    generator = [*known.first(), Dense(noise_dim + known.columns, h * w * c[0], **common), Reshape(h, w, c[0])]
    starts = [*[he_normal] * (levels - 1), dcgan_normal]  # the last, which makes pixels, smaller
    for c_in, c_out, init in zip(c, [*c[1:], c_image], starts, strict=True):
        generator += [_block(c_in, common), *known.scale(c_in, dtype), LeakyReLU(0.2)]
        generator += [ConvTranspose2D(c_in, c_out, 4, stride=2, init=init, **common)]
    generator[-1].params["b"][...] = atanh(shade)

    h, w, c_in = image_shape[0], image_shape[1], c_image + known.columns
    discriminator = [*known.first()]
    for level, c_out in enumerate((width, *[2 * width] * (levels - 1), 4 * width)):  # one level more than G has
        discriminator += [LeakyReLU(0.2)] if level else []
        discriminator += [Conv2D(c_in, c_out, 4 if level else 5, stride=2, **common)]
        h, w, c_in = -(-h // 2), -(-w // 2), c_out
    discriminator += [_block(c_in, common), LeakyReLU(0.2), Flatten(), known.last(h * w * c_in, common)]
    return Sequential(*generator, Tanh()), Sequential(*discriminator)


def _doublings(h: int, w: int) -> int:
    """So many that G starts from images of no more than 8 pixels a side, two at least, as far as their size allows."""
    return next(k for k in range(2, 64) if max(h, w) >> k <= LARGEST_START or (h | w) % 2 ** (k + 1))


def _block(c: int, common: dict[str, Any]) -> Layer:
    """y = x + f(x) over c channels, with f = 0 at first."""
    half = max(1, c // 2)
    return Residual(
        *(LeakyReLU(0.2), Conv2D(c, half, 1, **common)),
        *(LeakyReLU(0.2), Conv2D(half, half, 3, **common)),
        *(LeakyReLU(0.2), Conv2D(half, c, 1, init=_zeros, **common)),
    )


def _zeros(shape: tuple[int, ...], *, dtype: Any, **_: Any) -> np.ndarray:
    return np.zeros(shape, dtype=dtype)
