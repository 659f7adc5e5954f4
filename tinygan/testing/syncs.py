"""Counting host synchronisations: the places where a program stands still until the device has finished its work.

A GPU works through a queue while Python runs ahead and fills it. Reading a value (``float(loss)``, printing, a boolean
mask) drains the queue, and a training step that does so now and then is slow for no visible reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field


@dataclass(eq=False)
class SyncCount:
    """What :func:`count_syncs` yields: ``what`` made the host wait, in order, and how often (``count``)."""

    what: list[str] = field(default_factory=list)
    forbidden: bool = False

    @property
    def count(self) -> int:
        return len(self.what)


_counts: list[SyncCount] = []


@contextmanager
def count_syncs(*, forbidden: bool = False) -> Iterator[SyncCount]:
    """Count how often the host waits for the stand-in device inside the ``with`` block; blocks may be nested."""
    count = SyncCount(forbidden=forbidden)
    _counts.append(count)
    try:
        yield count
    finally:
        _counts.remove(count)


def forbid_syncs() -> AbstractContextManager[SyncCount]:
    """Raise AssertionError at the line that makes the host wait for the stand-in device inside the ``with`` block."""
    return count_syncs(forbidden=True)


def synchronise(what: str) -> None:
    """Note that ``what`` makes the host wait; the stand-in device calls this."""
    for count in _counts:
        count.what.append(what)
        if count.forbidden:
            raise AssertionError(f"{what} makes the host wait for the device, inside forbid_syncs().")
