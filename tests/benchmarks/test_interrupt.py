"""The kills of benchmarks/interrupt.py: of every kind, the same from the same seed; one of each is made."""

import random

import pytest

from benchmarks import interrupt
from tinygan import checkpoints


def test_kills_are_drawn_from_the_seed():
    first, again = ([interrupt.plan(draw, 2.0, 50) for _ in range(60)] for draw in map(random.Random, (3, 3)))
    assert first == again
    assert {kind for kind, *_ in first} == {"any time", "at the beginning", "in a change"}
    for kind, until, at, after in first:
        assert (at > 0) == (kind == "in a change") == (until == 0.0)
        assert 0.0 <= until <= 2.0
        assert 0 <= at <= 50
        assert 0.0 <= after <= 0.004


def test_a_kill_in_a_change_comes_where_it_should(tmp_path):
    ended, said = interrupt.kill_once(tmp_path / "run", 0.0, 30, 0.0)
    assert not ended
    assert said.startswith("ready\nkilled at ")
    checkpoints.read(tmp_path / "run" / "checkpoint.safetensors")


def test_a_run_that_fails_by_itself_is_told(tmp_path):
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(interrupt.CheckpointError, match=r"run: the run ended with 1: (?s:.*)cannot be written"):
        interrupt.kill_once(tmp_path / "run", 60.0, 0, 0.0)
