"""The program that measures steps on a GPU: its tables and floors, tried out without one."""

import importlib
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        return importlib.import_module("gpu_step")


def run(tmp_path, *args):
    """The program, where neither CuPy nor PyTorch can be had."""
    for name in ("cupy", "torch"):
        (tmp_path / f"{name}.py").write_text(f'raise ModuleNotFoundError("No module named {name}", name="{name}")')
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(FOLDER.parent)])}
    command = [sys.executable, str(FOLDER / "gpu_step.py"), *args]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_without_a_gpu_it_ends_in_one_line(tmp_path):
    ended = run(tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert ended.stderr.startswith("There is nothing to measure here: backend 'cupy': the package CuPy is missing.")


def test_on_numpy_the_table_is_printed_without_what_is_missing(tmp_path):
    small = "--backend numpy --only mlp --batch 2 --rounds 1 --seconds 0.01"
    ended = run(tmp_path, *small.split())
    assert ended.returncode == 0, ended.stderr
    assert re.fullmatch(r"torch, mlp, fp32: failed \(.*No module named.*torch.*\)\n", ended.stderr)
    told, _, heads, rule, row = ended.stdout.strip().splitlines()
    assert told == "the CPU; 1 round; PyTorch is not there"
    assert heads.count("|") == rule.count("|") == row.count("|")
    assert re.match(r"\| mlp 28x28x1, 2 \| [\d.]+ \| [\d.]+ \|  \|", row)


def test_the_stand_in_takes_the_steps_of_a_gpu(bench):
    system = bench.System("mlp", (4, 4, 1), 2)
    measured = bench.run_tinygan(system, "standin", "fp32", 0.001)
    assert measured["device"] == "a stand-in for a GPU, fp32"
    assert measured["tinygan"] > 0 < measured["launched"]


def test_rows_say_who_is_faster_and_what_is_reached(bench):
    ours = {"tinygan": 0.1, "launched": 1.0, "device": "NVIDIA H200, 140 GB, fp32"}
    rounds = [
        (ours, {"usual": 0.3, "tuned": 0.2, "compiled": 0.05}),
        (ours, {"usual": 0.1, "tuned": 0.2, "compiled": 0.05}),
        (ours, {"usual": 0.25, "tuned": 0.2, "compiled": 0.05}),
    ]
    cells = [cell.strip() for cell in bench.row("mlp", bench.SYSTEMS["mlp"], "fp32", rounds).split("|")[1:-1]]
    assert cells[:3] == ["mlp 28x28x1, 128", "0.1", "1"]
    assert cells[3:5] == ["0.25", "**2.50** (1.00 - 3.00)"]
    assert cells[5:7] == ["0.2", "**2.00** (2.00 - 2.00)"]
    assert cells[7:11] == ["0.05", "**0.50** (0.50 - 0.50)", "", ""]
    floor = bench.floor_ms(bench.SYSTEMS["mlp"], "fp32", ours["device"])
    assert cells[11:13] == [f"{floor:.3g}", f"{floor / 0.1:.0%}"]
    assert cells[13] == "2 of as usual: yes; 1 of compiled: no"


def test_floors_are_counted_as_said(bench):
    """The MLP by hand: all of its products, and Adam."""
    system = bench.SYSTEMS["mlp"]
    g, d, n = (100, 256, 512, 1024, 784), (784, 512, 256, 1), system.batch

    def moved(sizes, n):
        return [4 * (n * (a + b) + a * b) for a, b in pairwise(sizes)]

    d_step = sum(moved(g, n)) + 2 * sum(moved(d, 2 * n)) + sum(moved(d, 2 * n)[1:])
    g_step = 2 * sum(moved(g, n)) + sum(moved(g, n)[1:]) + 2 * sum(moved(d, n))
    parameters = sum((a + 1) * b for sizes in (g, d) for a, b in pairwise(sizes))
    assert bench.traffic(system) == d_step + g_step + 28 * parameters

    peak = bench.PEAKS["H200"]
    by_bytes, by_products = bench.traffic(system) / peak.memory / 1e9, bench.operations(system) / peak.fp32 / 1e9
    assert bench.floor_ms(system, "fp32", "NVIDIA H200, 140 GB, fp32") == pytest.approx(max(by_bytes, by_products))
    assert bench.floor_ms(system, "fp32", "NVIDIA H100 PCIe, 80 GB, fp32") > bench.floor_ms(system, "fp32", "H100 80GB")
    assert bench.floor_ms(system, "fp32", "Some other GPU") is None
    large = bench.SYSTEMS["dcgan64"]
    assert bench.floor_ms(large, "tf32", "H200") < bench.floor_ms(large, "fp32", "H200") / 3


def test_every_system_has_goals_in_every_precision(bench):
    assert bench.GOALS.keys() == bench.SYSTEMS.keys()
    for goals in bench.GOALS.values():
        assert goals.keys() == {"fp32", "tf32"}
        assert all(loop in bench.LOOPS for one in goals.values() for loop in one)
