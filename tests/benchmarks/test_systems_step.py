"""The table of steps beside PyTorch, and where the time of a step goes: reckoned, and noted without changing a step."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tinygan import GAN, models
from tinygan.backends.cpu import threads

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import systems_step
import where


def test_a_row_holds_medians_of_the_rounds_and_their_range():
    ours = [{"tinygan": ms, "busy": 1.9, "memory": 50, "operations": 2e9, "peak": 100.0} for ms in (100, 200, 50)]
    theirs = [{"usual": ms, "tuned": 100.0, "busy": 2.0, "memory": 80} for ms in (150, 100, 100)]
    line, ratios = systems_step.row("mlp", list(zip(ours, theirs, strict=True)), ["usual", "tuned"])
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert ratios == [1.5, 1.0]
    assert cells[:4] == ["mlp 28x28x1, 128", "100", "100", "**1.50** (0.50 - 2.00)"]
    assert cells[4:6] == ["100", "**1.00** (0.50 - 2.00)"]
    assert cells[6:] == ["1.90, 2.00", "20", "20%", "50", "80"]


class Clock:
    """The module ``time``, where time passes when a test says so: half of it on a processor."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def process_time(self):
        return self.now / 2

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (systems_step, where):
        monkeypatch.setattr(module, "time", clock)
    return clock


def test_steps_are_timed_with_the_cores_they_keep_busy(clock):
    ms, busy = systems_step.timed(lambda: clock.sleep(0.01), seconds=0.05)
    assert (ms, busy) == (pytest.approx(10), pytest.approx(0.5))


def test_notes_are_taken_of_every_kind_and_all_is_put_back():
    before = [vars(owner)[name] for places in where.KINDS.values() for owner, name in places]
    games = [GAN(*models.dcgan((16, 16, 1), width=8, rng=0), noise_dim=100, seed=0) for _ in range(2)]
    images = np.random.default_rng(0).uniform(-1, 1, (32, 16, 16, 1)).astype(np.float32)
    with where.noting(notes := where.Notes()):
        games[0].step(images)
    assert set(notes.of_kind) >= set(where.KINDS) - {"gradients' sums"}
    assert all(seconds >= 0.0 for seconds in notes.of_kind.values())
    games[1].step(images)
    np.testing.assert_array_equal(games[0].generator.theta, games[1].generator.theta)
    assert [vars(owner)[name] for places in where.KINDS.values() for owner, name in places] == before
    assert threads.share_out is where.SHARE_OUT


def test_time_within_a_kind_counts_once(clock):
    notes = where.Notes()
    inner = notes.note("inner", lambda: clock.sleep(2.0))
    notes.note("outer", lambda: (clock.sleep(1.0), inner()))()
    assert notes.of_kind == {"inner": pytest.approx(2.0), "outer": pytest.approx(1.0)}


def test_more_cores_shorten_what_is_shared_and_lengthen_the_waiting():
    notes = where.Notes()
    notes.shared, notes.waiting, notes.of_kind["dense"] = 0.6, 0.1, 0.2
    assert where.reckon(1.0, notes, 2) == pytest.approx([0.1 + 0.8 / 2 + 0.2, 0.1 + 0.8 / 4 + 0.3, 0.1 + 0.8 / 8 + 0.4])
