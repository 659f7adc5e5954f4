"""No interruption of a run can be seen in what it leaves behind once it was resumed."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from support.small_runs import STEPS, assert_same_files, contents, small_data, small_gan

from tinygan import checkpoints, plotting
from tinygan.runs.training import train


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    return train(small_gan(), small_data(), out=tmp_path_factory.mktemp("whole") / "run", **STEPS)


class Killed(BaseException):
    """Ends a run as kill -9 would: nothing in the library catches it."""


def killed_at(monkeypatch, step, *, lr=1e-3):
    """A GAN whose step number ``step`` never returns."""
    gan = small_gan(lr=lr)
    original = gan.step

    def mortal(real, **options):
        if gan.t + 1 == step:
            raise Killed
        return original(real, **options)

    monkeypatch.setattr(gan, "step", mortal)
    return gan


@pytest.mark.parametrize("step", [1, 2, 5, 9, 11])
def test_a_run_killed_in_a_step_and_resumed_is_the_run_never_interrupted(whole, tmp_path, monkeypatch, step):
    out = tmp_path / "run"
    with pytest.raises(Killed):
        train(killed_at(monkeypatch, step), small_data(), out=out, **STEPS)
    train(small_gan(), small_data(), out=out, resume=True, **STEPS)
    assert_same_files(out, whole)


def test_a_run_killed_at_any_write_and_resumed_is_the_run_never_interrupted(tmp_path, monkeypatch):
    """Die right before and right after each rename of a finished file, and half-way through writing it."""
    monkeypatch.setattr(plotting, "save_loss_curves", lambda path, *_, **__: checkpoints.replace_file(path, b"curve"))
    options = {**STEPS, "steps": 3, "sample_every": 2, "checkpoint_every": 2}
    whole = train(small_gan(), small_data(), out=tmp_path / "whole", **options)
    rename, count = os.replace, 0

    def mortal_rename(part, path):
        nonlocal count
        count += 1
        if count == death and how == "unfinished":
            Path(part).write_bytes(Path(part).read_bytes()[:50])
        if count == death and how != "after":
            raise Killed
        rename(part, path)
        if count == death:
            raise Killed

    writes = (
        13  # checkpoints 0, 2, 3; csv; config; real images; pictures 0 and 2 in two places, and the last; curves; film
    )
    cases = [(death, how) for death in range(1, writes + 2) for how in ("before", "unfinished", "after")]
    finished = []
    for death, how in cases:
        out, count = tmp_path / f"{death}{how}", 0
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", mortal_rename)
            try:
                train(small_gan(), small_data(), out=out, **options)
                finished.append(death)
            except Killed:
                pass
        begun = (out / "checkpoint.safetensors").exists()
        if begun:
            checkpoints.read(out / "checkpoint.safetensors")
        train(small_gan(), small_data(), out=out, resume=begun, **options)
        assert_same_files(out, whole)
    assert finished == [writes + 1] * 3, "all others died"


PROGRAM = """
    import sys
    sys.path.insert(0, {tests!r})
    from support.small_runs import small_data, small_gan
    from tinygan.runs.training import train
    OFTEN = {often!r}
    train(small_gan(), small_data(), out=sys.argv[1], resume=sys.argv[2] == "resume", **OFTEN)
"""
OFTEN = {"steps": 150, "batch_size": 8, "sample_every": 3, "checkpoint_every": 2, "progress": False}


def test_kill_9(tmp_path):
    """For real, in another process, at moments nobody chose: the checkpoint always loads, and the end is the same."""
    program = textwrap.dedent(PROGRAM.format(tests=str(Path(__file__).parent.parent), often=OFTEN))
    out, moments = tmp_path / "killed", random.Random()
    for how in ("start", "resume", "resume"):
        process = subprocess.Popen([sys.executable, "-W", "error", "-c", program, out, how], stderr=subprocess.PIPE)
        while not (out / "checkpoint.safetensors").exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0.05, 0.3) + (0.6 if how == "resume" else 0.0))  # the imports take their time
        process.kill()
        _, message = process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0), message.decode()
        checkpoints.read(out / "checkpoint.safetensors")
    train(small_gan(), small_data(), out=out, resume=True, **OFTEN)
    assert_same_files(out, train(small_gan(), small_data(), out=tmp_path / "whole", **OFTEN))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_after_its_step_with_a_checkpoint(whole, tmp_path, monkeypatch, capfd, number, request):
    chosen = signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    request.addfinalizer(lambda: signal.signal(number, chosen))  # nohup has SIGHUP ignored, which training respects
    out, gan = tmp_path / "run", small_gan()
    original = gan.step

    def step(real, **options):
        if gan.t + 1 == 7:
            os.kill(os.getpid(), number)
        return original(real, **options)

    monkeypatch.setattr(gan, "step", step)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        train(gan, small_data(), out=out, **{**STEPS, "progress": True})
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    assert "stopped at step 8 of 11" in capfd.readouterr().err
    assert checkpoints.read(out / "checkpoint.safetensors")[1]["step"] == 8
    assert {"film.gif", "losses.png", "samples.png"} <= contents(out).keys()
    train(small_gan(), small_data(), out=out, resume=True, **STEPS)
    assert_same_files(out, whole)


def test_training_works_in_a_thread_that_gets_no_signals(whole, tmp_path):
    job = {"target": train, "args": (small_gan(), small_data()), "kwargs": {"out": tmp_path / "run", **STEPS}}
    thread = threading.Thread(**job)
    thread.start()
    thread.join()
    assert_same_files(tmp_path / "run", whole)


def test_a_finished_run_can_be_made_longer(whole, tmp_path):
    out = tmp_path / "run"
    train(small_gan(), small_data(), out=out, **{**STEPS, "steps": 6})
    train(small_gan(), small_data(), out=out, resume=True, **STEPS)
    assert_same_files(out, whole)


def test_the_checkpoint_alone_is_enough_to_resume(whole, tmp_path, monkeypatch):
    with pytest.raises(Killed):
        train(killed_at(monkeypatch, 8), small_data(), out=tmp_path / "there", **STEPS)
    out = tmp_path / "here"
    out.mkdir()
    (tmp_path / "there" / "checkpoint.safetensors").rename(out / "checkpoint.safetensors")
    train(small_gan(), small_data(), out=out, resume=True, **STEPS)
    for name in ("checkpoint.safetensors", "losses.csv", "losses.png", "samples.png", "real.png", "config.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
