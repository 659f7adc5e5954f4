"""The six systems, each a few lines of layers: functions that return (generator, discriminator).

| function | G | D | images in | usual loss |
|---|---|---|---|---|
| :func:`mlp` | dense | dense | [−1, 1] | non-saturating |
| :func:`mlp_conv` | dense | convolutions | [0, 1] | non-saturating |
| :func:`lsgan` | dense | convolutions | [0, 1] | least squares |
| :func:`dcgan` | transposed convolutions 5x5 | convolutions 5x5 | [−1, 1] | non-saturating |
| :func:`dcgan64` | transposed convolutions 4x4 | convolutions 4x4 | [−1, 1] | non-saturating |
| :func:`resnet` | residual blocks, no normalisation | the same | [−1, 1] | relativistic, R1 and R2 |

All take ``image_shape`` = (H, W, C) and ``noise_dim``, so any generator can play against any discriminator for images
of the same shape. D ends in a logit and G in the range of the images: the losses apply σ, never D. With ``classes=K``
both networks know the class of each sample, in one of two ways (:mod:`tinygan.models.conditional`). Networks that
are no row of layers are made of :mod:`tinygan.models.blocks`. This wing imports the book, and ``penalties``, which are
told of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ..errors import positive_int
from ..layers import BatchNorm, Conv2D, ConvTranspose2D, Dense, Flatten, Layer, LeakyReLU, ReLU, Reshape, Sigmoid, Tanh
from ..layers.initializers import Rng, as_generator, dcgan_normal
from ..layers.starting import flag
from ..network import Sequential
from .blocks import Add, Concat, Residual
from .conditional import ConditionalGAN
from .knowledge import Knowledge, knowledge
from .resnet import resnet
from .sizes import checked_image_shape, checked_sizes, doubling, growth

__all__ = ["Add", "Concat", "ConditionalGAN", "Residual", "dcgan", "dcgan64", "lsgan", "mlp", "mlp_conv", "resnet"]

Pair = tuple[Sequential, Sequential]


def mlp(
    image_shape: Sequence[int] = (28, 28, 1),
    *,
    noise_dim: int = 100,
    g_hidden: Sequence[int] = (256, 512, 1024),
    d_hidden: Sequence[int] = (512, 256),
    batch_norm: bool = True,
    classes: int | None = None,
    conditional: str = "projection",
    rng: Rng = 0,
    dtype: Any = np.float32,
) -> Pair:
    """The fully connected GAN of ``examples/mnist_mlp_gan.py``, for images in [−1, 1] (Goodfellow et al., 2014).

    Parameters
    ----------
    image_shape : (H, W, C).
    noise_dim : length of z.
    g_hidden, d_hidden : widths of the hidden layers.
    batch_norm : whether G normalises its hidden layers. D never does: it would judge a batch instead of its samples.
    classes, conditional : of how many classes images are, and how the networks are told; None: they know of none.
    rng : Generator or seed for all weights.

    Returns
    -------
    generator : z (N, noise_dim) -> images (N, H, W, C) in (−1, 1).
    discriminator : images (N, H, W, C) -> logits (N, 1).
    """
    image_shape, g_hidden = checked_image_shape(image_shape, "mlp"), checked_sizes(g_hidden, "mlp")
    d_hidden = checked_sizes(d_hidden, "mlp")
    noise_dim, batch_norm = positive_int(noise_dim, "mlp: noise_dim"), flag(batch_norm, "mlp: batch_norm")
    known = knowledge(classes, conditional, "mlp", batch_norm=batch_norm)
    common = {"rng": as_generator(rng), "dtype": dtype}
    sizes = noise_dim + known.columns, *g_hidden
    generator = [*known.first(), *_dense_stack(sizes, batch_norm, common, known)]
    generator += [Dense(sizes[-1], prod(image_shape), **common), Tanh(), Reshape(*image_shape)]
    sizes = prod(image_shape) + known.columns, *d_hidden
    discriminator = [Flatten(), *known.first(), *_dense_stack(sizes, False, common, known)]
    discriminator += [known.last(sizes[-1], common)]
    return Sequential(*generator), Sequential(*discriminator)


def mlp_conv(
    image_shape: Sequence[int] = (28, 28, 1),
    *,
    noise_dim: int = 100,
    width: int = 64,
    g_hidden: Sequence[int] = (128, 256),
    batch_norm: bool = True,
    classes: int | None = None,
    conditional: str = "projection",
    rng: Rng = 0,
    dtype: Any = np.float32,
) -> Pair:
    """A dense generator against a convolutional discriminator, for images in [0, 1].

    Parameters
    ----------
    image_shape : (H, W, C).
    noise_dim : length of z.
    width : channels of D's first convolution, 5x5 in steps of 2; the second has twice as many.
    g_hidden : widths of G's hidden layers.
    batch_norm : whether G normalises its hidden layers; without, as articles describe it, it soon gives one
        picture for every z.
    classes, conditional : of how many classes images are, and how the networks are told; None: they know of none.
    rng : Generator or seed for all weights.

    Returns
    -------
    generator : z (N, noise_dim) -> images (N, H, W, C) in (0, 1), by a sigmoid.
    discriminator : images (N, H, W, C) -> logits (N, 1).
    """
    image_shape, g_hidden = checked_image_shape(image_shape, "mlp_conv"), checked_sizes(g_hidden, "mlp_conv")
    noise_dim, batch_norm = positive_int(noise_dim, "mlp_conv: noise_dim"), flag(batch_norm, "mlp_conv: batch_norm")
    known = knowledge(classes, conditional, "mlp_conv", batch_norm=batch_norm)
    common = {"rng": as_generator(rng), "dtype": dtype}
    sizes = noise_dim + known.columns, *g_hidden
    generator = [*known.first(), *_dense_stack(sizes, batch_norm, common, known)]
    generator += [Dense(sizes[-1], prod(image_shape), **common), Sigmoid(), Reshape(*image_shape)]
    return Sequential(*generator), _judge(image_shape, 5, doubling(width, 2, "mlp_conv"), False, common, known)


def lsgan(
    image_shape: Sequence[int] = (28, 28, 1),
    *,
    noise_dim: int = 100,
    width: int = 64,
    g_hidden: Sequence[int] = (128, 128, 128),
    batch_norm: bool = True,
    floor: bool = True,
    classes: int | None = None,
    conditional: str = "projection",
    rng: Rng = 0,
    dtype: Any = np.float32,
) -> Pair:
    """A small dense generator against a deep convolutional discriminator, for images in [0, 1] (Mao et al., 2017).

    Parameters
    ----------
    image_shape : (H, W, C).
    noise_dim : length of z.
    width : channels of D's first convolution, 5x5 in steps of 2; each of the next three has twice as many.
    g_hidden : widths of G's hidden layers.
    batch_norm : whether G normalises its hidden layers; articles describe it without.
    floor : whether what would be darker than black, 0, is black, by a ReLU at the end of G. Articles describe it
        without, and then D knows G's images by the noise around 0 that a linear layer leaves where the real ones are
        black, and has little else to teach.
    classes, conditional : of how many classes images are, and how the networks are told; None: they know of none.
    rng : Generator or seed for all weights.

    Returns
    -------
    generator : z (N, noise_dim) -> images (N, H, W, C) of 0 and more, or with ``floor=False`` of any values: the last
        layer is linear, and D, whose target is a number rather than a probability, pulls its images into the range of
        the real ones.
    discriminator : images (N, H, W, C) -> scores (N, 1), for :class:`tinygan.losses.LeastSquares`.
    """
    image_shape, g_hidden = checked_image_shape(image_shape, "lsgan"), checked_sizes(g_hidden, "lsgan")
    noise_dim, batch_norm = positive_int(noise_dim, "lsgan: noise_dim"), flag(batch_norm, "lsgan: batch_norm")
    known = knowledge(classes, conditional, "lsgan", batch_norm=batch_norm)
    floor = flag(floor, "lsgan: floor")
    common = {"rng": as_generator(rng), "dtype": dtype}
    sizes = noise_dim + known.columns, *g_hidden
    generator = [*known.first(), *_dense_stack(sizes, batch_norm, common, known)]
    # No function at the end bounds the brightness: images must start small, or D's gradients are as large as its errors
    generator += [Dense(sizes[-1], prod(image_shape), init=dcgan_normal, **common)]
    generator += [*([ReLU()] if floor else []), Reshape(*image_shape)]
    return Sequential(*generator), _judge(image_shape, 5, doubling(width, 4, "lsgan"), False, common, known)


def dcgan(
    image_shape: Sequence[int] = (32, 32, 3),
    *,
    noise_dim: int = 100,
    width: int = 64,
    classes: int | None = None,
    conditional: str = "projection",
    rng: Rng = 0,
    dtype: Any = np.float32,
) -> Pair:
    """The convolutional GAN with 5x5 kernels and three levels, for images in [−1, 1] (Radford et al., 2016).

    Parameters
    ----------
    image_shape : (H, W, C); H and W are multiples of 4. G starts at an eighth of them, or at a quarter if they are no
        multiples of 8, and then its first transposed convolution keeps the size: 28x28 grows from 7x7 as 7, 14, 28.
    noise_dim : length of z.
    width : channels of the largest images in both networks; each level below has twice as many.
    classes, conditional : of how many classes images are, and how the networks are told; None: they know of none.
    rng : Generator or seed for all weights, normal with standard deviation 0.02.

    Returns
    -------
    generator : z (N, noise_dim) -> images (N, H, W, C) in (−1, 1).
    discriminator : images (N, H, W, C) -> logits (N, 1). Its BatchNorm sees real and generated batches apart.
    """
    image_shape, noise_dim = checked_image_shape(image_shape, "dcgan"), positive_int(noise_dim, "dcgan: noise_dim")
    common = {"rng": as_generator(rng), "init": dcgan_normal, "dtype": dtype}
    h, w, strides = growth(image_shape, 3, "dcgan")
    known = knowledge(classes, conditional, "dcgan")
    c = doubling(width, 3, "dcgan")[::-1]  # 256, 128, 64
    generator = [
        *known.first(),
        Dense(noise_dim + known.columns, h * w * c[0], **common),
        LeakyReLU(0.2),
        Reshape(h, w, c[0]),
    ]
    for c_in, c_out, stride in zip(c, c[1:], strides, strict=False):
        generator += [ConvTranspose2D(c_in, c_out, 5, stride=stride, bias=False, **common)]
        generator += [*known.normalisation(c_out, dtype), LeakyReLU(0.2)]
    generator += [ConvTranspose2D(c[-1], image_shape[2], 5, stride=strides[-1], **common), Tanh()]
    return Sequential(*generator), _judge(image_shape, 5, c[::-1], True, common, known)


def dcgan64(
    image_shape: Sequence[int] = (64, 64, 3),
    *,
    noise_dim: int = 100,
    width: int = 64,
    classes: int | None = None,
    conditional: str = "projection",
    rng: Rng = 0,
    dtype: Any = np.float32,
) -> Pair:
    """The convolutional GAN with 4x4 kernels and four levels, for images in [−1, 1] (Radford et al., 2016).

    Parameters
    ----------
    image_shape : (H, W, C); H and W are multiples of 4. G starts at a sixteenth of them, or at an eighth or a quarter
        if they are no multiples of more, and then its first layers keep the size.
    noise_dim : length of z.
    width : channels of the largest images in both networks; each level below has twice as many.
    classes, conditional : of how many classes images are, and how the networks are told; None: they know of none.
    rng : Generator or seed for all weights, normal with standard deviation 0.02.

    Returns
    -------
    generator : z (N, noise_dim) -> images (N, H, W, C) in (−1, 1).
    discriminator : images (N, H, W, C) -> logits (N, 1). Its BatchNorm sees real and generated batches apart.
    """
    image_shape, noise_dim = checked_image_shape(image_shape, "dcgan64"), positive_int(noise_dim, "dcgan64: noise_dim")
    common = {"rng": as_generator(rng), "init": dcgan_normal, "dtype": dtype}
    h, w, strides = growth(image_shape, 4, "dcgan64")
    known = knowledge(classes, conditional, "dcgan64")
    c = doubling(width, 4, "dcgan64")[::-1]  # 512, 256, 128, 64
    generator = [
        *known.first(),
        Dense(noise_dim + known.columns, h * w * c[0], bias=False, **common),
        Reshape(h, w, c[0]),
    ]
    generator += [*known.normalisation(c[0], dtype), ReLU()]
    for c_in, c_out, stride in zip(c, c[1:], strides, strict=False):
        generator += [ConvTranspose2D(c_in, c_out, 4, stride=stride, bias=False, **common)]
        generator += [*known.normalisation(c_out, dtype), ReLU()]
    generator += [ConvTranspose2D(c[-1], image_shape[2], 4, stride=strides[-1], **common), Tanh()]
    return Sequential(*generator), _judge(image_shape, 4, c[::-1], True, common, known)


def _dense_stack(sizes: Sequence[int], batch_norm: bool, common: dict[str, Any], known: Knowledge) -> list[Layer]:
    layers: list[Layer] = []
    for n_in, n_out in pairwise(sizes):
        # A bias before BatchNorm is subtracted again with the mean; over rows it costs next to nothing
        layers += [Dense(n_in, n_out, **common)]
        layers += known.normalisation(n_out, common["dtype"]) if batch_norm else []
        layers += [LeakyReLU(0.2)]
    return layers


def _judge(
    image_shape: tuple[int, int, int],
    kernel_size: int,
    widths: Sequence[int],
    batch_norm: bool,
    common: dict[str, Any],
    known: Knowledge,
) -> Sequential:
    """A convolutional D: each level halves the image; BatchNorm, if any, after all levels but the first."""
    h, w, c_in = image_shape
    c_in += known.columns
    layers: list[Layer] = known.first()
    for level, c_out in enumerate(widths):
        normalise = batch_norm and level > 0
        layers += [Conv2D(c_in, c_out, kernel_size, stride=2, bias=not normalise, **common)]
        layers += [BatchNorm(c_out, dtype=common["dtype"])] if normalise else []
        layers += [LeakyReLU(0.2)]
        h, w, c_in = -(-h // 2), -(-w // 2), c_out
    return Sequential(*layers, Flatten(), known.last(h * w * c_in, common))
