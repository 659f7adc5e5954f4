"""The array file that pictures are kept in once they are decoded, and the .json file beside it that tells of what.

Both are put in place whole. The .json file is removed before the array changes and written after, so whenever the
process dies, what is left either belongs together or is made anew. Of several processes or threads that want the same,
one makes it and the others wait. Both files have checksums; whatever is damaged is made anew, too.

The checksum of the array is computed when it is opened: always if it has at most CHECKED bytes, which takes a third of
a second, and of a larger one if its time of change is not the one that was written down.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..backends.cpu.threads import workers
from ..checkpoints import Rule, patiently, require_record
from ..errors import DataError
from ..parallel.console import console
from .files import cache_folder, open_file, printable, whole_path
from .pictures import Form, TooLarge, own_limits, read_picture, reason

FORMAT = 3  #: raised when the same pictures would come out as other bytes, or others of them could be read
CHUNK_BYTES = 16 << 20  #: of decoded pictures that wait to be written
CHECKED = 256 << 20  #: bytes of an array whose checksum is always computed
LARGEST_LABEL = 64 << 20  #: bytes of a .json file
PIECE = 1 << 20  #: bytes that are read at a time
LARGE = 9_000_000  #: pixels, a 4K screen; one core alone decodes what is larger, so that memory holds one such picture

#: What the .json file may say, though its checksum be right: anyone can compute that.
LABEL: dict[str, Rule] = {
    "shape": ("four sizes", lambda x: isinstance(x, list) and len(x) == 4 and all(map(_is_count, x))),
    "enlarged": ("a count", lambda x: _is_count(x)),
    "frames": ("a count", lambda x: _is_count(x)),
    "skipped": ("a list of names with reasons", lambda x: isinstance(x, list) and all(map(_is_pair, x))),
}

_LEFT_BEHIND = 24 * 3600.0  # seconds after which an unfinished file is taken for that of a process that died


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(text, str) for text in value)


def place(folder: Path, settings: dict[str, Any], cache: str | os.PathLike[str] | None) -> Path:
    """Return where the array file of this folder with these settings lies."""
    folder = whole_path(folder)
    readable = re.sub(r"[^A-Za-z0-9-]+", "_", folder.name)[:40]
    return cache_folder(cache) / "folders" / f"{readable}-{digest([os.fspath(folder), settings])[:16]}.npy"


def digest(value: Any) -> str:
    """Return a fingerprint of JSON-like ``value`` and of FORMAT."""
    return hashlib.sha256(json.dumps([FORMAT, value]).encode()).hexdigest()


def opened(store: Path, fingerprint: str) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Return the array, mapped, and what the .json file says, or None if they are not there or of other pictures.

    Raises
    ------
    DataError
        One of the files is damaged, or the other one is missing.
    """
    label = store.with_suffix(".json")
    if not (os.path.lexists(store) or os.path.lexists(label)):
        return None
    try:
        with open_file(label) as file:
            about = json.loads(file.read(LARGEST_LABEL))
        if about.pop("checksum") != digest(about):
            raise ValueError("its checksum is another")
        if about["fingerprint"] != fingerprint:
            return None
        require_record(about, LABEL, label.name)
        with open_file(store) as file:
            status = os.fstat(file.fileno())
            unchanged = [status.st_size, status.st_mtime_ns] == about["stamp"]
            if (status.st_size <= CHECKED or not unchanged) and _checksum(file) != about["crc32"]:
                raise ValueError("the checksum of the array is another")
        images = np.load(store, mmap_mode="r", allow_pickle=False)
        if [str(images.dtype), *images.shape] != ["uint8", *about["shape"]]:
            raise ValueError(f"it holds {images.dtype} {images.shape}")
        return images, about
    except Exception as error:  # a damaged file may cause any
        raise DataError(f"{store}: damaged or incomplete ({' '.join(str(error).split())[:100]})") from error


def opened_or_made(store: Path, fingerprint: str, write: Callable[[Path], dict[str, Any]]) -> tuple[Any, dict, str]:
    """Return the array, mapped, what the .json file says, and what was wrong with them before, if anything was.

    If there is no such array, ``write(part)`` makes the file ``part`` and returns what the .json file shall say of it:
    its "shape", at least. Where that is empty no file is kept, and the array is None.

    Raises
    ------
    DataError
        The files cannot be written.
    """
    wrong = ""
    with contextlib.suppress(DataError):
        if result := opened(store, fingerprint):
            return *result, wrong
    part = store.with_name(f"{store.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        _sweep(store.parent)
        with _alone(store.with_name(f"{store.stem}-lock")):
            try:
                if result := opened(store, fingerprint):  # somebody has made it meanwhile
                    return *result, wrong
            except DataError as error:
                wrong = str(error)
            about = {"fingerprint": fingerprint, **write(part)}
            if about["shape"][0] == 0:
                return None, about, wrong
            with part.open("rb") as file:
                about["crc32"] = _checksum(file)
            images = _replaced(part, store, about)
            return images, about, wrong
    except OSError as error:
        raise DataError(
            f"{store.parent}: the array file cannot be written there ({error.strerror or error}); "
            "name a folder that has room for it as the cache (--cache, cache=...)."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _replaced(part: Path, store: Path, about: dict[str, Any]) -> np.ndarray:
    """Put the array in its place, and the .json file beside it; return the array, mapped."""
    label = store.with_suffix(".json")
    for path in (label, store):
        if path.is_dir() and not path.is_symlink():  # in the way, and surely not ours
            raise OSError(f"{path.name} is a folder")
    label.unlink(missing_ok=True)
    patiently(lambda: os.replace(part, store))
    status = store.stat()
    about["stamp"] = [status.st_size, status.st_mtime_ns]
    images = np.load(store, mmap_mode="r", allow_pickle=False)
    part.write_text(json.dumps({**about, "checksum": digest(about)}, indent=1), "utf-8")
    patiently(lambda: os.replace(part, label))
    return images


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold the lock, which the system takes back when a process dies; where files cannot be locked, go on without."""
    from filelock import FileLock, Timeout

    with contextlib.ExitStack() as held:
        with contextlib.suppress(NotImplementedError, OSError, Timeout):
            held.enter_context(FileLock(lock))
        yield


def _checksum(file: BinaryIO) -> int:
    total = 0
    while block := file.read(PIECE):
        total = zlib.crc32(block, total)
    return total


def decode(
    part: Path,
    folder: Path,
    names: Sequence[str],
    form: Form,
    *,
    grey_if_all_are: bool,
    max_pixels: int,
    bar: bool,
) -> dict[str, Any]:
    """Decode the pictures ``names`` of ``folder`` into the array file ``part``; return what is to be said of it.

    That is the shape, how many pictures were enlarged, how many have other frames or pages, and [name, reason] of every
    one that was skipped. With ``grey_if_all_are`` images whose channels are all equal become one channel.
    """
    skipped: list[tuple[str, str]] = []
    enlarged = frames = written = 0
    grey = grey_if_all_are and form.channels == 3
    # Written in order rather than through a map: on a full disk that is an error, and not a crash
    with own_limits(), part.open("w+b") as file, ThreadPoolExecutor(workers()) as pool:
        _write_header(file, (len(names), *form.shape))
        start = file.tell()
        chunk = max(workers(), min(256, CHUNK_BYTES // math.prod(form.shape)))
        on_all_cores = partial(read_picture, form=form, max_pixels=min(max_pixels, LARGE))
        results = _results(pool, on_all_cores, folder, names, chunk)
        for name, result in zip(names, _with_bar(results, len(names), folder, bar), strict=True):
            if isinstance(result, TooLarge):
                result = _attempt(partial(read_picture, form=form, max_pixels=max_pixels), folder / name)
            if isinstance(result, Exception):
                skipped.append((name, reason(result)))
                continue
            grey = grey and bool((result.pixels == result.pixels[..., :1]).all())
            file.write(result.pixels.tobytes())
            written, enlarged, frames = written + 1, enlarged + result.enlarged, frames + result.frames
        if grey:
            form = replace(form, channels=1)
            _keep_one_channel(file, start)
        file.seek(0)
        _write_header(file, (written, *form.shape))  # as long as the first one: NumPy leaves room for any N
        file.flush()
        os.fsync(file.fileno())
    return {"shape": [written, *form.shape], "enlarged": enlarged, "frames": frames, "skipped": skipped}


def _keep_one_channel(file: BinaryIO, start: int) -> None:
    """Of the pixels (..., 3) behind ``start`` leave the first of each three."""
    done, end = 0, file.tell() - start
    for i in range(0, end, 3 * PIECE):
        file.seek(start + i)
        pixels = file.read(min(3 * PIECE, end - i))[::3]
        file.seek(start + done)
        done += file.write(pixels)
    file.truncate(start + done)


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed have left behind."""
    for part in folder.glob("*.part"):
        with contextlib.suppress(OSError):  # somebody else may sweep, too
            if time.time() - part.stat().st_mtime > _LEFT_BEHIND:
                part.unlink()


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _results(
    pool: ThreadPoolExecutor, work: Callable[[Path], Any], folder: Path, names: Sequence[str], chunk: int
) -> Iterator[Any]:
    """Yield work(path) of every name in order, or the exception that it raised; ``chunk`` at a time, on all cores."""
    for first in range(0, len(names), chunk):
        yield from pool.map(lambda name: _attempt(work, folder / name), names[first : first + chunk])


def _attempt(work: Callable[[Path], Any], path: Path) -> Any:
    try:
        return work(path)
    except Exception as error:  # decoders meet foreign bytes with whatever they like
        return error


def _with_bar(results: Iterator[Any], total: int, folder: Path, shown: bool) -> Iterator[Any]:
    if not (shown and console("stderr").isatty()):
        return results
    from tqdm import tqdm

    text = printable(f"reading {folder.name}")
    return iter(tqdm(results, total=total, desc=text, file=console("stderr"), unit=" images", dynamic_ncols=True))
