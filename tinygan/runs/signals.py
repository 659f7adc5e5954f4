"""Ctrl-C in the middle of a step."""

from __future__ import annotations

import signal
from contextlib import suppress
from inspect import currentframe
from types import FrameType
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  #: what asks a program to end; no system has all of them


class Signals:
    """Within the ``with`` block, whatever asks the program to end only leaves a note: the step must be finished first.

    That is Ctrl-C, SIGTERM, and a terminal that is closed. A signal that is ignored, as nohup has it, stays ignored; a
    handler from outside Python, which could not be put back, stays in place. Only the main thread gets signals.

    Attributes
    ----------
    came : whether one did; :meth:`pass_on` tells the caller's own handler of it.
    """

    def __init__(self) -> None:
        self.came = False
        self._number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
            before = signal.getsignal(number)
            if before is None or before is signal.SIG_IGN:
                continue
            with suppress(ValueError, OSError):  # in another thread, or where the system allows no handler
                signal.signal(number, self._note)
                self._before[number] = before
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came, self._number = True, number
        self.__exit__()  # a second one does what it always does

    def pass_on(self) -> None:
        """Call the caller's own handler of the signal that came; to Python's own ones the note was the answer."""
        number, self._number = self._number, None
        if number is not None:
            handler = signal.getsignal(number)
            if callable(handler) and handler is not signal.default_int_handler:
                handler(number, currentframe())

    def __exit__(self, *exception: object) -> None:
        while self._before:
            number, handler = self._before.popitem()
            if signal.getsignal(number) == self._note:  # nobody has chosen another since
                signal.signal(number, handler)
