"""Runs that end where their samples get no better: the rule, where it ends a run, and that it always ends it there."""

import numpy as np
import pytest
from support.small_runs import STEPS, assert_same_files, small_data, small_gan
from support.together import together

from tinygan.errors import ArgumentError
from tinygan.runs import Equilibrium, judging
from tinygan.runs.trained import load_trained
from tinygan.runs.training import train


@pytest.mark.parametrize(
    ("kernel", "error", "apart", "reached"),
    [
        ([3, 2, 2, 2], 0.1, 0.6, True),
        ([3, 2, 2], 0.1, 0.6, False),  # only once no better
        ([3, 2, 1.95, 1.92], 0.1, 0.6, True),  # by less than its error
        ([3, 2, 1.95, 1.85], 0.1, 0.6, False),  # by more
        ([3, 2, 1.5, 1.9], 0.1, 0.6, False),  # better in between
        ([3, 2, 4, 5], 0.1, 0.6, True),  # worse is no better
        ([3, 1, 2, 1.5, 1.2], 0.1, 0.6, True),  # than the best, not than the last
        ([3, 2, 2, 2], 0.1, 0.8, False),  # D still tells them apart
        ([3, 2, 2, 2], 0.1, 0.7, True),
        ([3, 2, 2, 2], 0.1, 0.1, False),  # a D that is wrong in nearly all pairs tells them apart
        ([2, 2], 0.1, 0.5, False),
        ([], 0.1, 0.5, False),
    ],
)
def test_the_rule(kernel, error, apart, reached):
    n = len(kernel)
    found = Equilibrium(patience=2, apart=0.7).reached(np.array(kernel, float), np.full(n, error), np.full(n, apart))
    assert found is reached


def test_only_the_last_logits_count():
    rule, kernel = Equilibrium(patience=1, apart=0.7), np.array([2.0, 2.0, 2.0])
    assert rule.reached(kernel, 0.1 * kernel, np.array([0.9, 0.9, 0.6]))
    assert not rule.reached(kernel, 0.1 * kernel, np.array([0.6, 0.6, 0.9]))


# ---- in a run --------------------------------------------------------------------------------------------------------

pytestmark = pytest.mark.usefixtures("forty_samples")
UNTIL = Equilibrium(patience=2, apart=1.0)


@pytest.fixture
def scripted(monkeypatch):
    """Distances as these tests want them: they fall until step 12, and no more."""
    row = judging.Judging._row

    def of_script(self):
        found = row(self)
        return [found[0], found[1], max(1.0, 13.0 - self.gan.t), 0.5, *found[4:]]

    monkeypatch.setattr(judging.Judging, "_row", of_script)


def run(folder, judge, **options):
    options = {**STEPS, "steps": 40, "judge_every": 4, "until": UNTIL, **options}
    return train(small_gan(), small_data(), out=folder, judge=judge, **options)


def test_a_run_ends_where_it_gets_no_better(tmp_path, judge, scripted, capsys):
    folder = run(tmp_path / "run", judge, progress=True)
    assert load_trained(folder).step == 20  # 12 is the best, 16 and 20 are no better
    assert (
        "the samples get no better: ended at step 20 of 40, by Equilibrium(patience=2, apart=1"
        in capsys.readouterr().err
    )
    for name in ("samples.png", "film.gif", "losses.png", "metrics.csv", "best.safetensors"):
        assert (folder / name).exists()


def test_interrupted_or_not_it_ends_in_the_same_bytes(tmp_path, judge, scripted):
    run(tmp_path / "whole", judge)
    for steps in (6, 14, 16, 19):
        run(tmp_path / f"{steps}", judge, steps=steps)
        run(tmp_path / f"{steps}", judge, resume=True)
        assert_same_files(tmp_path / f"{steps}", tmp_path / "whole")
    run(tmp_path / "whole", judge, resume=True)  # has ended, and stays as it is
    assert_same_files(tmp_path / "whole", tmp_path / "6")


def test_it_goes_on_when_the_rule_is_taken_away(tmp_path, judge, scripted):
    run(tmp_path / "run", judge)
    run(tmp_path / "run", judge, until=None, steps=23, resume=True)
    assert load_trained(tmp_path / "run").step == 23
    run(tmp_path / "whole", judge, until=None, steps=23)
    assert_same_files(tmp_path / "run", tmp_path / "whole")


def test_a_budget_that_ends_first_is_kept(tmp_path, judge, scripted, capsys):
    run(tmp_path / "run", judge, steps=18)
    assert load_trained(tmp_path / "run").step == 18
    assert "ended at step" not in capsys.readouterr().err
    d_tells = Equilibrium(patience=2, apart=0.5)
    run(tmp_path / "other", judge, until=d_tells)
    assert load_trained(tmp_path / "other").step == 40


def test_a_rule_that_cannot_hold_in_the_budget_is_said(tmp_path, judge, scripted, capsys):
    run(tmp_path / "run", judge, steps=11, progress=True)
    why = "judged each 4 steps (judge_every), it is judged 2 times before, and needs 3."
    assert f"cannot end this run before its 11 steps: {why}" in capsys.readouterr().err
    run(tmp_path / "other", judge, steps=12, progress=True)
    assert "cannot end this run before its 12 steps" in capsys.readouterr().err  # at the last step it ends anyway
    run(tmp_path / "third", judge, steps=13, progress=True)
    run(tmp_path / "other", judge, steps=15, progress=True, resume=True)  # has been judged three times already
    assert "cannot end this run" not in capsys.readouterr().err


def test_several_processes_end_together(tmp_path, judge, scripted):
    together(2, lambda group: run(tmp_path / "run", judge, group=group))
    assert load_trained(tmp_path / "run").step == 20


def test_what_is_no_rule(tmp_path, judge):
    for until, with_judge, message in (
        ("equilibrium", judge, "until must be a tinygan.runs.Equilibrium"),
        (UNTIL, None, r"samples must be judged; give a judge \(--judge\)"),
    ):
        with pytest.raises(ArgumentError, match=message):
            run(tmp_path / "run", with_judge, until=until)
    for options, message in (
        ({"patience": 0}, "Equilibrium: patience must be a whole number of at least 1"),
        ({"apart": 0.4}, r"Equilibrium: apart must be in \[0.5, 1\].*a D that guesses has 0.5"),
    ):
        with pytest.raises(ArgumentError, match=message):
            Equilibrium(**options)
    assert not (tmp_path / "run").exists()
