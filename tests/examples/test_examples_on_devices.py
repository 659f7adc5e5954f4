"""The small examples on every backend: the same commands, the same result."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("name", ["ring_of_gaussians", "mode_collapse", "mnist_classifier"])
def test_an_example_runs_where_it_is_told_to(name, device, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    shorter = [] if name == "mnist_classifier" else ["--steps", "50"]
    monkeypatch.setattr(sys, "argv", [name, "--quick", *shorter, "--backend", device.name])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert list((tmp_path / "runs" / name).glob("*.png"))
    assert capsys.readouterr().out


@pytest.mark.parametrize("name", ["ring_of_gaussians", "mode_collapse", "mnist_classifier"])
def test_a_backend_that_is_not_there_is_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(sys, "argv", [name, "--quick", "--backend", "abacus"])
    with pytest.raises(SystemExit, match="error: unknown backend 'abacus'"):
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
