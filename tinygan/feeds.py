"""What the host decides in a training step, and how it reaches the device: noise, masks, learning rates.

A step that is launched as one recorded graph (:mod:`tinygan.graphs`) runs no Python on its way, so that whatever
differs from step to step must lie in the device's memory, in the same place each time. All of it goes there through one
function:

    z = feed(lambda: rng.standard_normal((n, k)), theta)
    rate = feed(lambda: schedule(self.t), theta)

On NumPy that is what the lambda returns, and nothing else happens. On a device it is copied there. While a step is
recorded, a :class:`Tape` keeps the lambdas, in order; before a replay it calls each of them again, in that order, and
all they return goes to the device in one copy. So a lambda must not hold on to what belongs to one step alone; and what
it changes (a generator's state, a count of steps) it changes once for each step, recorded or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from .backend import Array, backend_of
from .errors import BackendError

ALIGNED = 256  # bytes: where each array begins, as in memory that CUDA hands out


def feed(make: Callable[..., Any], like: Array, t: int | None = None) -> Any:
    """Return ``make()``, or ``make(t)`` if the step ``t`` is given, where ``like`` lives and in its dtype.

    Parameters
    ----------
    make : returns a NumPy array, a number or a tuple of numbers, always of one shape; see above.
    like : array, such as the parameters. If it is NumPy's, what ``make`` returns is returned as it is.
    t : the step that ``make`` is asked for. A replay asks for the step of its own.

    Returns
    -------
    On a device an array: 0-d for a number, and for a tuple one that gives its numbers, 0-d each, when it is unpacked.
    """
    backend = backend_of(like)
    if backend.name == "numpy":
        return make() if t is None else make(t)
    tape = _tape.get()
    if tape is None:
        return backend.from_host(np.asarray(make() if t is None else make(t), dtype=like.dtype))
    return tape.feed(make, like, t)


_tape: ContextVar[Tape | None] = ContextVar("tape", default=None)


@dataclass
class _Feed:
    make: Callable[..., Any]
    of_step: bool  # whether make is asked for a step
    shape: tuple[int, ...]
    dtype: np.dtype
    start: int  # where it lies on the tape, in bytes
    array: Array = None  # the same on the device


class Tape:
    """The feeds of one step, one after the other in one piece of memory.

    First a step runs with :meth:`listening`, which is as any other; then its memory is handed over with :meth:`place`;
    then the step is recorded with :meth:`recording`, which calls no ``make`` and returns arrays in that memory. Before
    every replay, :meth:`fill` calls them all.

    Attributes
    ----------
    nbytes : how much memory all of it takes.
    """

    def __init__(self) -> None:
        self._feeds: list[_Feed] = []
        self._next: int | None = None  # the feed that a recorded step asks for next
        self.nbytes = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note what is fed inside the ``with`` block."""
        token = _tape.set(self)
        try:
            yield
        finally:
            _tape.reset(token)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Give what is asked for inside the ``with`` block its place on the device.

        Raises
        ------
        BackendError
            The step does not ask for the same as the one before, so it cannot be replayed.
        """
        token, self._next = _tape.set(self), 0
        try:
            yield
            if self._next != len(self._feeds):
                raise BackendError(f"it fed {self._next} arrays to the device, and {len(self._feeds)} before.")
        finally:
            _tape.reset(token)
            self._next = None

    def feed(self, make: Callable[..., Any], like: Array, t: int | None) -> Array:
        if self._next is not None:
            return self._placed(make, like, t is not None)
        host = np.asarray(make() if t is None else make(t), dtype=like.dtype)
        self._feeds.append(_Feed(make, t is not None, host.shape, host.dtype, self.nbytes))
        self.nbytes += -(-host.nbytes // ALIGNED) * ALIGNED
        return backend_of(like).from_host(host)

    def _placed(self, make: Callable[..., Any], like: Array, of_step: bool) -> Array:
        if self._next == len(self._feeds):
            raise BackendError(f"it feeds more arrays to the device than the {len(self._feeds)} of the step before.")
        feed = self._feeds[self._next]
        if (feed.dtype, feed.of_step) != (like.dtype, of_step):
            raise BackendError(f"array {self._next} that it feeds to the device was another one in the step before.")
        feed.make = make  # the one that belongs to this step
        self._next += 1
        return feed.array

    def place(self, memory: Array) -> None:
        """Let the feeds live in ``memory``, (nbytes,) uint8 on the device."""
        for feed in self._feeds:
            size = int(np.prod(feed.shape)) * feed.dtype.itemsize
            feed.array = memory[feed.start : feed.start + size].view(feed.dtype).reshape(feed.shape)

    def fill(self, memory: np.ndarray, t: int) -> None:
        """Write what the step ``t`` is fed with into ``memory``, (nbytes,) uint8 on the host.

        Raises
        ------
        BackendError
            Something has not the shape that it had when the step was recorded.
        """
        for feed in self._feeds:
            host = np.ndarray(feed.shape, feed.dtype, memory, feed.start)
            value = feed.make(t) if feed.of_step else feed.make()
            if np.shape(value) != feed.shape:
                raise BackendError(f"a replayed step is fed with {np.shape(value)}, but {feed.shape} was recorded.")
            host[...] = value
