"""The five systems on a device: the numbers of NumPy, step for step, and a host that never waits.

``pytest --backend cupy tests/test_systems_on_devices.py`` takes 100 steps of each on a GPU; the stand-in takes a few.
"""

from typing import NamedTuple

import numpy as np
import pytest

from tinygan import GAN, losses, models, optim, training
from tinygan.data import ImageData, OnDevice
from tinygan.penalties import R1, R2, GradientPenalty
from tinygan.schedules import cosine
from tinygan.testing.device import count_syncs, forbid_syncs

BATCH = 6
STEPS = {"cupy": 100, "standin": 4, "numpy": 1}
TOLERANCE = {"cupy": 1e-4, "standin": 1e-9, "numpy": 0.0}


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

every_system = pytest.mark.parametrize("name", SYSTEMS)


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


@every_system
def test_losses_are_those_of_numpy(device, name):
    """Of every step: a wrong derivative, a forgotten draw or a scalar of another step would show at the next one."""
    ours = play(*game(name, device.name), device.name, STEPS[device.name])
    theirs = play(*game(name, "numpy"), "numpy", STEPS[device.name])
    assert np.isfinite(theirs).all()
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE[device.name], atol=TOLERANCE[device.name])


@pytest.mark.parametrize("change", [{"lr": 1.002e-3}, {"beta2": 0.9995}, {"eps": 1e-6}], ids=str)
def test_a_slip_of_a_few_parts_in_a_thousand_would_show(device, change):
    steps = max(STEPS[device.name], 4)
    ours = play(*game("dcgan", device.name, **change), device.name, steps)
    theirs = play(*game("dcgan", "numpy"), "numpy", steps)
    assert not np.allclose(ours, theirs, rtol=TOLERANCE[device.name], atol=TOLERANCE[device.name])


# ---- nobody waits --------------------------------------------------------------------------------------------------


@every_system
def test_no_step_makes_the_host_wait(name):
    gan, images = game(name, "standin", np.float32)
    source = OnDevice(images, "standin")
    with forbid_syncs():
        for _ in range(3):
            gan.step(source.batch(np.arange(BATCH * gan.d_steps)))


def waits(gan, images, folder, patch):
    """The steps of a run of 10 after which something had waited that had not before; it looks after the 4th and 8th."""
    patch.setattr(training, "LOOK_EVERY", 4)
    waited, step = [], gan.step
    with count_syncs() as syncs:
        patch.setattr(gan, "step", lambda *real, **check: waited.append(syncs.count) or step(*real, **check))
        every = {"sample_every": 100, "checkpoint_every": 100}
        training.train(gan, images, out=folder, steps=10, batch_size=BATCH, progress=False, **every)
    assert len(waited) == 10
    return {t for t in range(1, 10) if waited[t] > waited[t - 1]}  # from the beginning of step t to that of t + 1


@every_system
def test_a_run_waits_only_where_it_looks_at_the_losses(name, tmp_path, monkeypatch):
    assert waits(*game(name, "standin", np.float32), tmp_path, monkeypatch) == {4, 8}


def test_a_run_that_reads_a_loss_elsewhere_is_noticed(tmp_path, monkeypatch):
    gan, images = game("mlp", "standin", np.float32)
    step = gan.step
    monkeypatch.setattr(gan, "step", lambda *real, **check: step(*real, **check) if gan.t != 5 else told(step(*real)))

    def told(loss):
        assert float(loss.d) > 0
        return loss

    assert waits(gan, images, tmp_path, monkeypatch) == {4, 6, 8}
