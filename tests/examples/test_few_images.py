"""The example on few images: what is held out, and what its figures mean."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygan import augment, metrics
from tinygan.data import ImageData
from tinygan.errors import ArgumentError

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "few_images.py"


def test_nothing_is_held_out_that_is_trained_on(example, tmp_path):
    for k in range(110):
        Image.fromarray(np.full((8, 8, 3), 2 * k, np.uint8)).save(tmp_path / f"{k}.png")
    train, held_out = example["read"](str(tmp_path), 8, 500)
    assert (len(train), len(held_out)) == (88, 22)
    assert len({*train[:, 0, 0, 0], *held_out[:, 0, 0, 0]}) == 110
    assert len(example["read"](str(tmp_path), 8, 30)[0]) == 30
    for k in range(60):
        (tmp_path / f"{k}.png").unlink()
    with pytest.raises(ArgumentError, match="50 pictures; of fewer than 100 too few are held out"):
        example["read"](str(tmp_path), 8, 500)


def test_each_run_plays_as_it_says(example):
    made = {name: example["player"](name, (8, 8, 3), width=2, seed=0) for name in example["RUNS"]}
    changing = {
        name: [a for a in gan.discriminator.layers if isinstance(a, augment.Augmentation)] for name, gan in made.items()
    }
    assert [len(layers) for layers in changing.values()] == [0, 3, 3]
    assert [layers[0].buffers["strength"][0] for layers in list(changing.values())[1:]] == [1.0, 0.0]
    assert made["as much as D needs"].loss.strength == 0.0
    for gan in made.values():
        np.testing.assert_array_equal(gan.generator.theta, made["changed"].generator.theta)
        np.testing.assert_array_equal(gan.discriminator.theta, made["changed"].discriminator.theta)


def test_what_d_knows_and_what_is_a_copy(example):
    images = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), dtype=np.uint8)
    train, held_out = ImageData(images[:200]), ImageData(images[200:])
    bright = lambda x: x.mean(axis=(1, 2, 3))[:, None]  # noqa: E731
    assert 0.35 < example["by_heart"](bright, train, held_out) < 0.65
    assert example["by_heart"](lambda x: np.zeros((len(x), 1)), train, held_out) == 0.5
    dark = ImageData(images[200:] // 2)
    assert example["by_heart"](bright, train, dark) == 1.0
    judge = metrics.Judge(held_out, metrics.RandomConvolutions(3))
    assert example["copies"](train.batch(np.arange(50)), train, held_out, judge) == 1.0
    assert example["copies"](held_out.batch(np.arange(100)), train, held_out, judge) == pytest.approx(0.05, abs=0.01)


def test_from_its_command_line(tmp_path):
    done = subprocess.run([sys.executable, EXAMPLE, "--quick"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("D knows") == 3
    assert (tmp_path / "runs" / "few_images" / "few_images.png").read_bytes().startswith(b"\x89PNG")
