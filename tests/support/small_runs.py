"""A GAN and data small enough to train in a blink, for the tests of runs."""

from pathlib import Path

import numpy as np

from tinygan import GAN, models
from tinygan.data import ImageData
from tinygan.optim import Adam

STEPS = {"steps": 11, "batch_size": 8, "sample_every": 4, "checkpoint_every": 3, "progress": False}


def small_data(n=37, size=6, seed=0, mirror=False):
    images = np.random.default_rng(seed).integers(0, 256, (n, size, size, 1), dtype=np.uint8)
    return ImageData(images, name="small", mirrored=mirror)


def small_gan(*, size=6, channels=1, g_hidden=(8,), lr=1e-3, beta1=0.5, **options):
    G, D = models.mlp((size, size, channels), noise_dim=4, g_hidden=g_hidden, d_hidden=(8,), rng=options.get("seed", 0))
    adam = {"lr": lr, "beta1": beta1}
    options = {"average": 0.9, **options}
    return GAN(G, D, noise_dim=4, g_optimizer=Adam(G, **adam), d_optimizer=Adam(D, **adam), **options)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def assert_same_files(folder, other):
    a, b = contents(folder), contents(other)
    assert a.keys() == b.keys()
    assert [name for name in a if a[name] != b[name]] == []
