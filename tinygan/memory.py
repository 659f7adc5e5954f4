"""Large arrays reuse their memory rather than fetch it anew from the operating system.

A training step makes and drops the same large arrays over and over. The C library hands memory of that size back to
the system at once, and the system clears every page of it again before the next use: a third of the time of a step of
the 64x64 DCGAN on two cores. Importing tinygan tells it to keep up to a gigabyte, which then stays with the process. If
one of the variables ``MALLOC_TRIM_THRESHOLD_``, ``MALLOC_MMAP_THRESHOLD_`` and ``GLIBC_TUNABLES`` is set, nothing is
changed; nor is it with other C libraries than glibc.

Nothing is imported here but the standard library: it comes before NumPy.
"""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as in malloc.h
KEPT = 1 << 30  # bytes
USERS = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"}
LARGEST = 1 << 25  # that older glibc takes for the second


def keep() -> bool:
    """Ask glibc to keep freed memory for the next array; return whether it will."""
    if not sys.platform.startswith("linux") or USERS & os.environ.keys():
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # no glibc
        return False
    large = mallopt(M_MMAP_THRESHOLD, KEPT) or mallopt(M_MMAP_THRESHOLD, LARGEST)
    return bool(large and mallopt(M_TRIM_THRESHOLD, KEPT))


keep()
