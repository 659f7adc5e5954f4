"""The six systems on a device: the numbers of NumPy, step for step, and a host that never waits.

``pytest --backend cupy tests/backends/cuda/test_systems_on_devices.py`` takes 100 steps of each on a GPU; the stand-in
takes a few.
"""

import numpy as np
import pytest
from support.small_systems import BATCH, SYSTEMS, game, play

from tinygan.data import OnDevice
from tinygan.gan import last_layer
from tinygan.layers import ReLU, Sigmoid
from tinygan.runs import training
from tinygan.testing.device import count_syncs, forbid_syncs

STEPS = {"cupy": 100, "standin": 4, "numpy": 1}
TOLERANCE = {"cupy": 1e-4, "standin": 1e-9, "numpy": 0.0}

every_system = pytest.mark.parametrize("name", SYSTEMS)


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
        low = 0.0 if isinstance(last_layer(gan.generator), Sigmoid | ReLU) else -1.0
        training.train(gan, images, out=folder, steps=10, batch_size=BATCH, low=low, progress=False, **every)
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
