"""Two settings of the process that make training on a CPU faster, made when a network first runs; never by an import.

**Memory.** A training step makes and drops the same large arrays over and over. The C library hands memory of that size
back to the system at once, and the system clears every page of it again before the next use: a third of the time of a
step of the 64x64 DCGAN on two cores. glibc is told to keep up to a gigabyte, which then stays with the process.

**Idle threads.** OpenBLAS's threads wait for the next product in a busy loop, and meanwhile keep a core from everybody
else: for 2^26 clock ticks. They are told to wait for 2^19, some 0.2 milliseconds, and to sleep then. The library reads
this number when it is loaded, so it is asked to read it again, and its threads are started anew.

The environment variable ``TINYGAN_TUNE=0`` switches both off. Whoever has set one of glibc's or OpenBLAS's own
variables keeps their choice. Where a library has no such function nothing happens.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as in malloc.h
KEPT = 1 << 30  # bytes
LARGEST = 1 << 25  # that older glibc takes for the second
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"}
IDLE = "OPENBLAS_THREAD_TIMEOUT"
TICKS = "19"  # as a power of 2


@cache
def tune() -> tuple[bool, bool]:
    """Make both settings, once in a process; return whether each was made."""
    if os.environ.get("TINYGAN_TUNE", "1") == "0":
        return False, False
    return keep_memory(), let_idle_threads_sleep()


def keep_memory() -> bool:
    """Ask glibc to keep freed memory for the next array; return whether it will."""
    if not sys.platform.startswith("linux") or ALLOCATOR & os.environ.keys():
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # no glibc
        return False
    large = mallopt(M_MMAP_THRESHOLD, KEPT) or mallopt(M_MMAP_THRESHOLD, LARGEST)
    return bool(large and mallopt(M_TRIM_THRESHOLD, KEPT))


def let_idle_threads_sleep() -> bool:
    """Tell OpenBLAS how long its idle threads wait; return whether it will do so.

    Its threads are started anew, so nothing is done while another thread of Python might be in the middle of a product.
    """
    if IDLE in os.environ or threading.active_count() > 1:
        return False
    from threadpoolctl import ThreadpoolController

    done = False
    for library in ThreadpoolController().lib_controllers:
        if library.internal_api != "openblas" or library.num_threads < 2:
            continue
        try:
            blas = ctypes.CDLL(library.filepath)
            again = blas.openblas_read_env, blas.blas_thread_shutdown_, blas.blas_thread_init
        except (OSError, AttributeError):  # another build of it
            continue
        os.environ[IDLE] = TICKS
        try:
            for function in again:
                function()
        finally:
            del os.environ[IDLE]  # child processes decide for themselves
        done = True
    return done
