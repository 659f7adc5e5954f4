"""The six systems as small games, for comparing what a device makes of them with what NumPy does."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinygan import GAN, losses, models, optim
from tinygan.data import ImageData, OnDevice
from tinygan.penalties import R1, R2, GradientPenalty
from tinygan.runs.schedules import cosine

BATCH = 6


class System(NamedTuple):
    """Networks of tinygan.models, narrow ones, and how they play."""

    model: str
    shape: tuple[int, int, int]
    networks: dict
    game: dict
    adam: dict


SYSTEMS = {
    "mlp": System("mlp", (28, 28, 1), {"g_hidden": (8, 12), "d_hidden": (12, 8)}, {"average": 0.9}, {"beta1": 0.0}),
    "mlp_conv": System("mlp_conv", (28, 28, 1), {"g_hidden": (8,), "width": 4}, {"penalties": R1(0.1)}, {}),
    "lsgan": System(
        "lsgan", (28, 28, 1), {"g_hidden": (8,), "width": 3}, {"loss": losses.LeastSquares(), "penalties": R1(1.0)}, {}
    ),
    "dcgan": System("dcgan", (28, 28, 1), {"width": 4}, {"average": 0.9}, {"clip_norm": 1.0}),
    "dcgan64": System("dcgan64", (32, 32, 3), {"width": 3}, {"d_steps": 2}, {"lr": cosine(2e-4, 0.0, 90)}),
    "resnet": System(
        "resnet",
        (8, 8, 1),
        {"width": 2, "mean": -0.5},
        {"loss": losses.Relativistic(), "penalties": [R1(1.0, every=2), R2(1.0, every=2)]},
        {"beta1": 0.0},
    ),
    "dcgan, R1 and R2 now and then": System(
        "dcgan",
        (8, 8, 3),
        {"width": 2},
        {"loss": losses.Relativistic(), "penalties": [R1(1.0, every=2), R2(1.0, every=2)]},
        {"clip_value": 0.1},
    ),
    "mlp, a critic": System(
        "mlp",
        (8, 8, 1),
        {"g_hidden": (8,), "d_hidden": (8, 8), "batch_norm": False},
        {"loss": losses.Wasserstein(), "penalties": GradientPenalty(), "d_steps": 2, "weight_clip": 0.5},
        {},
    ),
}


def game(name, backend, dtype=np.float64, **change):
    """A GAN of this system on a backend, and its images."""
    model, shape, networks, options, adam = SYSTEMS[name]
    G, D = getattr(models, model)(shape, noise_dim=5, dtype=dtype, rng=3, **networks)
    adams = [optim.Adam(network, **{"lr": 1e-3, "beta1": 0.5, **adam, **change}) for network in (G, D)]
    gan = GAN(G, D, noise_dim=5, g_optimizer=adams[0], d_optimizer=adams[1], seed=4, **options).to(backend)
    pixels = np.random.default_rng(5).integers(0, 256, (40, *shape), dtype=np.uint8)
    return gan, ImageData(pixels, mirrored=True)


def play(gan, images, backend, steps):
    """All losses (steps, 3) of a run; nothing is read before its end."""
    source, told = OnDevice(images, backend), []
    for t in range(steps):
        rows = np.random.default_rng(t).permutation(len(images))[: BATCH * gan.d_steps]
        told.append(gan.step(source.batch(rows, dtype=gan.generator.theta.dtype)))
    return np.array([[float(value) for value in step] for step in told])
