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


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(Path(__file__).parent.parent.parent / "examples" / "explore_run.py"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_trained(train(small_gan(), small_data(), out=tmp_path_factory.mktemp("run"), **STEPS))


def test_a_walk_goes_from_one_end_to_the_other_at_the_same_length(example):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 5, 40)).astype(np.float32)
    b *= np.linalg.norm(a, axis=1, keepdims=True) / np.linalg.norm(b, axis=1, keepdims=True)
    for t, expected in ((0.0, a), (1.0, b)):
        np.testing.assert_allclose(example["between"](a, b, t), expected, atol=1e-5)
    middle = example["between"](a, b, 0.5)
    assert middle.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(middle, axis=1), np.linalg.norm(a, axis=1), rtol=1e-5)


def test_a_repair_changes_the_hole_only_and_descends(example, run):
    """Images that G made can be found again from what is left of them."""
    x = run.generator(run.noise(3, seed=9))
    m = np.ones((6, 6, 1), dtype=np.float32)
    m[2:4, 2:4] = 0.0
    before = run.generator.theta.copy(), run.discriminator.theta.copy()
    start, end = (example["fill_in"](run, x, m, guesses=50, steps=steps) for steps in (0, 100))
    for filled in (start, end):
        assert filled.dtype == x.dtype
        assert np.array_equal(filled * m, x * m)
    assert np.abs(end - x).sum() < 0.5 * np.abs(start - x).sum()
    assert np.array_equal(before[0], run.generator.theta)
    assert np.array_equal(before[1], run.discriminator.theta)


def test_a_run_that_knows_classes_is_explored_in_them(example, tmp_path):
    networks = models.mlp((6, 6, 1), noise_dim=4, g_hidden=(8,), d_hidden=(8,), classes=3, conditional="concat")
    data = ImageData(small_data(220).images, np.arange(220) % 3, name="small")
    run = load_trained(train(models.ConditionalGAN(*networks, noise_dim=4), data, out=tmp_path / "run", **STEPS))
    z = run.noise(6)
    made = example["made_of"](run, z)
    for k in range(3):
        np.testing.assert_allclose(made[k::3], run.sample(z=z, labels=k)[k::3], rtol=1e-5, atol=1e-6)
    labels, m = np.array([2, 0]), np.ones((6, 6, 1), dtype=np.float32)
    m[2:4, 2:4] = 0.0
    x = run.sample(z=run.noise(2, seed=9), labels=labels)
    start, end = (example["fill_in"](run, x, m, labels, guesses=60, steps=steps) for steps in (0, 100))
    assert np.abs(end - x).sum() < 0.7 * np.abs(start - x).sum()
    example["draw_walks"](run, tmp_path)
    example["draw_repairs"](run, data, tmp_path, guesses=30, steps=2)
    example["draw_features"](run, data, tmp_path, labelled=200)
    assert {path.name for path in tmp_path.glob("*.*")} == {"walk.png", "walk.gif", "inpainting.png", "features.png"}


def test_an_untrained_copy_has_other_weights_of_the_same_shape(example, run):
    new = example["untrained"](run.discriminator)
    assert repr(new) == repr(run.discriminator)
    assert not np.array_equal(new.theta, run.discriminator.theta)
    assert not new.params["1.b"].any()


def test_groups_that_lie_apart_are_found(example):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    f = (np.eye(3)[labels] * 10 + rng.standard_normal((300, 3))).astype(np.float32)
    assert example["linear_accuracy"](f, labels, epochs=500) > 0.95
    assert example["cluster_accuracy"](example["principal"](f, 2), labels) > 0.95
