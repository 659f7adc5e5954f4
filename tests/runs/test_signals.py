"""Handlers that others chose are respected, and put back; a signal that a system lacks is none."""

import os
import signal
import threading

import pytest

from tinygan.runs.signals import NAMES, Signals

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
