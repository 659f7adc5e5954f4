"""tinygan: generative adversarial networks from scratch on NumPy and CuPy.

Every layer's forward and backward pass is written by hand, in the letters of its docstring, and proved by gradient
checks.

    from tinygan import GAN, Sequential, layers, losses, models, optim, penalties

    generator, discriminator = models.mlp((28, 28, 1), noise_dim=100, rng=0)
    gan = GAN(generator, discriminator, noise_dim=100, seed=0)
    gan.step(real)             # one adversarial step on real images (N, 28, 28, 1) in [-1, 1]
    images = gan.sample(16)    # (16, 28, 28, 1)

The *book*, what a student reads, is ``layers/``, ``losses/``, ``optim/``, ``network``, ``gan``, ``ops`` and ``errors``;
README lists its files in order. ``checkpoints`` is how things are saved. The other folders are *wings*, which build on
the book; the book does not know them.
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import backends, layers, losses, optim
from .gan import GAN
from .layers.starting import seed
from .network import Sequential
from .ops import get_xp, to_backend, to_numpy

if TYPE_CHECKING:
    from . import augment, checkpoints, data, metrics, models, parallel, penalties, runs, testing
    from .layers import initializers
    from .metrics import learned as features
    from .models import interchange, latent
    from .runs import plotting, schedules
    from .runs.trained import load_trained
    from .runs.training import train

__version__ = "0.1.0"

_LOADED_WHEN_USED = {
    "augment": "tinygan.augment",
    "checkpoints": "tinygan.checkpoints",
    "data": "tinygan.data",
    "features": "tinygan.metrics.learned",
    "initializers": "tinygan.layers.initializers",
    "interchange": "tinygan.models.interchange",
    "latent": "tinygan.models.latent",
    "load_trained": "tinygan.runs.trained:load_trained",
    "metrics": "tinygan.metrics",
    "models": "tinygan.models",
    "parallel": "tinygan.parallel",
    "penalties": "tinygan.penalties",
    "plotting": "tinygan.runs.plotting",
    "runs": "tinygan.runs",
    "schedules": "tinygan.runs.schedules",
    "testing": "tinygan.testing",
    "train": "tinygan.runs.training:train",
}

__all__ = [
    "GAN",
    "Sequential",
    "augment",
    "backends",
    "checkpoints",
    "data",
    "features",
    "get_xp",
    "initializers",
    "interchange",
    "latent",
    "layers",
    "load_trained",
    "losses",
    "metrics",
    "models",
    "optim",
    "parallel",
    "penalties",
    "plotting",
    "runs",
    "schedules",
    "seed",
    "testing",
    "to_backend",
    "to_numpy",
    "train",
]


if not TYPE_CHECKING:  # or a type checker would take every misspelt name for one that is there

    def __getattr__(name: str) -> Any:
        if name not in _LOADED_WHEN_USED:
            raise AttributeError(f"module 'tinygan' has no attribute {name!r}; there are: {', '.join(__all__)}.")
        module, _, attribute = _LOADED_WHEN_USED[name].partition(":")
        loaded = importlib.import_module(module)
        return getattr(loaded, attribute) if attribute else loaded


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
