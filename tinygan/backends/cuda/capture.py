"""Work on an NVIDIA GPU, captured once as a CUDA graph and launched as often as one likes: what CuPy is needed for.

:mod:`tinygan.backends.cuda.graphs` says what is captured, and asks an :class:`Engine` for no more than the methods
here, which the stand-in device has too (:mod:`tinygan.testing.replay`). A graph holds the addresses of all memory that
its kernels touch. So captured work gets its memory from a pool that belongs to the engine and gives nothing back, on a
stream of its own, where the same work has run before: kernels are compiled then, and the pool is large enough.
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from . import cublas

AHEAD = 4  # steps that the host may be ahead of the device before it waits


class Engine:
    """A stream and a pool of memory on CuPy's current device, in which work runs and is captured.

    Work and graphs come after all that CuPy's current stream was given before, and before all that it is given next.
    """

    def __init__(self) -> None:
        self._cupy = sys.modules["cupy"]
        cuda = self._cupy.cuda
        self._stream = cuda.Stream(non_blocking=True)  # the default stream cannot be captured, nor one that waits on it
        self._before, self._after = (cuda.Event(disable_timing=True) for _ in range(2))
        self._kept: list[Any] = []
        self._pool = cuda.MemoryPool(self._allocate)
        place = cuda.runtime.getDevice(), self._stream.ptr
        weakref.finalize(self, cublas.forget, *place).atexit = False  # at the end CUDA may be gone before

    def run(self, work: Callable[[], Any]) -> Any:
        """Return ``work()``, run on the engine's stream and in its memory."""
        with self._beside():
            return work()

    def capture(self, work: Callable[[], Any]) -> Callable[[], None]:
        """Call ``work()``, which then computes nothing; return a function that does all that it would have done.

        An error of ``work`` or of CUDA is passed on; the stream and what ``work`` uses are as they were before.
        """
        gc.collect()  # what is found to be unused within a capture cannot be given back to CUDA there
        with self._beside():
            self._stream.begin_capture()
            try:
                work()
            except BaseException:
                with suppress(Exception):  # most often the error that has ended the capture already, once more
                    self._stream.end_capture()
                raise
            return self._stream.end_capture().launch

    def staging(self, nbytes: int) -> Staging:
        """Return memory through which bytes of the host reach the device."""
        return Staging(self._cupy, nbytes)

    @contextmanager
    def _beside(self) -> Iterator[None]:
        cuda = self._cupy.cuda
        current = cuda.get_current_stream()
        self._before.record(current)
        self._stream.wait_event(self._before)
        try:
            with cuda.using_allocator(self._pool.malloc), self._stream:
                yield
        except BaseException:
            with suppress(Exception):  # the first error is the one to tell
                if not self._stream.is_capturing():  # else the current stream would be captured, too
                    self._hand_back(current)
            raise
        self._hand_back(current)

    def _hand_back(self, current: Any) -> None:
        self._after.record(self._stream)
        current.wait_event(self._after)

    def _allocate(self, size: int) -> Any:
        """Memory for the pool. It is kept here: graphs use it, though the pool may call it free and let it go."""
        cuda = self._cupy.cuda
        try:
            memory = cuda.Memory(size)
        except cuda.runtime.CUDARuntimeError:
            self._cupy.get_default_memory_pool().free_all_blocks()  # what CuPy only keeps for new arrays
            memory = cuda.Memory(size)  # its error, if there is one, the pool understands
        self._kept.append(memory)
        return cuda.MemoryPointer(memory, 0)


class Staging:
    """Bytes on their way to the device, where they arrive in ``device`` (nbytes,) uint8.

    The host writes into one of several pieces of pinned memory, so that it need not wait until the device has read the
    one before.
    """

    def __init__(self, cupy: Any, nbytes: int) -> None:
        from cupyx import empty_pinned

        self.device: Any = cupy.empty(nbytes, dtype=np.uint8)
        self._hosts = [empty_pinned(nbytes, dtype=np.uint8) for _ in range(AHEAD)]
        self._read = [cupy.cuda.Event(disable_timing=True) for _ in range(AHEAD)]
        self._now = 0

    def host(self) -> np.ndarray:
        """Return memory (nbytes,) uint8 to write into."""
        self._now = (self._now + 1) % AHEAD
        self._read[self._now].synchronize()  # long done, unless the device is that many steps behind
        return self._hosts[self._now]

    def send(self) -> None:
        """Let the device read what was written into ``host()``, in the order of CuPy's current stream."""
        host = self._hosts[self._now]
        self.device.data.copy_from_host_async(host.ctypes.data, host.nbytes)
        self._read[self._now].record()
