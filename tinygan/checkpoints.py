"""One file for many arrays and what is known about them: safetensors, so that loading executes nothing.

A file is written beside its place, flushed to the disk and then renamed over the old one. The rename is atomic, so
whenever the process dies there is a whole checkpoint at ``path``: the old one or the new one.

A file from elsewhere may claim anything: its size, its header and the depth of its record are bounded before they are
parsed, and :func:`require_record` holds the record to what it may say.
"""

from __future__ import annotations

import errno
import json
import os
import reprlib
import stat
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .errors import ArgumentError, CheckpointError, positive_int

FORMAT = "2"  # raised when a reader of today could not read the files any more
KINDS = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}  # dtypes that can be stored, and their bytes
HELD = {errno.EACCES, errno.EPERM, errno.EBUSY, errno.EAGAIN, errno.EDEADLK}  # what a file says that others hold
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # what a disk says that has no room
PAUSES = (0.05, 0.1, 0.2, 0.4)  # seconds between tries while others hold a file
MAX_BYTES = 4 << 30  # larger than any network that this library is for; a bound on what a foreign file can ask for
MAX_HEADER = 4 << 20  # bytes of names, shapes and the record: room for forty thousand arrays
MAX_DEPTH = 32  # of lists and dicts within each other in a record

Rule = tuple[str, Callable[[Any], bool]]  # what an entry of a record must be, in words, and whether a value is that

T = TypeVar("T")
_waits: ContextVar[bool] = ContextVar("waits", default=True)  # of this thread


def as_path(value: Any, what: str = "") -> Path:
    """Return ``value`` as a path, with a home folder for ~ or ~user; a file that is really called ~something is itself.

    Raises
    ------
    ArgumentError
        It is no path, or an empty one, or nobody knows that home folder. The message begins with ``what``.
    """
    text, what = os.fspath(value) if isinstance(value, str | os.PathLike) else None, f"{what}: " if what else ""
    if not isinstance(text, str) or not text or "\0" in text:
        simple = value is None or isinstance(value, int | float | bytes)  # of others, their kind says more
        got = f"the text {text!r:.200}" if text is not None else repr(value)[:200] if simple else type(value).__name__
        raise ArgumentError(f"{what}expected a path, got {got}; '.' is the current folder.")
    try:
        return Path(os.fsdecode(os.fsencode(text))).expanduser()
    except UnicodeEncodeError as error:
        raise ArgumentError(f"{what}{text!r:.200}: no file can have such a name here ({error.reason}).") from error
    except RuntimeError as error:  # no such user, or one without a home
        if os.path.lexists(text):
            return Path(text)
        raise ArgumentError(
            f"{what}{text}: nobody knows the home folder {Path(text).parts[0]}. Write the whole path, or ./{text} for "
            "a file of that name."
        ) from error


def write(path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write ``arrays`` and the JSON-like ``metadata`` to ``path``, whole or not at all.

    Raises
    ------
    CheckpointError
        An array is of a dtype that cannot be stored, the metadata is no JSON, or the file cannot be written there, or
        :func:`read` would refuse its size. An older one at ``path`` is unharmed.
    """
    from safetensors.numpy import save

    path = as_path(path, "the checkpoint")
    if not isinstance(arrays, Mapping):
        raise CheckpointError(f"{path}: expected a dict of arrays by their names, got {type(arrays).__name__}.")
    plain = {key: _plain(f"{path}: {key}", value) for key, value in arrays.items()}
    try:
        about = json.loads(json.dumps(metadata))  # as it will be read: tuples become lists, and all keys text
        if _deeper(about, MAX_DEPTH):
            raise ValueError(f"it is more than {MAX_DEPTH} levels deep")
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: the metadata cannot be written as JSON ({error}).") from error
    # one label only: safetensors stores several in an order that changes from run to run
    label = json.dumps({"format": FORMAT, "about": about, "crc32": _checksum(plain, about)}, sort_keys=True)
    data = save(plain, metadata={"tinygan": label})
    _require_bounded(path, len(data), int.from_bytes(data[:8], "little"), MAX_BYTES)
    try:
        patiently(lambda: _replace(path, data), always=True)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error.strerror or error}). {mend(error, len(data))}"
        ) from error


def _plain(what: str, value: np.ndarray) -> np.ndarray:
    """The array in C order and in the byte order of this machine; raw memory is what is stored and summed up."""
    array = np.asarray(value)
    if array.dtype.itemsize not in KINDS.get(array.dtype.kind, ()):
        raise CheckpointError(
            f"{what} is of dtype {array.dtype}; booleans, integers, and floats of 16, 32 or 64 bits can be stored. "
            "Convert it first, array.astype(...)."
        )
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def replace_file(path: Path, data: bytes) -> None:
    """Put ``data`` in place of whatever is at ``path``, so that nobody ever finds half of it.

    A file that another program holds for a moment, such as a viewer, a virus scanner or a synchronised folder, is
    waited for, less than a second.

    Raises
    ------
    OSError
        It cannot be written; the error names the file and, where there is no room, how much is needed.
    """
    with explained(path, len(data)):
        patiently(lambda: _replace(path, data))


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    try:
        clear(part)
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise


def clear(part: Path) -> None:
    """Remove what bears the name of an unfinished file and is none: a link would lead elsewhere, a pipe would wait."""
    with suppress(FileNotFoundError):
        if stat.S_IFMT(as_path(part).lstat().st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            part.unlink()


@contextmanager
def patience(wait: bool) -> Iterator[None]:
    """Within the ``with`` block, :func:`patiently` waits or does not."""
    token = _waits.set(wait)
    try:
        yield
    finally:
        _waits.reset(token)


def patiently(work: Callable[[], T], *, always: bool = False) -> T:
    """Return ``work()``; while that fails because another program holds a file, try again for less than a second."""
    for pause in PAUSES if always or _waits.get() else ():
        try:
            return work()
        except OSError as error:
            if error.errno not in HELD:
                raise
            time.sleep(pause)
    return work()


@contextmanager
def explained(path: Path, size: int) -> Iterator[None]:
    """Let an OSError from within name the file and, where there is no room, the ``size`` in bytes that is needed."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            error.strerror = f"{error.strerror}; {size:,} bytes are needed there"
        error.filename = error.filename or str(path)
        raise


def mend(error: OSError, size: int | None = None) -> str:
    """What helps where a file, of ``size`` bytes if that is known, cannot be written: a sentence."""
    if error.errno in FULL:
        return f"{'' if size is None else f'It needs {size:,} bytes there. '}Make room for it, or name another place."
    if error.errno in (errno.EISDIR, errno.EEXIST, errno.ENOTDIR, errno.ENOTEMPTY):
        return "Move away what is in its place, or name another."
    return "Close what holds it, make its folder writable, or name another place."


def exists(path: str | Path) -> bool:
    """Whether there is anything at ``path``. CheckpointError if that cannot be told: closed is not absent."""
    try:
        os.lstat(as_path(path))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error}).") from error
    return True


def read(path: str | Path, *, max_bytes: int = MAX_BYTES) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return (arrays, metadata) of a file that :func:`write` made.

    Raises
    ------
    CheckpointError
        There is no such file, it may not be opened, it is larger than ``max_bytes``, cut short, damaged, or not made by
        tinygan. Nothing but a regular file is opened: a pipe or a device would never end.
    """
    from safetensors import SafetensorError, safe_open

    path, max_bytes = as_path(path, "the checkpoint"), positive_int(max_bytes, "max_bytes")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, a socket or a device"
            raise CheckpointError(f"{path}: cannot be read (it is {what}, not a file).")
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        _require_bounded(path, status.st_size, header, max_bytes)
        with safe_open(path, framework="numpy") as opened:
            label = _label(path, opened.metadata() or {})
            arrays = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (safe_open is no dict)
        if label["crc32"] != _checksum(arrays, label["about"]):
            raise CheckpointError(
                f"{path}: is damaged, its contents do not match their checksum. Use a copy, or start without it."
            )
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such checkpoint.") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (SafetensorError, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: is no checkpoint, or a damaged one ({error!s:.200}). Use a copy, or start without it."
        ) from error
    return arrays, label["about"]


def _require_bounded(path: Path, size: int, header: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise CheckpointError(f"{path}: {size:,} bytes is more than the {max_bytes:,} that are read at most.")
    if MAX_HEADER < header <= size:  # what claims to be longer than its file is damaged, as the parser will say
        raise CheckpointError(
            f"{path}: its header of {header:,} bytes is more than the {MAX_HEADER:,} that are read at most; it holds "
            "the names of the arrays and the record, so use fewer arrays or a smaller record."
        )


def _label(path: Path, labels: Mapping[str, str]) -> dict[str, Any]:
    """What tinygan has written into the header: the format, the record, the checksum."""
    label = json.loads(labels["tinygan"]) if "tinygan" in labels else {}
    if label.get("format") != FORMAT:
        format_ = f"format {label.get('format')!r:.40}" if label else "no tinygan label"
        raise CheckpointError(f"{path}: expected a tinygan checkpoint of format {FORMAT!r}, found {format_}.")
    if not isinstance(label["about"], dict) or _deeper(label["about"], MAX_DEPTH):
        raise CheckpointError(f"{path}: is damaged, its record is no dictionary of at most {MAX_DEPTH} levels.")
    return label


def _deeper(value: Any, levels: int) -> bool:
    """Whether lists and dicts lie within each other to more than so many ``levels``."""
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, list) and (levels == 0 or any(_deeper(entry, levels - 1) for entry in value))


def require_record(record: Mapping[str, Any], rules: Mapping[str, Rule], source: str) -> None:
    """Raise CheckpointError, naming the first entry of ``record`` that is not there or not what its rule allows."""
    for key, (words, allowed) in rules.items():
        if key not in record:
            raise CheckpointError(f"{source} is damaged, there is no {key} in it.")
        if not allowed(record[key]):
            raise CheckpointError(f"{source} is damaged, its {key} is {reprlib.repr(record[key]):.80}, not {words}.")


def _checksum(arrays: Mapping[str, np.ndarray], metadata: Any) -> int:
    """CRC-32 of the metadata, of names, shapes and dtypes, and of the bytes of all C-contiguous arrays."""
    layout = [[key, str(arrays[key].dtype), arrays[key].shape] for key in sorted(arrays)]
    total = zlib.crc32(json.dumps([metadata, layout], sort_keys=True).encode())
    for key in sorted(arrays):
        total = zlib.crc32(arrays[key].reshape(-1).view(np.uint8).data, total)
    return total
