"""Progress is shown where it can be, and is never worth a run."""

import errno
import sys

import pytest
from support.odd_streams import STREAM_ODDITIES, Breaks, OnlyWrite, close
from support.small_runs import STEPS, assert_same_files, small_data, small_gan

from tinygan.parallel.console import Console
from tinygan.runs import progress
from tinygan.runs.progress import Progress
from tinygan.runs.training import train

SHORT = {**STEPS, "steps": 3, "sample_every": 2, "checkpoint_every": 2, "progress": True}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a short run that nobody looked at."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return train(small_gan(), small_data(), out=out, **{**SHORT, "progress": False})


@pytest.mark.parametrize("terminal", [False, True], ids=["lines", "a bar"])
@pytest.mark.parametrize(("what", "make"), STREAM_ODDITIES, ids=[what for what, _ in STREAM_ODDITIES])
def test_progress_on_an_odd_stream(what, make, terminal, monkeypatch):
    """As lines, and as a bar on what says that it is a terminal."""
    monkeypatch.setattr(sys, "stderr", make())
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    if terminal:
        monkeypatch.setattr(Console, "isatty", lambda console: True)
    with Progress(0, 4, rows=8, per_epoch=2, shown=True) as bar:
        for t in range(1, 5):
            bar.show(t, (0.5, 0.25))
        bar.say("写真 \udce9 is said")
    assert bar.t == 4
    close(sys.stderr)


@pytest.mark.parametrize(
    "make",
    [
        lambda: None,
        OnlyWrite,
        lambda: Breaks(1, BrokenPipeError(errno.EPIPE, "Broken pipe")),
        lambda: OnlyWrite(OSError(errno.ENOSPC, "No space left on device")),
    ],
    ids=["none", "only write", "breaks in the middle", "full"],
)
def test_a_run_ends_in_the_same_bytes_whoever_looks_on(whole, make, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", make())
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    assert_same_files(train(small_gan(), small_data(), out=tmp_path / "run", **SHORT), whole)
