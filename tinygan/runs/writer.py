"""One folder, one writer: the lock of whoever trains in it, which ends with the process however that ends."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

from ..errors import ArgumentError
from ..parallel.console import say

LOCK = "run.lock"  #: the file that is locked while somebody writes in the folder; gone when nobody does


_holding: WeakSet[Writer] = WeakSet()


def _let_go() -> None:
    """In a forked child, close the files of its parent's locks, which would outlive the parent in it."""
    for writer in list(_holding):
        if writer._file is not None:
            os.close(writer._file)
            writer._file = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


class Writer:
    """The right to write in ``folder``, of one thread of one process.

    It is the operating system that keeps the lock, not the file: what a killed process leaves behind hinders nobody.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder.absolute() / LOCK
        self._file: int | None = None

    def hold(self) -> None:
        """Take the lock until :meth:`leave`, without waiting.

        On a file system without locks this says so, and nothing is kept.

        Raises
        ------
        ArgumentError
            Somebody else has it; the message says which process, and on which machine.
        OSError
            No file can be made in the folder.
        """
        from filelock import lock_descriptor

        while self._file is None:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
            try:
                locked = lock_descriptor(file, blocking=False)
            except (OSError, NotImplementedError) as error:
                os.close(file)
                self._remove()
                why = getattr(error, "strerror", None) or error
                say(f"{self.folder}: files cannot be locked there ({why}). Start no second run in it.", to="stderr")
                return
            if not locked:
                who = _who(file)
                os.close(file)
                raise ArgumentError(
                    f"{self.folder}: {who} writes in this folder ({LOCK}). Wait until it ends, or choose another "
                    "folder (--out, out=...)."
                )
            if not self._is_ours(file):  # its holder has removed it between the two lines above
                os.close(file)
                continue
            self._file = file
            _holding.add(self)
            with suppress(OSError):  # the first byte is what Windows locks, and lets nobody read
                os.ftruncate(file, 0)
                os.write(file, f"\n{_name()}\n".encode())

    def leave(self) -> None:
        """Give the folder free; nothing happens if it was not held."""
        if self._file is not None:
            file, self._file = self._file, None
            self._remove()  # while it is locked: whoever opens the same name from here on gets a new file
            with suppress(OSError):  # somebody may have closed all that was open
                os.close(file)
            if sys.platform == "win32":  # where an open file stays
                self._remove()

    def _is_ours(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), os.stat(self.path))
        except OSError:
            return False

    def _remove(self) -> None:
        with suppress(OSError):
            self.path.unlink()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.leave()


def require_free(folder: Path) -> None:
    """Raise ArgumentError if somebody writes in ``folder``: a run may have much to read before it starts."""
    if os.path.exists(folder / LOCK):
        with Writer(folder) as writer, suppress(OSError):  # which the run itself will meet, and explain
            writer.hold()


def _name() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _who(file: int) -> str:
    """The holder's name for itself, as far as the file tells it."""
    text = ""
    with suppress(OSError):
        os.lseek(file, 1, os.SEEK_SET)
        text = os.read(file, 300).decode("utf-8", "replace").strip()
    if text == _name():
        return "this very process"
    return text if text.isprintable() and text else "another process"
