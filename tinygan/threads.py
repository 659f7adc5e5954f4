"""Elementwise work on every core: NumPy runs an operation on one, but lets go of the interpreter while it runs.

Matrix products bring threads of their own, so only long elementwise passes are shared out, such as an optimiser's. Each
number is computed by the same operations whatever the number of cores: the results are the same to the bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise


@cache
def workers() -> int:
    """How many cores to use: what OMP_NUM_THREADS says, as for BLAS, or else all that this process may run on."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdigit() and int(said) > 0:
        return int(said)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers() - 1, thread_name_prefix="tinygan")


def share_out(work: Callable[[int, int], None], size: int, *, least: int) -> None:
    """Call ``work(start, stop)`` for parts of range(size) that cover it, at the same time, and wait for all of them.

    There is one part for each core, but none smaller than ``least``: handing over a part costs some 50 microseconds.
    """
    parts = max(1, min(workers(), size // least))
    edges = [size * k // parts for k in range(parts + 1)]
    others = [_pool().submit(work, start, stop) for start, stop in pairwise(edges[1:])]
    try:
        work(edges[0], edges[1])
    finally:
        for other in others:
            other.result()
