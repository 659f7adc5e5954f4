"""The benchmark of recipes: what its command line refuses, in words, before anything is trained."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent.parent.parent / "benchmarks" / "mnist_recipes.py"


def run(folder, *arguments):
    return subprocess.run([sys.executable, str(PROGRAM), *arguments], cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--seeds 0", "argument --seeds: expected a whole number of at least 1, got '0'"),
        ("--seconds -1", "argument --seconds: expected a positive number, got '-1'"),
        ("--system vae", "argument --system: invalid choice: 'vae'"),
        ("--recipes 0", "argument --recipes: expected a whole number of at least 1, got '0'"),
        ("--recipes 9", "argument --recipes: of mlp there are 7, got 9"),
    ],
)
def test_numbers_out_of_range(tmp_path, line, message):
    ended = run(tmp_path, *line.split())
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr
    assert not list(tmp_path.iterdir())


def test_data_that_are_not_there_end_in_one_line(tmp_path):
    ended = run(tmp_path, "--data", str(tmp_path / "no such"), "--seeds", "1", "--recipes", "1")
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert ended.stderr.startswith("error: ")
    assert "no such" in ended.stderr
    assert not list(tmp_path.iterdir())
