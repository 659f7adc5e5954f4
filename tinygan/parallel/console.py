"""What is said to whoever looks on, through streams that may be closed, broken, missing, or short of letters.

Nothing that is said is worth a run: letters that a stream cannot show are replaced, and what it does not take is lost.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any


class Console:
    """The ``stream`` as one that takes every text and never raises; None is a stream that shows nothing."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._without_errors():
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
        self.flush()  # or what does not get through would be met again by whoever closes the stream
        return len(text)

    def flush(self) -> None:
        with self._without_errors():
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether somebody sees a bar move."""
        try:
            return bool(self._stream.isatty())
        except Exception:
            return False

    @property
    def encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "ascii"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _without_errors(self) -> Iterator[None]:
        """Whatever a stream of somebody else's raises ends here."""
        try:
            yield
        except OSError:
            self._drop()
        except Exception:
            pass

    def _drop(self) -> None:
        """Empty the buffer of a broken stream into nowhere: at its end Python would stumble over it, with code 120."""
        with suppress(Exception):
            number = self._stream.fileno()
            kept, nowhere = os.dup(number), os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(nowhere, number)
                self._stream.flush()
            finally:
                os.dup2(kept, number)
                os.close(kept)
                os.close(nowhere)


_latest: dict[str, Console] = {}


def console(name: str) -> Console:
    """The :class:`Console` of ``sys.stdout`` or ``sys.stderr``: the same one for the same stream, by which tqdm knows
    which bars a line would cross."""
    stream = getattr(sys, name, None)
    if isinstance(stream, Console):
        return stream
    if name not in _latest or _latest[name]._stream is not stream:
        _latest[name] = Console(stream)
    return _latest[name]


def say(text: str, *, to: str = "stdout") -> None:
    """Print a line to ``sys.stdout``, or to ``sys.stderr``, as far as it can be shown there."""
    if "tqdm" in sys.modules:  # perhaps a bar moves, and the line must not cross it
        sys.modules["tqdm"].tqdm.write(text, file=console(to))
    else:
        print(text, file=console(to))


@contextmanager
def forgiving_streams() -> Iterator[None]:
    """Within the ``with`` block of a program, everybody's prints, bars and help go through a :class:`Console`."""
    with redirect_stdout(Console(sys.stdout)), redirect_stderr(Console(sys.stderr)):
        yield
