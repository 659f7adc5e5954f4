"""The example on few labels: what each classifier learns from, and when a difference is said to be one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tinygan.data import ImageData
from tinygan.errors import ArgumentError

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "few_labels.py"


@pytest.fixture
def data():
    """Image k is k everywhere, its class is k modulo 4."""
    k = np.arange(40, dtype=np.uint8)
    return ImageData(np.broadcast_to(k[:, None, None, None], (40, 28, 28, 1)).copy(), k % 4, "forty")


def test_as_many_of_each_class_other_ones_for_each_seed(example, data):
    few = example["chosen"](data, 3, 0)
    assert np.bincount(few.labels).tolist() == [3, 3, 3, 3]
    np.testing.assert_array_equal(few.images[:, 0, 0, 0] % 4, few.labels)
    np.testing.assert_array_equal(few.images, example["chosen"](data, 3, 0).images)
    assert set(few.images[:, 0, 0, 0]) != set(example["chosen"](data, 3, 1).images[:, 0, 0, 0])
    with pytest.raises(ArgumentError, match="forty: fewer than 11 labelled images of class 0, 1, 2, 3"):
        example["chosen"](data, 11, 0)


def test_both_classifiers_see_as_many_images(example, data):
    few = example["chosen"](data, 2, 0)
    made = ImageData(np.full((12, 28, 28, 1), 200, np.uint8), np.arange(12) % 4)
    alone, half = (example["mixed"](few, others, 64, 0) for others in (None, made))
    assert len(alone) == len(half) == 64
    assert set(alone.images[:, 0, 0, 0]) == set(few.images[:, 0, 0, 0])  # all of them, and nothing else
    assert (half.images[:, 0, 0, 0] == 200).sum() == 32
    own = half.images[:, 0, 0, 0] != 200
    np.testing.assert_array_equal(half.images[own, 0, 0, 0] % 4, half.labels[own])
    assert np.bincount(half.labels[~own]).min() >= 6


def test_the_gan_of_a_class_sees_nothing_else(example, data):
    """All its images are the same, so what it draws comes near to them, however few they are."""
    one = example["part"](data, np.array([36, 36, 36]))
    images = example["generated"](one, 5, 300, 0)
    assert images.shape == (5, 28, 28, 1)
    assert images.dtype == np.uint8
    assert abs(images.astype(float).mean() - 36) < 30


def test_a_difference_is_one_beyond_what_chance_does(example):
    verdict = example["verdict"]
    assert example["ERRORS"][1:] == tuple(float(f"{stats.t.ppf(0.975, n - 1):.2f}") for n in range(2, 6))
    chance = np.random.default_rng(0).standard_normal((2000, 3))
    assert 0.03 < np.mean([abs(verdict(row)) for row in chance]) < 0.07
    assert verdict([0.02, 0.03, 0.025]) == 1
    assert verdict([-0.02, -0.03, -0.025]) == -1
    assert verdict([0.02, -0.01, 0.005]) == 0
    assert verdict([0.02, 0.01, 0.005]) == 0  # 2.6 standard errors of three are none
    assert verdict([0.5]) == 0  # of one seed nothing can be said
    assert verdict([0.0, 0.0]) == 0


def test_from_its_command_line(tmp_path):
    done = subprocess.run([sys.executable, EXAMPLE, "--quick"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("labels each: ") == 2
    assert "epoch" not in done.stderr  # one bar for all, not one of each process
    assert (tmp_path / "runs" / "few_labels" / "few_labels.png").read_bytes().startswith(b"\x89PNG")
