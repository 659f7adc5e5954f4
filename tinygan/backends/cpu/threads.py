"""Elementwise work on every core: NumPy runs an operation on one, but lets go of the interpreter while it runs.

Matrix products bring threads of their own. What is shared out is long elementwise passes, such as an optimiser's, and
convolutions, whose products then use one thread each.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from itertools import pairwise
from typing import Any

MANY = 8  # pieces of a batch, for machines of more cores than two
SMALL = 1 << 18  # products that take a core no longer than it takes to hand them over; BLAS keeps them on one as well


@cache
def workers() -> int:
    """How many cores to use: what OMP_NUM_THREADS says, as for BLAS, or else all that this process may run on."""
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    if chosen.isdecimal() and int(chosen) > 0:
        return int(chosen)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, workers() - 1), thread_name_prefix="tinygan")


def share_out(work: Callable[[int, int], None], size: int, *, least: int) -> None:
    """Call ``work(start, stop)`` for chunks of range(size) that cover it, at the same time, and wait for all of them.

    There is one chunk for each core, but none smaller than ``least``: handing over a chunk costs some 50 microseconds.
    """
    chunks = max(1, min(workers(), size // least))
    edges = [size * k // chunks for k in range(chunks + 1)]
    # a copy of the context each: numpy.errstate of the caller holds in the other threads too
    others = [_pool().submit(copy_context().run, work, start, stop) for start, stop in pairwise(edges[1:])]
    try:
        work(edges[0], edges[1])
    finally:
        wait(others)
    for other in others:
        other.result()  # raises what was raised there


def share_images(work: Callable[[int, int], None], n: int, products: int) -> None:
    """Call ``work(start, stop)`` for each core's part of n pieces of a batch, BLAS with one thread; one piece alone has
    it whole.

    ``products`` is how many numbers are multiplied in all: of a few (:data:`SMALL`), no core takes a part.
    """
    if n == 1 or products <= SMALL:
        work(0, n)
        return
    with one_blas_thread():
        share_out(work, n, least=1)


def pieces_of(n: int, most: int, wanted: int = 1) -> list[tuple[int, int]]:
    """n >= 1 images in pieces of at most ``most``, about equally long: an even number of them, for an even number of
    cores, and ``wanted`` if there can be so many, but not for that alone above :data:`MANY`.

    The number of cores has no say, and so changes no byte of a result; but for a batch of one image, whose products
    have BLAS's own threads.
    """
    count = max(-(-n // max(1, most)), min(wanted, MANY), 2)
    size = -(-n // min(n, count + count % 2))
    return [(i, min(i + size, n)) for i in range(0, n, size)]


def share_sum(terms: Callable[[int, int], Iterator[Any]], n: int, products: int) -> list[Any]:
    """The sum of n arrays, as its two halves; as one array, if n is 1.

    All are added as (a + b) + (c + d), whatever the number of cores, and so to the same bytes; each core has some of
    the brackets. ``terms(start, stop)`` gives a core its arrays, one after another, which are changed.
    """
    brackets, cores = _halves(0, n), workers()
    while len(brackets) < min(n, cores) or (len(brackets) % cores and len(brackets) < min(n, 4 * cores)):
        brackets = [half for bracket in brackets for half in _halves(*bracket)]
    sums: dict[tuple[int, int], Any] = {}

    def work(start: int, stop: int) -> None:
        own = terms(brackets[start][0], brackets[stop - 1][1])
        for bracket in brackets[start:stop]:
            sums[bracket] = _added(bracket, lambda a, b: next(own) if b - a == 1 else None)

    share_images(work, len(brackets), products)
    return [_added(half, lambda *bracket: sums.pop(bracket, None)) for half in _halves(0, n)]


def _halves(start: int, stop: int) -> list[tuple[int, int]]:
    middle = (start + stop + 1) // 2
    return [(start, middle), (middle, stop)] if stop - start > 1 else [(start, stop)]


def _added(bracket: tuple[int, int], known: Callable[[int, int], Any]) -> Any:
    total = known(*bracket)
    if total is None:
        first, second = _halves(*bracket)
        total = _added(first, known)
        total += _added(second, known)
    return total


@cache
def _blas() -> list[Any]:
    from threadpoolctl import ThreadpoolController

    return [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]


_lock, _users = threading.Lock(), 0  # how many blocks run with one thread each
_before: list[int] = []  # how many threads each BLAS had when there were none
_of_thread = threading.local()  # its ``users``: how many of the blocks are this thread's


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within the ``with`` block, matrix products use one thread each: for work that is shared out already.

    The number of threads belongs to the whole process, or with OpenMP to each thread of Python. So of all blocks that
    run at once, the first one in looks what it was, and the last one out puts that back; or each one, with OpenMP.
    """
    global _users, _before
    with _lock:
        if _users == 0:
            _before = [library.num_threads for library in _blas()]
        for library in _blas():
            _set_threads(library, 1)
        _users += 1
        _of_thread.users = getattr(_of_thread, "users", 0) + 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            _of_thread.users -= 1
            for library, threads in zip(_blas(), _before, strict=True):
                if (_of_thread.users if getattr(library, "threading_layer", "") == "openmp" else _users) == 0:
                    _set_threads(library, threads)


def _set_threads(library: Any, threads: int) -> None:
    """Set the number of threads, also from another thread of Python than the one that has set it before: from 3.8 on
    threadpoolctl would do nothing then."""
    if hasattr(library, "clear_controlling_thread"):
        library.clear_controlling_thread(force=True)
    library.set_num_threads(threads)
    if hasattr(library, "clear_controlling_thread"):
        library.clear_controlling_thread(force=True)


def _start_anew() -> None:
    """Forget what belongs to threads that a forked child does not have."""
    global _lock, _users
    _lock, _users = threading.Lock(), 0
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
