"""Several runs in one table: all by one judge, the best weights beside the last."""

import numpy as np
import pytest
from support.small_runs import STEPS, small_data, small_gan

from tinygan import GAN, metrics, models
from tinygan.errors import ArgumentError, CheckpointError, ShapeError
from tinygan.runs import compare, judging
from tinygan.runs.trained import load_trained
from tinygan.runs.training import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory, judge):
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "SAMPLES", 40)
        train(small_gan(), small_data(), out=folder / "judged", judge=judge, **{**STEPS, "judge_every": 4})
    train(small_gan(), small_data(), out=folder / "plain", **STEPS)
    return folder


def test_each_run_by_its_last_and_best_weights_and_real_images(runs, judge):
    found = compare([runs / "judged", str(runs / "plain")], judge, samples=50)
    assert [row[:3] for row in found.rows] == [
        ("judged", "last", 11),
        ("judged", "best", None),
        ("plain", "last", 11),
        ("real images (30)", "", None),
    ]
    last, best, plain, real = (row.scores for row in found.rows)
    assert last == plain  # judging changes nothing
    trained = load_trained(runs / "judged", best=True)
    assert best == judge(trained.generator(trained.noise(50)))
    assert real == judge.floor(50)
    lines = str(found).splitlines()
    assert lines[2].startswith(f"| judged | last | 11 | {last.frechet:.3g} | ")
    assert [line.count("|") for line in lines[:6]] == [10] * 6
    assert lines[-1] == "By pixels, 50 samples of each run."


def test_the_best_weights_are_those_of_the_file(runs):
    best, last = load_trained(runs / "judged", best=True), load_trained(runs / "judged")
    expected = small_gan().generator.load(runs / "judged" / "best.safetensors")
    np.testing.assert_array_equal(best.generator.theta, expected.theta)
    np.testing.assert_array_equal(best.discriminator.theta, last.discriminator.theta)
    with pytest.raises(CheckpointError, match="there are no best weights; the run was not judged"):
        load_trained(runs / "plain", best=True)
    with pytest.raises(ArgumentError, match="load_trained: best must be True or False"):
        load_trained(runs / "judged", best=1)


def test_images_of_another_range_are_compared_as_what_they_are(tmp_path, judge):
    G, D = models.mlp_conv((8, 8, 1), noise_dim=4, g_hidden=(8,), width=2)
    data = small_data(size=8)
    train(GAN(G, D, noise_dim=4), data, out=tmp_path / "run", **{**STEPS, "low": 0.0})
    known = metrics.Judge(data, metrics.pixels)
    of_range = metrics.Judge(data, metrics.pixels, low=0.0)
    a, b = (compare(tmp_path / "run", with_judge, samples=40).rows[0].scores for with_judge in (known, of_range))
    assert a.frechet == pytest.approx(b.frechet, rel=1e-3)


def test_what_is_refused(runs, judge, tmp_path):
    with pytest.raises(ArgumentError, match="there is no run"):
        compare([], judge)
    with pytest.raises(ArgumentError, match="judge must be a tinygan"):
        compare([runs / "plain"], metrics.pixels)
    with pytest.raises(ArgumentError, match="samples must be a whole number of at least 20"):
        compare([runs / "plain"], judge, samples=3)
    with pytest.raises(ShapeError, match=r"plain makes images of \(6, 6, 1\), the judge knows \(7, 7, 1\)"):
        compare([runs / "plain"], metrics.Judge(small_data(size=7), metrics.pixels))
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        compare([tmp_path], judge)
