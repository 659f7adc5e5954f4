"""Runs that are judged on the way: what is written, that training does not notice, that killed runs end the same."""

import csv

import numpy as np
import pytest
from PIL import Image
from support.small_runs import STEPS, assert_same_files, contents, small_data, small_gan

from tinygan import checkpoints, metrics, plotting
from tinygan.errors import ArgumentError, CheckpointError, NonFiniteError, ShapeError
from tinygan.runs import judging
from tinygan.runs.folder import Run
from tinygan.runs.trained import load_trained
from tinygan.runs.training import train

pytestmark = pytest.mark.usefixtures("forty_samples")
FILES = {"metrics.csv", "metrics.png", "best.safetensors"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return train(small_gan(), small_data(), out=tmp_path_factory.mktemp("plain") / "run", **STEPS)


def run(folder, judge, **options):
    return train(small_gan(), small_data(), out=folder, judge=judge, **{**STEPS, "judge_every": 4, **options})


def rows_of(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_scores_curves_and_the_best_weights_are_written_and_nothing_else_changes(plain, tmp_path, judge):
    folder = run(tmp_path / "run", judge)
    assert contents(folder).keys() == contents(plain).keys() | FILES
    for name in ("losses.csv", "losses.png", "samples.png", "film.gif"):
        assert contents(folder)[name] == contents(plain)[name]
    rows = rows_of(folder)
    assert [row["step"] for row in rows] == [4, 8, 11]  # the end, too
    with Image.open(folder / "metrics.png") as picture:
        assert picture.size == (960, 840)
    trained = load_trained(folder)  # which does not take scores and best weights for networks
    assert trained.step == 11
    best = small_gan().generator.load(folder / "best.safetensors")
    noise = judging.Judging(judge, small_gan()).noise
    least = min(row["frechet"] for row in rows)
    assert judge(best(noise)).frechet == pytest.approx(least, rel=1e-4)


def test_the_last_scores_are_those_of_the_last_samples(tmp_path, judge):
    gan = small_gan()
    train(gan, small_data(), out=tmp_path / "run", judge=judge, **STEPS)
    found = judge(gan.sample(z=judging.Judging(judge, small_gan()).noise))
    [row] = rows_of(tmp_path / "run")
    assert row["frechet"] == pytest.approx(found.frechet, rel=1e-5)
    assert row["recall"] == pytest.approx(found.recall.value, rel=1e-5)
    real, fake = judge.data.batch(judge.rows[:40]), gan.sample(z=judging.Judging(judge, small_gan()).noise)
    told = metrics.told_apart(gan.discriminator(real), gan.discriminator(fake))
    assert (row["told_apart"], row["told_apart_error"]) == pytest.approx(told, rel=1e-5)


@pytest.mark.parametrize("steps", [2, 4, 6, 9])
def test_a_run_in_two_parts_is_the_run_in_one(tmp_path, judge, steps):
    """The end of the first part is judged as well, and is no part of the whole."""
    run(tmp_path / "whole", judge)
    run(tmp_path / "parts", judge, steps=steps)
    assert rows_of(tmp_path / "parts")[-1]["step"] == steps
    run(tmp_path / "parts", judge, resume=True)
    assert_same_files(tmp_path / "parts", tmp_path / "whole")


def test_a_run_killed_at_any_write_is_the_run_never_interrupted(tmp_path, judge, monkeypatch):
    """Each file that is put in place, in turn, is the last thing that happens."""
    monkeypatch.setattr(plotting, "save_loss_curves", lambda path, *_, **__: checkpoints.replace_file(path, b"curve"))
    monkeypatch.setattr(judging.Judging, "_draw", lambda _, path: checkpoints.replace_file(path, b"curve"))
    whole, number, real = run(tmp_path / "whole", judge), 0, checkpoints.replace_file
    while True:
        number, seen = number + 1, []

        class Killed(BaseException):
            pass

        def replace(path, data, seen=seen, number=number, Killed=Killed):
            real(path, data)
            seen.append(path)
            if len(seen) == number:
                raise Killed

        folder = tmp_path / f"{number}"
        with monkeypatch.context() as patch:
            for module in (checkpoints, judging):
                patch.setattr(module, "replace_file", replace)
            try:
                run(folder, judge)
                break
            except Killed:
                pass
        checkpoint = folder / "checkpoint.safetensors"
        run(folder, judge, **({"resume": True} if checkpoint.exists() else {"overwrite": True}))
        assert_same_files(folder, whole)
    assert number > 12


def test_a_run_goes_on_with_the_same_judge_or_not_at_all(plain, tmp_path, judge):
    folder = run(tmp_path / "run", judge, steps=5)
    other = metrics.Judge(small_data(n=60, seed=1), metrics.RandomConvolutions(1))
    before = contents(folder)
    beside = metrics.Judge(small_data(n=60, seed=2), metrics.pixels)
    fewer = metrics.Judge(small_data(n=60, seed=1), metrics.pixels, n=40)
    said = ("features pixels then", "checksum", "images 60 then, images 40 now", "'pixels'")
    for another, difference in zip((other, beside, fewer, None), said, strict=True):
        with pytest.raises(CheckpointError, match=f"the run was made with another judge: .*{difference}"):
            run(folder, another, resume=True)
    assert contents(folder) == before
    with pytest.raises(CheckpointError, match="another judge: none then, "):
        run(plain, judge, resume=True, steps=20)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        *(
            ({"scores": scores}, "does not hold the scores of a run")
            for scores in (
                np.zeros((1, 3)),
                np.full((1, 14), np.nan),
                np.ones((1, 14), bool),
                np.ones((2, 14)),
                np.full((1, 14), 6.0),
                np.full((1, 14), 1.5),
                np.concatenate([[[4.0, -5.0]], np.zeros((1, 12))], axis=1),
                np.empty((0, 14)),
            )
        ),
        ({"best.0.W": np.zeros((2, 2))}, "0.W"),
    ],
)
def test_scores_that_are_none_are_refused(tmp_path, judge, arrays, message):
    folder = run(tmp_path / "run", judge, steps=5)
    path = folder / "checkpoint.safetensors"
    held, about = checkpoints.read(path)
    checkpoints.write(path, {**held, **arrays}, {k: v for k, v in about.items() if k != "format"})
    with pytest.raises(CheckpointError, match=message):
        run(folder, judge, resume=True)


def test_overwriting_removes_what_the_judge_of_before_has_written(tmp_path, judge):
    folder = run(tmp_path / "run", judge)
    train(small_gan(), small_data(), out=folder, overwrite=True, **STEPS)
    assert not FILES & contents(folder).keys()


def test_what_cannot_judge_is_refused_before_anything_is_written(tmp_path, judge):
    for wrong, error, message in (
        (judge.features, ArgumentError, "judge must be a tinygan.metrics.Judge"),
        (metrics.Judge(small_data(size=7), metrics.pixels), ShapeError, r"knows images of \(7, 7, 1\), but G makes"),
        (
            metrics.Judge(small_data(), metrics.pixels, low=0.0),
            ArgumentError,
            "black and white at 0 and 1; give Judge the",
        ),
    ):
        with pytest.raises(error, match=message):
            run(tmp_path / "run", wrong)
    with pytest.raises(ArgumentError, match="judge_every must be a whole number of at least 1"):
        run(tmp_path / "run", judge, judge_every=0)
    assert not (tmp_path / "run").exists()


def test_scores_that_are_not_finite_end_the_run_as_losses_do(tmp_path, judge, monkeypatch):
    monkeypatch.setattr(
        metrics.Judge, "__call__", lambda self, x: metrics.Scores(np.nan, *[metrics.Estimate(0.0, 0.0)] * 5, 40, "x")
    )
    with pytest.raises(NonFiniteError, match=r"the scores of step 4 are not finite.* The checkpoint of step 3 is kept"):
        run(tmp_path / "run", judge)
    assert Run(tmp_path / "run", small_gan(), small_data(), batch_size=8, seed=0).checkpoint.exists()


def test_a_step_whose_judge_failed_is_judged_when_the_run_goes_on(tmp_path, judge):
    whole, seen = run(tmp_path / "whole", judge), []

    def pixels(images):
        seen.append(len(images))
        if seen.count(40) == 2:
            seen.append(40)
            raise MemoryError
        return metrics.pixels(images)

    pixels.__qualname__ = "pixels"
    forgetful = metrics.Judge(small_data(n=60, seed=1), pixels)
    with pytest.raises(MemoryError):
        run(tmp_path / "run", forgetful)
    run(tmp_path / "run", forgetful, resume=True)
    assert_same_files(tmp_path / "run", whole)


def test_the_best_weights_are_those_of_the_end_only_if_it_is_the_best(tmp_path, judge):
    for at_end, expected in ((5.0, "way"), (0.5, "end")):
        gan = small_gan()
        way = judging.Judging(judge, gan)
        way.scores, way.best = np.ones((1, 14)), {k: a * 0.5 for k, a in gan.average.network.state_arrays().items()}
        way.end = [9.0, at_end, *np.zeros(12)]
        way._save_best(tmp_path / "best.safetensors")
        found = small_gan().generator.load(tmp_path / "best.safetensors")
        theta = gan.average.network.theta
        np.testing.assert_array_equal(found.theta, theta if expected == "end" else theta * np.float32(0.5))
