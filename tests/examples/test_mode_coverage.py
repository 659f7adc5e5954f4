"""The benchmark of mode coverage: what it measures is what it says, runs go on where they stopped, all of it runs."""

import json
import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

FOLDER = Path(__file__).parent.parent.parent / "examples"
sys.path.append(str(FOLDER))

import many_runs  # noqa: E402
import mode_coverage  # noqa: E402
from mode_coverage import POINTS, STEPS, Job, StackedDigits, parse, planned, play, reverse_kl  # noqa: E402
from mode_coverage_report import Panel, draw, mean_and_error, table  # noqa: E402

from tinygan import checkpoints  # noqa: E402
from tinygan.data.stacked import channels, modes  # noqa: E402
from tinygan.errors import ArgumentError, DataError  # noqa: E402
from tinygan.runs.writer import Writer  # noqa: E402

TINY = {"ring": Job("ring", "relativistic", "r1+r2", 6, 0), "grid": Job("grid", "non-saturating", "r1", 6, 1)}


@pytest.fixture(autouse=True)
def counter():
    many_runs.STEPS_DONE.value = 0
    return many_runs.STEPS_DONE


# ---- what is measured ------------------------------------------------------------------------------------------------


def test_the_data_are_those_of_the_literature():
    ring, grid = POINTS["ring"], POINTS["grid"]
    assert (ring.modes, ring.sigma, grid.modes, grid.sigma) == (8, 0.01, 25, 0.05)
    np.testing.assert_allclose(np.linalg.norm(ring.centres, axis=1), 1.0)
    neighbours = np.linalg.norm(ring.centres - np.roll(ring.centres, 1, axis=0), axis=1)
    np.testing.assert_allclose(neighbours, 2 * np.sin(np.pi / 8))
    assert {tuple(c) for c in grid.centres} == {(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}


@pytest.mark.parametrize("data", POINTS)
def test_real_points_have_all_modes_and_the_quality_of_normals(data):
    task = POINTS[data]
    points = task.draw(40_000, np.random.default_rng(0))
    assert points.dtype == np.float32
    measured = task.measure(points)
    assert measured["modes"] == task.modes
    assert measured["quality"] == pytest.approx(100 * (1 - np.exp(-4.5)), abs=0.3)  # a normal in the plane, within 3 σ
    assert measured["spread"] == pytest.approx((1 - 4.5 / (np.exp(4.5) - 1)) ** 0.5, abs=0.005)  # of that part of it
    assert measured["kl"] == pytest.approx(task.modes / 2 / 40_000, abs=1e-3)


@pytest.mark.parametrize("data", POINTS)
def test_modes_and_quality_by_a_slow_count(data):
    task, rng = POINTS[data], np.random.default_rng(1)
    samples = task.draw(300, rng)[:200] * rng.normal(1.0, 0.02, (200, 1))
    samples = samples[samples[:, 0] < 0.3]  # some modes are left out
    near, nearest, squares = [], [], []
    for x, y in samples * task.scale:
        distances = [((x - a) ** 2 + (y - b) ** 2) ** 0.5 for a, b in task.centres]
        k = min(range(task.modes), key=distances.__getitem__)
        nearest.append(k)
        near.append(k if distances[k] < 3 * task.sigma else None)
        squares += [(distances[k] / task.sigma) ** 2] * (near[-1] is not None)
    measured = task.measure(samples)
    assert measured["modes"] == len(set(near) - {None}) < task.modes
    assert measured["quality"] == pytest.approx(100 * sum(k is not None for k in near) / len(near))
    assert measured["spread"] == pytest.approx((sum(squares) / len(squares) / 2) ** 0.5)
    shares = [nearest.count(k) / len(nearest) for k in range(task.modes)]
    assert measured["kl"] == pytest.approx(sum(p * np.log(p * task.modes) for p in shares if p))


def test_three_sigma_are_the_border():
    task = POINTS["ring"]
    out = np.array([[1.0 + 2.99 * 0.01, 0.0], [1.0 + 3.01 * 0.01, 0.0]])
    assert task.measure(out[:1])["modes"] == 1
    assert task.measure(out[1:])["modes"] == 0
    assert task.measure(out)["quality"] == 50.0


def test_samples_that_are_not_finite_are_a_collapse():
    measured = POINTS["ring"].measure(np.full((10, 2), np.nan))
    assert measured["modes"] == measured["quality"] == 0


@given(st.lists(st.integers(0, 6), min_size=1, max_size=50))
def test_kl_is_zero_for_even_shares_only(named):
    kl = reverse_kl(np.array(named), 7)
    even = len({named.count(k) for k in range(7)}) == 1
    assert (kl == pytest.approx(0.0, abs=1e-12)) is even
    assert -1e-12 <= kl <= np.log(7) + 1e-12
    p = np.bincount(named, minlength=7) / len(named)
    assert kl == pytest.approx(np.log(7) + sum(x * np.log(x) for x in p if x))  # log K less the entropy


def test_images_count_for_the_mode_they_are_named_as(monkeypatch):
    """With a judge that reads the name from the first pixel."""
    task = object.__new__(StackedDigits)
    task.judge = lambda x: np.eye(10)[np.rint(x[:, 0, 0, 0]).astype(int)]
    rng = np.random.default_rng(0)
    names = rng.integers(0, 10, (700, 3))
    images = rng.random((700, 28, 28, 3))
    images[:, 0, 0] = names
    measured = task.measure(images)
    assert measured["modes"] == len({tuple(n) for n in names})
    assert measured["kl"] == pytest.approx(reverse_kl(modes(names), 1000))
    assert channels(images).shape == (2100, 28, 28, 1)


# ---- runs ------------------------------------------------------------------------------------------------------------


def test_each_setting_reaches_the_gan():
    for loss in mode_coverage.LOSSES:
        for penalty, kinds in mode_coverage.PENALTIES.items():
            gan = mode_coverage.prepare(POINTS["ring"], Job("ring", loss, penalty, 50, 0))
            assert type(gan.loss) is type(mode_coverage.LOSSES[loss])
            assert [type(p) for p in gan.penalties] == kinds
            assert gan.g_optimizer.lr(50) == gan.d_optimizer.lr(50) == 0.0
            assert all(p.gamma(0) > p.gamma(50) for p in gan.penalties)


@pytest.mark.parametrize("data", TINY)
def test_a_seed_gives_the_same_record_and_another_seed_another(tmp_path, counter, data):
    job, actual = TINY[data], []
    for name, seed in (("a", job.seed), ("b", job.seed), ("c", job.seed + 1)):
        (tmp_path / name).mkdir()
        one = Job(job.data, job.loss, job.penalty, job.steps, seed)
        play(one, tmp_path / name)
        record = json.loads(one.path(tmp_path / name, ".json").read_text())
        assert record["seed"] == seed
        assert isinstance(record["collapsed"], bool)
        actual.append(np.load(one.path(tmp_path / name, ".npy")))
    assert counter.value == 3 * job.steps
    assert actual[0].shape == (2500, 2)
    assert (actual[0] == actual[1]).all()
    assert (actual[0] != actual[2]).any()


def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path, monkeypatch, counter):
    job = TINY["ring"]
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    play(job, tmp_path / "whole")
    monkeypatch.setattr(mode_coverage, "SAVE_EVERY", 0.0)
    write, files = checkpoints.write, []

    def write_twice(path, *what):
        write(path, *what)
        files.append(path)
        if len(files) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "write", write_twice)
    with pytest.raises(KeyboardInterrupt):
        play(job, tmp_path / "broken")
    assert not job.path(tmp_path / "broken", ".json").exists()
    monkeypatch.setattr(mode_coverage, "SAVE_EVERY", 1e9)
    counter.value = 0
    play(job, tmp_path / "broken")
    assert counter.value == job.steps  # the bar counts the steps taken before, too
    a, b = (np.load(job.path(tmp_path / name, ".npy")) for name in ("whole", "broken"))
    assert (a == b).all()
    assert not files[0].exists()


@pytest.mark.parametrize("written", [0, 1])
def test_a_record_is_there_whole_or_not_at_all(tmp_path, monkeypatch, written):
    """The disk is full at the samples, or at the record."""
    job, fsync, calls = TINY["ring"], os.fsync, []

    def full(file):
        calls.append(file)
        if len(calls) > written:
            raise OSError(28, "No space left on device")
        fsync(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            play(job, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"] * written
    play(job, tmp_path)
    assert json.loads(job.path(tmp_path, ".json").read_text())["seed"] == job.seed
    assert np.load(job.path(tmp_path, ".npy")).shape == (2500, 2)


def test_what_a_run_raises_comes_out_and_ends_the_others(tmp_path):
    jobs = [(Job("ring", "relativistic", "none", 10**9, 0), tmp_path), (TINY["ring"], tmp_path / "no such folder")]
    with pytest.raises(FileNotFoundError):
        many_runs.play_all(play, jobs[::-1], steps=10**9)
    assert not multiprocessing.active_children()


# ---- what is printed -------------------------------------------------------------------------------------------------


def test_mean_and_standard_error():
    assert mean_and_error([7, 8, 8, 8], 2) == "7.75 ± 0.25"
    assert mean_and_error([7.0], 1) == "7.0"


def test_the_table_counts_whole_and_collapsed_runs():
    real = {"modes": 8, "quality": 98.9, "spread": 0.97, "kl": 0.001}
    kinds = {"data": "ring", "loss": "relativistic", "penalty": "r1", "steps": 1000, "of": 8, "real": real}
    actual = {"modes": (8, 8, 1), "quality": (97.0, 98.0, 0.0), "spread": (0.5, 0.5, 0.5), "kl": (0.0, 0.0, 0.3)}
    records = [kinds | {key: v[i] for key, v in actual.items()} | {"collapsed": i == 2} for i in range(3)]
    _, row, real_row, *published = table(records).splitlines()
    cells = "relativistic, r1, 1,000 5.7 ± 2.3 65.0 ± 32.5 0.50 ± 0.00 0.1000 ± 0.1000 2 of 3 1 of 3"
    assert " ".join(row.split()) == cells
    assert real_row.split()[:5] == ["real", "samples", "8.0", "±", "0.0"]
    assert [line.split()[0] for line in published] == ["GAN,", "ALI,", "PacGAN4"]
    images = {
        "data": "stacked",
        "steps": 5,
        "loss": "a",
        "penalty": "b",
        "of": 1000,
        "modes": 9,
        "kl": 2.0,
        "collapsed": True,
    }
    row = table([images | {"real": {"modes": 990, "kl": 0.02}}]).splitlines()[1]
    assert " ".join(row.split()) == "a, b, 5 9.0 2.0000 0 of 1 1 of 1"


@pytest.mark.parametrize(("centres", "sides"), [(None, (4.0, 5.5)), (np.eye(2), (1.5, 2.5))], ids=["images", "points"])
def test_panels_are_large_enough_for_what_they_show(tmp_path, centres, sides):
    """64 images of 28x28 are 8 rows of 28 pixels, which need more than one pixel of the picture for each of theirs."""
    samples = np.zeros((64, 28, 28, 3) if centres is None else (64, 2), np.float32)
    sizes = []
    for across in (1, 2):
        draw([[Panel(samples, centres, "text")] * across] * 2, tmp_path / "a.png")
        sizes.append(matplotlib.image.imread(tmp_path / "a.png").shape)
    inches = (sizes[1][1] - sizes[0][1]) / 100
    assert sides[0] < inches < sides[1]
    assert inches < sizes[0][0] / 100 / 2 < inches + 0.7  # as high as wide, and the text


# ---- from the command line -------------------------------------------------------------------------------------------


def test_what_is_planned():
    jobs = planned(parse([]))
    assert [job.seed for job in jobs] == list(range(10))
    assert {(job.data, job.steps) for job in jobs} == {("ring", STEPS["ring"])}
    assert len(planned(parse(["--ablation", "--seeds", "3"]))) == 3 * 2 * 6


@pytest.mark.parametrize(
    ("given", "seeds", "steps", "width"),
    [
        ([], 2, 20, 4),
        (["--seeds", "5"], 5, 20, 4),
        (["--steps", "300"], 2, 300, 4),
        (["--width", "16"], 2, 20, 16),
        (["--seeds", "10", "--width", "64"], 10, 20, 64),  # what would be so without --quick, but asked for
    ],
)
def test_quick_leaves_alone_what_is_given(given, seeds, steps, width):
    jobs = planned(parse([*given, "--quick"]))
    assert len(jobs) == seeds
    assert {(job.steps, job.width, job.quick) for job in jobs} == {(steps, width, True)}


def test_names_of_records(tmp_path):
    def name(**changes):
        return replace(TINY["ring"], **changes).path(tmp_path, ".json").name

    rates = "lr0.004-0.004_gamma1-0.001"
    assert name() == name(width=8, digits="a/b") == f"ring_relativistic_r1+r2_{rates}_6_seed0.json"
    assert name(data="grid", quick=True, seed=3) == f"grid_relativistic_r1+r2_{rates}_6_quick_seed3.json"
    stacked = name(data="stacked", digits="a/mnist", checksum="0123abcd", backend="cupy")
    assert stacked == "stacked_relativistic_r1+r2_lr0.001-0.001_gamma1-0.1_mnist-0123abcd_32_cupy_6_seed0.json"


@pytest.mark.parametrize(("setting", "value"), [("g_lr", 1e-4), ("d_lr", 1e-4), ("gamma", (2.0, 1e-3))])
def test_runs_of_other_rates_share_no_record(tmp_path, monkeypatch, setting, value):
    job = TINY["ring"]
    play(job, tmp_path)
    before = job.path(tmp_path, ".json")
    monkeypatch.setattr(mode_coverage.Points, setting, value)
    assert job.path(tmp_path, ".json") != before
    play(job, tmp_path)
    records = [json.loads(path.read_text()) for path in (before, job.path(tmp_path, ".json"))]
    assert records[0].pop(setting) != records[1].pop(setting)
    assert [record["g_lr"] for record in records if setting != "g_lr"] in ([], [4e-3, 4e-3])


def test_a_backend_has_records_of_its_own(tmp_path):
    assert len({replace(TINY["ring"], backend=name).path(tmp_path, ".json") for name in ("numpy", "cupy")}) == 2


def test_digits_of_one_name_and_other_images_share_no_record_and_no_judge(tmp_path, monkeypatch):
    rng, paths, judges = np.random.default_rng(0), [], []
    monkeypatch.setattr(mode_coverage, "fit", lambda *args, **options: ())  # nothing is learned here
    for folder in "ab":
        file = tmp_path / folder / "digits.npz"
        file.parent.mkdir()
        np.savez(file, images=rng.integers(0, 256, (40, 28, 28, 1), dtype=np.uint8), labels=np.arange(40) % 10)
        (job,) = planned(parse(["--data", "stacked", "--digits", str(file), "--seeds", "1"]))
        paths.append(job.path(tmp_path, ".json"))
        job.task(tmp_path)
        judges.append(set(tmp_path.glob("judge_*")))
    assert paths[0] != paths[1]
    assert [len(actual) for actual in judges] == [1, 2]
    again = planned(parse(["--data", "stacked", "--digits", str(file), "--seeds", "1"]))
    assert again[0].path(tmp_path, ".json") == paths[1]


def run_example(*arguments, folder, **environment):
    command = [sys.executable, "-W", "error", str(FOLDER / "mode_coverage.py"), *arguments]
    environment = {**os.environ, "MPLBACKEND": "agg", **environment}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    ("arguments", "rows", "picture"),
    [
        (["--data", "grid"], 1, "grid_relativistic_r1+r2.png"),
        (["--ablation"], 12, "ablation.png"),
        (["--data", "stacked", "--digits", "digits"], 1, "stacked_relativistic_r1+r2.png"),
    ],
)
def test_the_example_from_its_command_line(tmp_path, arguments, rows, picture):
    ended = run_example(*arguments, "--quick", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count(", 20 ") == rows
    out = tmp_path / "runs" / "mode_coverage"
    assert (out / picture).read_bytes().startswith(b"\x89PNG")
    records = sorted(out.glob("*.json"))
    assert len(records) == 2 * rows
    times = [r.stat().st_mtime_ns for r in records]
    again = run_example(*arguments, "--quick", folder=tmp_path)
    assert again.stdout == ended.stdout  # from the records
    assert [r.stat().st_mtime_ns for r in records] == times


def test_one_command_at_a_time_in_a_folder(tmp_path, monkeypatch):
    """Two would write the same records and save into the same files."""
    monkeypatch.setattr(sys, "argv", ["mode_coverage", "--quick", "--out", str(tmp_path / "out")])
    (tmp_path / "out").mkdir()
    with Writer(tmp_path / "out") as writer:
        writer.hold()
        with pytest.raises(ArgumentError, match="writes in this folder"):
            mode_coverage.main()
    assert list((tmp_path / "out").iterdir()) == []


def test_numbers_without_meaning_are_refused(tmp_path):
    ended = run_example("--seeds", "0", folder=tmp_path)
    assert ended.returncode == 2
    assert "at least 1" in ended.stderr


@pytest.mark.parametrize("given", ["--data stacked", "--data ring", "--loss relativistic", "--penalty none"])
def test_an_ablation_has_its_own_data_losses_and_penalties(capsys, given):
    with pytest.raises(SystemExit) as end:
        parse(["--ablation", *given.split()])
    assert end.value.code == 2
    assert f"leave {given.split()[0]} out" in capsys.readouterr().err
    args = parse(given.split())
    assert [args.data, args.loss, args.penalty].count(given.split()[1]) == 1


def one_line(ended):
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1
    return ended.stderr


def test_digits_of_other_than_ten_kinds_cannot_be_stacked(tmp_path):
    text = one_line(run_example("--data", "stacked", "--digits", "shapes", "--quick", folder=tmp_path))
    assert text.startswith("error: shapes: stacking needs digits with labels 0 to 9, found ")
    rng = np.random.default_rng(0)
    for labels in (np.arange(40) % 9, np.arange(40) % 9 * 2, np.arange(40) % 10 + 1):
        images = rng.integers(0, 256, (40, 28, 28, 1), dtype=np.uint8)
        np.savez(tmp_path / "digits.npz", images=images, labels=labels)
        with pytest.raises(DataError, match="labels 0 to 9"):
            planned(parse(["--data", "stacked", "--digits", str(tmp_path / "digits.npz")]))


def test_a_backend_that_is_missing_ends_in_one_line(tmp_path):
    (tmp_path / "cupy.py").write_text('raise ModuleNotFoundError("No module named cupy", name="cupy")')
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    text = one_line(run_example("--backend", "cupy", "--quick", folder=tmp_path, PYTHONPATH=path))
    assert text.startswith("error: backend 'cupy': the package CuPy is missing")
