"""The example of a collapse: what it measures, that each run changes one thing, and that it leaves its picture."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygan.losses import LeastSquares

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "mode_collapse.py"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE.parent)  # it takes the ring from its neighbour
    return runpy.run_path(str(EXAMPLE))


def test_collapse_is_seen(example):
    measure, centres, ring = example["measure"], example["CENTERS"], example["ring"]
    real = ring(5000, np.random.default_rng(0))
    reached, near = measure(real)
    assert reached == 8
    assert near == pytest.approx(1 - np.exp(-4.5), abs=0.005)  # two-dimensional normal, within 3 sigma
    three = centres[np.arange(600) % 3]
    assert measure(three) == (3, 1.0)
    assert measure(np.concatenate([three, centres[4:5]])) == (3, 1.0)  # one straggler is no mode
    assert measure(np.zeros((10, 2))) == (0, 0.0)


def test_every_run_changes_one_thing(example):
    collapsing = example["COLLAPSING"]
    first, clipped, *others = example["RUNS"].values()
    assert first == {}
    assert clipped["settings"].items() - collapsing["settings"].items() == {("clip_norm", 0.5)}
    for change in others:
        assert change.keys() in ({"loss"}, {"optimizer", "settings"})  # an optimiser comes with its settings


def test_least_squares_overflows_as_it_says(example):
    with np.errstate(all="ignore"):
        seen = example["play"](**example["COLLAPSING"] | {"loss": LeastSquares()}, looks=[20], seed=0)
    assert np.isnan(seen[20]).all()
    assert example["measure"](seen[20]) == (0, 0.0)


def test_the_example_from_its_command_line(tmp_path):
    command = [sys.executable, "-W", "error", str(EXAMPLE), "--quick"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    reached = dict(re.findall(r"^(\w+).* (\d) of 8 modes reached", ended.stdout, flags=re.M))
    assert len(reached) == 5
    assert int(reached["plain"]) <= 2, "the lesson, in less time"
    assert min(int(reached["RMSProp"]), int(reached["Adam"])) >= 5
    assert (tmp_path / "runs" / "mode_collapse" / "mode_collapse.png").read_bytes().startswith(b"\x89PNG")
