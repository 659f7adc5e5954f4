"""The array file that pictures are kept in once they are decoded, and the .json file beside it that tells of what.

Both are put in place whole. The .json file is removed before the array changes and written after, so whenever the
process dies, what is left either belongs together or is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..backends.cpu.threads import workers
from ..checkpoints import as_path, replace_file
from ..errors import DataError
from ..parallel.console import Console
from .pictures import Form, TooLarge, is_grey, own_limits, read_picture, reason

FORMAT = 1  #: raised when the same pictures would come out as other bytes
CHUNK_BYTES = 16 << 20  #: of decoded pictures that wait to be written
LARGE = 9_000_000  #: pixels, a 4K screen; one core alone decodes what is larger, so that memory holds one such picture

_LEFT_BEHIND = 24 * 3600.0  # seconds after which an unfinished file is taken for that of a process that died


def place(folder: Path, settings: dict[str, Any], cache: str | os.PathLike[str] | None) -> Path:
    """Return where the array file of this folder with these settings lies."""
    if cache is None:
        import pooch  # knows where each operating system keeps such files

        cache = pooch.os_cache("tinygan")
    folder = folder.resolve()
    readable = re.sub(r"[^A-Za-z0-9-]+", "_", folder.name)[:40]
    return as_path(cache) / "folders" / f"{readable}-{digest([os.fspath(folder), settings])[:16]}.npy"


def digest(value: Any) -> str:
    """Return a fingerprint of JSON-like ``value`` and of FORMAT."""
    return hashlib.sha256(json.dumps([FORMAT, value]).encode()).hexdigest()


def known(store: Path, fingerprint: str) -> dict[str, Any] | None:
    """Return what the .json file says, if both files are whole and made of the very same pictures; else None."""
    try:
        about = json.loads(store.with_suffix(".json").read_bytes())
        if about["fingerprint"] != fingerprint:
            return None
        images = np.load(store, mmap_mode="r", allow_pickle=False)
        return about if images.dtype == np.uint8 and list(images.shape) == about["shape"] else None
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def make(
    store: Path,
    fingerprint: str,
    folder: Path,
    names: Sequence[str],
    form: Form,
    *,
    grey_if_all_are: bool,
    max_pixels: int,
    bar: bool,
) -> dict[str, Any]:
    """Decode the pictures ``names`` of ``folder`` into the array file; return what the .json file says of it.

    That is the fingerprint, the shape, the number of pictures that were enlarged, and [name, reason] of every one that
    was skipped. Where none can be read, N is 0 and no file is written.

    Raises
    ------
    DataError
        The files cannot be written.
    """
    skipped: list[tuple[str, str]] = []
    enlarged = written = 0
    part = store.with_name(f"{store.name}.{os.getpid()}.part")
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        _sweep(store.parent)
        # Written in order rather than through a map: on a full disk that is an error, and not a crash
        with own_limits(), part.open("wb") as file, ThreadPoolExecutor(workers()) as pool:
            if grey_if_all_are and all(_results(pool, is_grey, folder, names, 64)):  # an error counts as grey
                form = replace(form, channels=1)
            _write_header(file, (len(names), *form.shape))
            chunk = max(workers(), min(256, CHUNK_BYTES // math.prod(form.shape)))
            on_all_cores = partial(read_picture, form=form, max_pixels=min(max_pixels, LARGE))
            results = _results(pool, on_all_cores, folder, names, chunk)
            for name, result in zip(names, _with_bar(results, len(names), folder, bar), strict=True):
                if isinstance(result, TooLarge):
                    result = _attempt(partial(read_picture, form=form, max_pixels=max_pixels), folder / name)
                if isinstance(result, Exception):
                    skipped.append((name, reason(result)))
                    continue
                pixels, small = result
                file.write(pixels.tobytes())
                written, enlarged = written + 1, enlarged + small
            file.seek(0)
            _write_header(file, (written, *form.shape))  # as long as the first one: NumPy leaves room for any N
            file.flush()
            os.fsync(file.fileno())
        about = {
            "fingerprint": fingerprint,
            "shape": [written, *form.shape],
            "enlarged": enlarged,
            "skipped": skipped,
        }
        if written:
            store.with_suffix(".json").unlink(missing_ok=True)
            os.replace(part, store)
            replace_file(store.with_suffix(".json"), json.dumps(about, indent=1).encode())
    except OSError as error:
        raise DataError(
            f"{store.parent}: the array file cannot be written there ({error.strerror or error}); "
            "name a folder that has room for it as the cache."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return about


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
    console = Console(getattr(sys, "stderr", None))
    if not (shown and console.isatty()):
        return results
    from tqdm import tqdm

    text = f"reading {folder.name}"
    return iter(tqdm(results, total=total, desc=text, file=console, unit=" images", dynamic_ncols=True))
