"""What every example has in common: it helps, and works, however Python was started and wherever from."""

import ast
import os
import runpy
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.small_runs import STEPS, small_data, small_gan

from tinygan.data import ImageData
from tinygan.runs.training import train

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.py") if "__main__" in path.read_text("utf-8"))
BENCHMARKS = EXAMPLES.parent / "benchmarks"
MEASURES = sorted(path.stem for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text("utf-8"))

#: Runs all programs of a folder with --help one after the other, as Python would each by itself.
ALL_HELPS = """
    import contextlib, io, runpy, sys
    root, folder, names = sys.argv[1], sys.argv[2], sys.argv[3:]
    sys.path.insert(0, root)
    for name in names:
        sys.argv = [name, "--help"]
        before = list(sys.path)
        if folder == "benchmarks":
            sys.path.insert(0, f"{root}/{folder}")  # where they look for each other
        sys.stdout.reconfigure(errors="strict")
        try:
            runpy.run_path(f"{root}/{folder}/{name}.py", run_name="__main__")
        except SystemExit as ending:
            print("\\nended", name, ending.code)
        sys.path[:] = before
"""

START_ODDITIES = [  # flags of Python, and its environment
    ("optimised, isolated", ["-OO", "-I"], {}),
    ("asserts off, ascii", ["-O"], {"PYTHONIOENCODING": "ascii", "PYTHONSAFEPATH": "1"}),
    ("cp1252", [], {"PYTHONIOENCODING": "cp1252"}),
    ("latin-1, no home", [], {"PYTHONIOENCODING": "latin-1:strict", "HOME": ""}),
    ("the C locale, not UTF-8", ["-X", "utf8=0"], {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}),
]


def test_there_are_ten_programs_and_more():
    assert len(PROGRAMS) >= 11
    assert len(MEASURES) >= 12


@pytest.mark.parametrize(("folder", "names"), [("examples", PROGRAMS), ("benchmarks", MEASURES)])
@pytest.mark.parametrize(("what", "flags", "environment"), START_ODDITIES, ids=[row[0] for row in START_ODDITIES])
def test_every_program_helps_however_python_is_started(what, flags, environment, folder, names, tmp_path):
    environment = {**{key: value for key, value in os.environ.items() if key != "PYTHONUTF8"}, **environment}
    command = [sys.executable, *flags, "-c", textwrap.dedent(ALL_HELPS), str(EXAMPLES.parent), folder, *names]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode(errors="replace")
    for name in names:
        assert f"ended {name} 0\n".encode() in ended.stdout
    assert b"usage: " in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_only_what_runs_in_many_processes_needs_what_lies_beside_it():
    """And it looks there by itself: python -I and PYTHONSAFEPATH do not."""
    beside = {path.stem for path in EXAMPLES.glob("*.py")}
    for name in PROGRAMS:
        tree = ast.parse((EXAMPLES / f"{name}.py").read_text("utf-8"))
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert not modules & beside or name in ("mode_coverage", "few_images", "few_labels")


def test_what_is_wrong_in_articles_is_told_without_docstrings_too(monkeypatch, capsys):
    """Under python -OO the functions have none, and it is them that people read."""
    path = EXAMPLES / "what_articles_get_wrong.py"
    names = {"__name__": "without", "__file__": str(path)}
    exec(compile(path.read_text("utf-8"), str(path), "exec", optimize=2), names)
    assert names["the_wrong_one_maximises"].__doc__ is None
    names["ERRORS"] = [names["the_wrong_one_maximises"]]
    monkeypatch.setattr(sys, "argv", [path.stem])
    names["main"]()
    out = capsys.readouterr().out
    assert out.startswith('2. "The maximum over G of the minimum over D of V"\n\nThat is no game')
    assert "D answers 1000 everywhere" in out


def run(name, *argv, monkeypatch, folder):
    """An example in this process; returns its exit code."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [name, *map(str, argv)])
    try:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    except SystemExit as ending:
        return ending.code
    return 0


BAD_LINE_ODDITIES = [
    ("ring_of_gaussians", "--steps 0", 2, "argument --steps: expected a whole number of at least 1, got '0'"),
    ("ring_of_gaussians", "--seed -1", 2, "argument --seed: expected a whole number of at least 0, got '-1'"),
    ("ring_of_gaussians", "--backend abacus", 1, "error: unknown backend 'abacus'"),
    ("mode_collapse", "--steps x", 2, "argument --steps: expected a whole number"),
    ("mode_collapse", "--seed -1", 2, "argument --seed: expected a whole number of at least 0"),
    ("mnist_classifier", "--epochs 0", 2, "argument --epochs: expected a whole number of at least 1"),
    ("mnist_classifier", "--seed -3", 2, "argument --seed: expected a whole number of at least 0"),
    ("mnist_classifier", "--data=", 2, "argument --data: expected a path, got the text ''"),
    ("mnist_classifier", "--out=", 2, "argument --out: expected a path, got the text ''"),
    (
        "mnist_classifier",
        "--out=~no-such-user/x",
        2,
        "argument --out: ~no-such-user/x: nobody knows the home",
    ),
    ("mnist_classifier", "--quick --data nowhere", 1, "error: data 'nowhere': neither a name"),
    ("mode_coverage", "--digits=", 2, "argument --digits: expected a path"),
    ("mode_coverage", "--out=~no-such-user", 2, "argument --out: ~no-such-user: nobody knows the home folder"),
    ("few_images", "--steps 3", 2, "argument --steps: expected at least 8, one for each look, got 3"),
    ("few_images", "--size 30", 2, "one number for both, multiples of 4 from 4 to 8192, got '30'"),
    ("few_images", "--data nowhere", 1, "error: data 'nowhere': neither a name"),
    ("few_labels", "--labels 0", 2, "argument --labels: expected a whole number of at least 1, got '0'"),
    ("few_labels", "--labels 1", 2, "argument --labels: a GAN cannot learn from one image; expected at least 2"),
    ("few_labels", "--quick --labels 9 --data nowhere", 1, "error: data 'nowhere': neither a name"),
    ("explore_run", "--data=", 2, "argument --data: expected a path"),
    ("explore_run", "--out=~no-such-user", 2, "argument --out: ~no-such-user: nobody knows the home folder"),
    ("explore_run", "~no-such-user/run", 2, "argument run: ~no-such-user/run: nobody knows the home folder"),
    ("explore_run", "nowhere", 1, "error: nowhere"),
    ("explore_run", "nowhere --quick", 1, "error: nowhere"),
    ("explore_run", "", 1, "error: runs"),
]


@pytest.mark.parametrize(
    ("name", "line", "code", "message"), BAD_LINE_ODDITIES, ids=[f"{row[0]} {row[1]}" for row in BAD_LINE_ODDITIES]
)
def test_a_bad_line_is_answered_in_a_line(name, line, code, message, tmp_path, monkeypatch, capsys):
    assert run(name, *line.split(), monkeypatch=monkeypatch, folder=tmp_path) == code
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


# ---- --quick shortens what was asked for -----------------------------------------------------------------------------


def test_a_quick_classifier_learns_from_what_it_was_given(tmp_path, monkeypatch, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 28, 28, 1), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", images=pixels, labels=np.arange(40) % 10)
    assert run("mnist_classifier", "--quick", "--data", "mine.npz", monkeypatch=monkeypatch, folder=tmp_path) == 1
    assert "error: mine: there are no images apart to be tested with" in capsys.readouterr().err


def few_images(name="digits", *, size=28, **options):
    """In place of what takes seconds to draw."""
    height = size if isinstance(size, int) else size[0]
    return ImageData(np.zeros((300, height, height, 1), np.uint8), np.arange(300) % 10, name, "few images")


def named(name):
    return replace(small_data(), name=name)


@pytest.fixture
def explore(tmp_path, monkeypatch):
    """Call the example that explores a run; its return value tells what it explored, and with how much effort."""
    monkeypatch.chdir(tmp_path)
    main, seen = runpy.run_path(str(EXAMPLES / "explore_run.py"))["main"], {}
    replaced = {
        "load": few_images,
        "digits": lambda n: few_images(),
        "train": lambda gan, data, **how: train(small_gan(), named(data.name), **{**STEPS, **how, "steps": 4}),
        "draw_walks": lambda run, out: seen.update(step=run.step, out=str(out)),
        "draw_inversion": lambda run, images, out, **effort: seen.update(effort),
        "draw_repairs": lambda run, images, out, **effort: seen.update(effort, data=images.name),
        "draw_directions": lambda run, images, out, *, measured: seen.update(measured=measured),
        "draw_features": lambda run, images, out, *, labelled: seen.update(labelled=labelled),
    }
    main.__globals__.update(replaced)

    def call(line):
        seen.clear()
        monkeypatch.setattr(sys, "argv", ["explore_run", *line.split()])
        main()
        return dict(seen)

    return call


def short_run(folder, steps):
    return train(small_gan(), named("mine"), out=folder, **{**STEPS, "steps": steps}, settings={"data": "mine"})


def test_a_quick_exploration_is_of_the_run_that_was_named(explore, tmp_path):
    short_run(tmp_path / "mine", 2)
    effort = {"guesses": 100, "steps": 20, "measured": 200, "labelled": 400}
    named = {"step": 2, "out": os.path.join("mine", "explored"), "data": "mine"}
    assert explore("mine --quick") == {**named, **effort}
    assert explore("mine --quick --data shapes --out x") == {**named, **effort, "out": "x", "data": "shapes"}
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "x"}, "no toy was trained"
    assert explore("mine --data shapes") == {**named, "data": "shapes", "measured": 3000, "labelled": 4000}


def test_a_quick_exploration_of_nothing_trains_a_toy_and_says_so(explore, tmp_path, capsys):
    named = explore("--quick")
    assert (named["step"], named["data"]) == (4, "digits")
    assert named["out"] == os.path.join("runs", "explore_run", "explored")
    assert "a toy is trained in" in capsys.readouterr().out
    named = explore("--quick --data shapes --out x")
    assert (named["step"], named["data"], named["out"]) == (4, "shapes", "x")
    short_run(tmp_path / "runs" / "dcgan", 1)
    assert explore("--quick")["step"] == 1, "where the usual run is, it is explored"


def test_a_quick_ring_takes_the_steps_that_were_asked_for(tmp_path, monkeypatch, capsys):
    assert run("ring_of_gaussians", "--quick", "--steps", 7, monkeypatch=monkeypatch, folder=tmp_path) == 0
    assert "7/7" in capsys.readouterr().err


def test_a_quick_collapse_takes_the_steps_that_were_asked_for(tmp_path, monkeypatch, capsys):
    assert run("mode_collapse", "--quick", "--steps", 1, monkeypatch=monkeypatch, folder=tmp_path) == 0
    assert capsys.readouterr().out.count("of 8 modes reached") == 5
