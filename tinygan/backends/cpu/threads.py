"""Elementwise work on every core: NumPy runs an operation on one, but lets go of the interpreter while it runs.

Matrix products bring threads of their own. What is shared out is long elementwise passes, such as an optimiser's, and
convolutions, whose products then use one thread each.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from contextvars import copy_context
from functools import cache
from itertools import pairwise
from typing import Any

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


if hasattr(os, "register_at_fork"):  # a forked child has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


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
    """Call ``work(start, stop)`` for each core's part of n images, BLAS with one thread; one image has it whole.

    ``products`` is how many numbers are multiplied in all: of a few (:data:`SMALL`), no core takes a part.
    """
    if n == 1 or products <= SMALL:
        work(0, n)
        return
    with one_blas_thread():
        share_out(work, n, least=1)


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager:
    """Within the ``with`` block, matrix products use one thread each: for work that is shared out already."""
    return _blas().limit(limits=1, user_api="blas")
