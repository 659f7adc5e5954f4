"""Paths that people give, looked at before anything is read: what lies there, may it be read, and does it ever end."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from ..checkpoints import as_path
from ..errors import DataError


def cache_folder(cache: str | os.PathLike[str] | None) -> Path:
    """Return the folder that ``cache`` names, or tinygan's in the cache folder of the user.

    Raises
    ------
    DataError
        None is named, and the user has none.
    """
    if cache is not None:
        return as_path(cache)
    import pooch  # knows where each operating system keeps such files

    folder = Path(pooch.os_cache("tinygan"))
    if not folder.is_absolute():  # "~/.cache", which would become a folder called "~"
        raise DataError("the cache: the user has no home folder to keep it in; name one (--cache, cache=...).")
    return folder


def whole_path(path: Path) -> Path:
    """Return the path from the root on, with all links followed; DataError if the current folder is no more."""
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{path}: nobody can tell where that is ({getattr(error, 'strerror', None) or error}): the current folder "
            "has been removed, or the path runs in a circle. Change to another folder, or give the whole path."
        ) from error


def printable(text: str) -> str:
    """Return ``text`` with escapes for what a terminal would act on or refuse: a file may be called anything."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def kind_of(path: Path) -> str | None:
    """Return ``"file"`` or ``"folder"``, or None if nothing lies at ``path``. Links are followed.

    Raises
    ------
    DataError
        It is something that need not end, such as a pipe or a device, or it may not be looked at.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last of a NUL in the name
        return None
    except OSError as error:
        raise DataError(
            f"{path}: cannot be looked at ({error.strerror or error}); see who may read it and the folders above it."
        ) from error
    if stat.S_ISDIR(mode):
        return "folder"
    _require_regular(path, mode)
    return "file"


@contextmanager
def open_file(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file for reading bytes; opening never waits. An OSError while it is open becomes a DataError.

    Raises
    ------
    DataError
        There is no such file, it is a folder, a pipe or a device, or it cannot be read.
    """
    try:
        if "\0" in os.fspath(path):
            raise FileNotFoundError
        with open(path, "rb", opener=_without_waiting) as file:
            _require_regular(path, os.fstat(file.fileno()).st_mode)
            yield file
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file; check the path.") from error
    except IsADirectoryError as error:
        raise DataError(
            f"{path}: cannot be read, this is a folder; give a file in it, or the folder to tinygan.data.load."
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error


def names_in(folder: Path) -> set[str]:
    """Return the names of all that lies in a folder; DataError if it cannot be read."""
    try:
        return set(os.listdir(folder))
    except OSError as error:
        raise DataError(
            f"{folder}: this folder cannot be read ({error.strerror or error}); see who may read it."
        ) from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # else a pipe waits for somebody who writes


def _require_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}
        what = kinds.get(stat.S_IFMT(mode), "no regular file")
        raise DataError(f"{path}: this is {what}, which need not end; copy what it holds into a file.")
