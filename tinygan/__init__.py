"""tinygan: generative adversarial networks from scratch on NumPy and CuPy.

Every layer's forward and backward pass is written by hand, in the letters of its docstring, and proved by gradient
checks.

    from tinygan import GAN, Sequential, layers, losses, models, optim, penalties

    generator, discriminator = models.mlp((28, 28, 1), noise_dim=100, rng=0)
    gan = GAN(generator, discriminator, noise_dim=100, seed=0)
    gan.step(real)             # one adversarial step on real images (N, 28, 28, 1) in [-1, 1]
    images = gan.sample(16)    # (16, 28, 28, 1)

``tinygan.data``, ``tinygan.training``, ``tinygan.plotting`` and ``tinygan.testing`` are loaded when first used.
"""

import importlib

from . import memory, threads  # isort: skip (before NumPy is loaded: they settle how it finds memory and threads)
from . import layers, losses, models, optim, penalties, schedules
from .backend import get_xp, to_backend, to_numpy
from .gan import GAN
from .network import Sequential

__version__ = "0.1.0"
__all__ = [
    "GAN",
    "Sequential",
    "get_xp",
    "layers",
    "losses",
    "memory",
    "models",
    "optim",
    "penalties",
    "schedules",
    "threads",
    "to_backend",
    "to_numpy",
]

_LOADED_WHEN_USED = ("checkpoints", "data", "initializers", "plotting", "testing", "training")


def __getattr__(name: str):
    if name in _LOADED_WHEN_USED:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'tinygan' has no attribute {name!r}")
