"""Ready pairs of networks: each function returns (generator, discriminator), a few lines of layers to read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from .arguments import positive_int
from .errors import ArgumentError
from .initializers import Rng, as_generator
from .layers import BatchNorm, Dense, Flatten, LeakyReLU, Reshape, Tanh
from .network import Sequential

Pair = tuple[Sequential, Sequential]


def mlp(
    image_shape: Sequence[int] = (28, 28, 1),
    *,
    noise_dim: int = 100,
    g_hidden: Sequence[int] = (256, 512, 1024),
    d_hidden: Sequence[int] = (512, 256),
    batch_norm: bool = True,
    rng: Rng = 0,
    dtype: Any = np.float32,
) -> Pair:
    """The fully connected GAN of the main job, for images in [−1, 1].

    Parameters
    ----------
    image_shape : (H, W, C).
    noise_dim : length of z.
    g_hidden, d_hidden : widths of the hidden layers.
    batch_norm : whether G normalises its hidden layers. D never does: it would judge a batch instead of its samples.
    rng : Generator or seed for all weights.

    Returns
    -------
    generator : z (N, noise_dim) -> images (N, H, W, C) in (−1, 1).
    discriminator : images (N, H, W, C) -> logits (N, 1).
    """
    if not isinstance(image_shape, Sequence) or len(image_shape) != 3:
        raise ArgumentError(f"mlp: image_shape must be (H, W, C), got {image_shape}; a grey image has C = 1.")
    image_shape = tuple(image_shape)
    pixels = prod(positive_int(s, "mlp: each size of image_shape") for s in image_shape)
    rng = as_generator(rng)
    g_sizes, d_sizes = (noise_dim, *g_hidden), (pixels, *d_hidden)

    g_layers = []
    for n_in, n_out in pairwise(g_sizes):
        # A bias before BatchNorm would be subtracted again with the mean; it stays, at no cost, for simplicity.
        g_layers += [Dense(n_in, n_out, rng=rng, dtype=dtype)]
        g_layers += [BatchNorm(n_out, dtype=dtype)] if batch_norm else []
        g_layers += [LeakyReLU(0.2)]
    g_layers += [Dense(g_sizes[-1], pixels, rng=rng, dtype=dtype), Tanh(), Reshape(*image_shape)]

    d_layers = [Flatten()]
    for n_in, n_out in pairwise(d_sizes):
        d_layers += [Dense(n_in, n_out, rng=rng, dtype=dtype), LeakyReLU(0.2)]
    d_layers += [Dense(d_sizes[-1], 1, rng=rng, dtype=dtype)]
    return Sequential(*g_layers), Sequential(*d_layers)
