"""The parts of the example that explores a run."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from support.small_runs import STEPS, small_data, small_gan

from tinygan import models
from tinygan.data import ImageData
from tinygan.runs.trained import load_trained
from tinygan.runs.training import train

PICTURES = {"walk.png", "walk.gif", "inversion.png", "inpainting.png", "directions.png", "features.png"}


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(Path(__file__).parent.parent.parent / "examples" / "explore_run.py"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_trained(train(small_gan(), small_data(), out=tmp_path_factory.mktemp("run"), **STEPS))


def require_pictures(example, run, data, folder):
    """All that the example draws, with little effort."""
    example["draw_walks"](run, folder)
    example["draw_inversion"](run, data, folder, guesses=30, steps=2)
    example["draw_repairs"](run, data, folder, guesses=30, steps=2)
    example["draw_directions"](run, data, folder, measured=60)
    example["draw_features"](run, data, folder, labelled=200)
    assert {path.name for path in folder.glob("*.*")} == PICTURES


def test_a_run_is_explored_into_pictures(example, run, tmp_path, capsys):
    before = run.generator.theta.copy(), run.discriminator.theta.copy()
    data = ImageData(small_data(220).images, np.arange(220) % 3, name="small")
    require_pictures(example, run, data, tmp_path)
    assert np.array_equal(before[0], run.generator.theta)
    assert np.array_equal(before[1], run.discriminator.theta)
    said = capsys.readouterr().out
    assert "a row each for brightness, slant, 0, 1, 2;" in said
    assert "all its layers:" in said


def test_leaning_strokes_have_a_slant_of_that_sign(example):
    stroke = np.zeros((2, 9, 9, 1))
    for i in range(1, 8):
        stroke[0, i, 8 - i] = stroke[1, i, i] = 1.0  # to the right at the top, and to the left
    assert example["slant"](stroke) == pytest.approx([1.0, -1.0], abs=1e-4)


def test_a_run_that_knows_classes_is_explored_in_them(example, tmp_path):
    networks = models.mlp((6, 6, 1), noise_dim=4, g_hidden=(8,), d_hidden=(8,), classes=3, conditional="concat")
    data = ImageData(small_data(220).images, np.arange(220) % 3, name="small")
    run = load_trained(train(models.ConditionalGAN(*networks, noise_dim=4), data, out=tmp_path / "run", **STEPS))
    z = run.noise(6)
    made = example["made_of"](run, z)
    for k in range(3):
        np.testing.assert_allclose(made[k::3], run.sample(z=z, labels=k)[k::3], rtol=1e-5, atol=1e-6)
    require_pictures(example, run, data, tmp_path)


def test_an_untrained_copy_has_other_weights_of_the_same_shape(example, run):
    new = example["untrained"](run.discriminator)
    assert repr(new) == repr(run.discriminator)
    assert not np.array_equal(new.theta, run.discriminator.theta)
    assert not new.params["1.b"].any()
