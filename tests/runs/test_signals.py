"""Handlers that others chose are respected, and put back; a signal that a system lacks is none."""

import asyncio
import os
import signal
import threading

import pytest
from support.small_runs import STEPS, small_data, small_gan

from tinygan import checkpoints
from tinygan.runs.signals import NAMES, Signals
from tinygan.runs.training import train

THESE = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


def mine(number, frame):
    raise AssertionError("another handler was in its place")


@pytest.fixture(autouse=True)
def _as_before():
    before = {number: signal.getsignal(number) for number in THESE}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", THESE)
def test_whatever_asks_a_program_to_end_leaves_a_note(number):
    signal.signal(number, mine)
    with Signals() as signals:
        assert not signals.came
        os.kill(os.getpid(), number)
        assert signals.came
        assert [signal.getsignal(n) for n in THESE if n == number] == [mine], "a second one does what it always does"
    assert signal.getsignal(number) is mine


@pytest.mark.parametrize("number", THESE)
def test_a_signal_that_is_ignored_stays_ignored(number):
    """As nohup has SIGHUP, and a shell's & has Ctrl-C."""
    signal.signal(number, signal.SIG_IGN)
    with Signals() as signals:
        os.kill(os.getpid(), number)
        assert not signals.came
    assert signal.getsignal(number) is signal.SIG_IGN


@pytest.mark.parametrize("number", THESE)
@pytest.mark.parametrize(
    "before", [signal.SIG_DFL, mine, signal.default_int_handler], ids=["default", "mine", "python's"]
)
def test_handlers_are_put_back(number, before):
    signal.signal(number, before)
    with Signals():
        assert signal.getsignal(number) is not before
    assert signal.getsignal(number) is before


def test_a_handler_from_outside_python_is_left_alone(monkeypatch):
    """It could not be put back: Python says None of it, and takes no None."""
    known, chosen = signal.getsignal, []
    monkeypatch.setattr(signal, "getsignal", lambda n: None if n == signal.SIGTERM else known(n))
    change = signal.signal
    monkeypatch.setattr(signal, "signal", lambda n, handler: chosen.append(n) or change(n, handler))
    with Signals():
        pass
    assert signal.SIGTERM not in chosen
    assert signal.SIGINT in chosen


def test_a_handler_that_was_chosen_on_the_way_stays():
    with Signals():
        signal.signal(signal.SIGTERM, mine)
    assert signal.getsignal(signal.SIGTERM) is mine


@pytest.mark.parametrize("gone", [["SIGHUP"], ["SIGHUP", "SIGTERM"], NAMES])
def test_a_system_without_a_signal(gone, monkeypatch):
    for name in gone:
        monkeypatch.delattr(signal, name, raising=False)
    with Signals() as signals:
        assert not signals.came


def test_in_another_thread_there_are_no_signals():
    before, came = [signal.getsignal(number) for number in THESE], []

    def work():
        with Signals() as signals:
            came.append(signals.came)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert came == [False]
    assert [signal.getsignal(number) for number in THESE] == before


def test_where_no_handler_may_be_chosen(monkeypatch):
    """Within an interpreter inside another, say."""

    def refuse(number, handler):
        raise ValueError("signal only works in main thread of the main interpreter")

    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", refuse)
        with Signals() as signals:
            assert not signals.came


# ---- the caller's own handler ----------------------------------------------------------------------------------------


def interrupted(out, number, *, at=5, steps=11):
    """The steps of a run to which the signal comes in step ``at``, and its result, an error if it ends in one."""
    gan = small_gan()

    def send(gan, losses):
        if gan.t == at:
            os.kill(os.getpid(), number)

    try:
        return gan, train(gan, small_data(), out=out, callback=send, **{**STEPS, "steps": steps})
    except BaseException as error:
        return gan, error


@pytest.mark.parametrize("number", THESE)
def test_the_callers_own_handler_is_called_once_all_is_kept(number, tmp_path):
    calls = []

    def note(came, frame):
        step = checkpoints.read(tmp_path / "checkpoint.safetensors")[1]["step"]
        calls.append((came, frame is not None, step, (tmp_path / "film.gif").exists()))

    signal.signal(number, note)
    gan, result = interrupted(tmp_path, number)
    assert calls == [(number, True, gan.t, True)]
    assert isinstance(result, KeyboardInterrupt)
    assert gan.t < 11


def test_the_callers_own_handler_is_called_when_the_last_step_was_at_hand(tmp_path):
    calls = []
    signal.signal(signal.SIGTERM, lambda *_: calls.append(1))
    gan, result = interrupted(tmp_path, signal.SIGTERM, at=11)
    assert (result, gan.t, calls) == (tmp_path, 11, [1])


@pytest.mark.skipif(os.name == "nt", reason="event loops know no signals there")
def test_a_handler_of_an_event_loop_is_called_once(tmp_path):
    """It hears of a signal at once, besides what Python's handlers do."""
    calls = []

    async def main():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: calls.append(1))
        result = interrupted(tmp_path, signal.SIGTERM)[1]
        await asyncio.sleep(0.01)
        return result

    assert isinstance(asyncio.run(main()), KeyboardInterrupt)
    assert calls == [1]


def test_what_the_callers_own_handler_raises_ends_the_program(tmp_path):
    def leave(number, frame):
        raise SystemExit(7)

    signal.signal(signal.SIGTERM, leave)
    gan, result = interrupted(tmp_path, signal.SIGTERM)
    assert (type(result), result.code) == (SystemExit, 7)
    assert checkpoints.read(tmp_path / "checkpoint.safetensors")[1]["step"] == gan.t


@pytest.mark.parametrize("number", THESE)
@pytest.mark.parametrize("before", [signal.SIG_DFL, signal.default_int_handler], ids=["default", "python's"])
def test_pythons_own_handlers_are_not_called_again(number, before, tmp_path):
    """The default one would end the process, without a word, before train could."""
    signal.signal(number, before)
    result = interrupted(tmp_path, number)[1]
    assert isinstance(result, KeyboardInterrupt)
    assert not isinstance(interrupted(tmp_path / "b", number, at=11)[1], BaseException)
