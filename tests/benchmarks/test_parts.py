"""What benchmarks/parts.py leaves out is out while a step runs, changes nothing but its speed, and is back then."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tinygan import GAN, models

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import parts

IMAGES = np.random.default_rng(0).uniform(-1, 1, (32, 16, 16, 1)).astype(np.float32)


@pytest.mark.parametrize("part", parts.LEFT_OUT)
def test_a_part_is_left_out_and_put_back(part):
    changes, before = parts.LEFT_OUT[part], [getattr(module, name) for module, name, _ in parts.LEFT_OUT[part]]
    games = [GAN(*models.dcgan((16, 16, 1), width=8, rng=0), noise_dim=100) for _ in range(2)]
    seen = []

    def step():
        seen.append([getattr(module, name) is value for module, name, value in changes])
        games[0].step(IMAGES)

    assert parts.seconds_without(changes, step) > 0.0
    assert seen == [[True] * len(changes)] * 2
    assert [getattr(module, name) for module, name, _ in changes] == before
    for _ in range(2):
        games[1].step(IMAGES)
    np.testing.assert_allclose(games[0].generator.theta, games[1].generator.theta, rtol=1e-3, atol=1e-4)


def test_what_was_changed_is_put_back_after_an_error():
    changes = parts.LEFT_OUT["blocks"]
    [(module, name, _)] = changes
    before = getattr(module, name)
    with pytest.raises(ZeroDivisionError):
        parts.seconds_without(changes, lambda: 1 // 0)
    assert getattr(module, name) == before
