"""Files that a run, or a program, can do without: what cannot be made is said, and all else goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints import as_path, explained, mend, patience, patiently, replace_file
from ..errors import TinyGANError
from ..ops import get_xp, to_numpy
from ..parallel.console import say


def attempt(path: str | Path, work: Callable[[], Any], failing: set[Path] | None = None) -> bool:
    """Call ``work()``, which makes the file ``path``; whatever it raises becomes a line on stderr, and False.

    Parameters
    ----------
    path : the file, or the folder of files of one kind.
    failing : of a run, whose files are made again and again: those that failed the last time, of which nothing more is
        said, and for which nobody waits again while another program holds them. ``path`` is added or taken out.
    """
    path = as_path(path, "attempt")
    try:
        with patience(failing is None or path not in failing):
            work()
    except Exception as error:  # matplotlib, Pillow and systems of files fail in their own ways
        if failing is None or path not in failing:
            later = "" if failing is None else ", and it is tried again later"
            say(f"{_what_failed(path, error)} All else goes on without it{later}.", to="stderr")
        if failing is not None:
            failing.add(path)
        return False
    if failing is not None:
        failing.discard(path)
    return True


def _what_failed(path: Path, error: Exception) -> str:
    """A sentence; an error of tinygan may be one already, with the file and the mend."""
    text, help_ = " ".join(str(error).split()), ""
    if text.startswith(str(path)):
        return text
    if isinstance(error, OSError) and error.strerror:
        in_the_way = error.filename2 is None and error.filename not in (None, str(path))
        text, help_ = f"{error.strerror}{f': {error.filename}' if in_the_way else ''}", f" {mend(error)}"
    elif not isinstance(error, ImportError | TinyGANError):
        text = f"{type(error).__name__}: {text}"
    text = text if len(text) <= 200 else f"{text[:197]}..."
    return f"{path}: cannot be made ({text.rstrip('.')}).{help_}"


class LossTable:
    """losses.csv, which grows: a line for each step."""

    def __init__(self, columns: list[str], steps_per_epoch: int) -> None:
        self.columns, self.steps_per_epoch = columns, steps_per_epoch
        self._count, self._size = 0, -1  # steps in the file, and the bytes that it then has

    def write(self, path: Path, losses: np.ndarray) -> None:
        """Add to ``path`` what it lacks of ``losses`` (steps, columns); if it is not as it was left, write it anew.

        OSError if another program holds it and does not let go in less than a second.
        """
        if path.is_file() and path.stat().st_size == self._size:
            new = self._lines(losses, self._count)
            with explained(path, len(new)), patiently(lambda: open(path, "ab")) as file:
                file.write(new)
            self._size += len(new)
        else:
            new = ",".join(["step", "epoch", *self.columns]).encode() + b"\n" + self._lines(losses, 0)
            replace_file(path, new)
            self._size = len(new)
        self._count = len(losses)

    def _lines(self, losses: np.ndarray, first: int) -> bytes:
        """The lines of the steps that follow the ``first`` ones."""
        lines = []
        for t, row in enumerate(losses[first:], start=first + 1):
            lines.append(f"{t},{(t - 1) // self.steps_per_epoch + 1},{','.join(f'{x:.6g}' for x in row)}\n")
        return "".join(lines).encode()


def on_host(values: list[Any]) -> list[Any]:
    """The same numbers, those on a device fetched all at once: each by itself would be waited for."""
    away = [i for i, x in enumerate(values) if not isinstance(x, (float, np.generic, np.ndarray))]
    if away:
        fetched = to_numpy(get_xp(values[away[0]]).stack([values[i] for i in away]))
        for i, x in zip(away, fetched, strict=True):
            values[i] = x
    return values
