"""Small GANs for replayed steps, and a layer that tests derive altered ones from."""

from __future__ import annotations

import numpy as np

from tinygan import GAN, Sequential
from tinygan.layers import (
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Flatten,
    LayerNorm,
    LeakyReLU,
    Reshape,
    SiLU,
    SpectralNorm,
    Tanh,
)


def build(*, g_layers=(), d_layers=(), d_first=(), widened=0, dtype=np.float32, optimizer=None, **options):
    """A small GAN on NumPy; layers are copied, so that a second one is equal to it."""
    rng = np.random.default_rng(3)
    common = {"rng": rng, "dtype": dtype}
    G = Sequential(
        Dense(4, 6, **common),
        BatchNorm(6, dtype=dtype),
        *(layer.copy() for layer in g_layers),
        LeakyReLU(),
        Dense(6, 5, **common),
        Tanh(),
    )
    D = Sequential(
        *(layer.copy() for layer in d_first),
        Dense(5 + widened, 7, **common),
        *(layer.copy() for layer in d_layers),
        SiLU(),
        Dense(7, 1, **common),
    )
    if optimizer:
        options |= {"g_optimizer": optimizer(G), "d_optimizer": optimizer(D)}
    return GAN(G, D, noise_dim=4, **options)


def images(**options):
    """A convolutional GAN of all kinds of layers, for images 4x4x2."""
    rng = np.random.default_rng(1)
    G = Sequential(
        Dense(3, 2 * 2 * 3, rng=rng),
        Reshape(2, 2, 3),
        BatchNorm(3),
        ConvTranspose2D(3, 2, 3, stride=2, rng=rng),
        Tanh(),
    )
    D = Sequential(
        SpectralNorm(Conv2D(2, 3, 3, stride=2, rng=rng)),
        LeakyReLU(),
        LayerNorm(3),
        Flatten(),
        SpectralNorm(Dense(12, 1, rng=rng)),
    )
    return GAN(G, D, noise_dim=3, **options)


class Altered(LeakyReLU):
    """What layers that do something on the host are made of."""

    replayable = True

    def __init__(self):
        super().__init__()
        self.state, self.calls = 0.0, [0]
