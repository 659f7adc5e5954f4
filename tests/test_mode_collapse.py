"""The example of a collapse: what it measures, that each run changes one thing, and that it leaves its picture."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "mode_collapse.py"


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
    first, *others = example["RUNS"].values()
    assert first == {}
    for change in others:
        assert change.keys() <= example["COLLAPSING"].keys()
        assert len(change.keys() - {"settings"}) == 1 or change.keys() == {"settings"}
        if change.keys() == {"settings"}:
            assert len(change["settings"].items() - example["COLLAPSING"]["settings"].items()) == 1


def test_the_example_from_its_command_line(tmp_path):
    command = [sys.executable, "-W", "error", str(EXAMPLE), "--quick"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert len(re.findall(r"\d of 8 modes reached", ended.stdout)) == 6
    assert "SGD {'lr': 0.1}: step 2" in ended.stdout
    assert "SGD {'lr': 0.1, 'clip_norm': 1.0}: all numbers finite" in ended.stdout
    assert (tmp_path / "runs" / "mode_collapse" / "mode_collapse.png").read_bytes().startswith(b"\x89PNG")
