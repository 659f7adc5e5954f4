"""How CuPy is asked to capture a step: with a CuPy of a few lines that writes down what it is asked for."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from support.small_games import Altered, build

from tinygan.backends import get_ops
from tinygan.backends.cuda import CudaOps, capture, stepper
from tinygan.backends.loading import out_of_memory
from tinygan.errors import BackendError
from tinygan.testing.replay import enabled


class CUDARuntimeError(RuntimeError):
    pass


class CuPy:
    """Streams, events, pools and pinned memory, as far as the engine uses them."""

    def __init__(self, monkeypatch):
        self.log, self.full, self.broken = [], 0, False
        fake, self.streams = self, []

        class Stream:
            def __init__(self, non_blocking=False):
                self.name, self.capturing = "own" if non_blocking else "current", False
                self.ptr = 100 + len(fake.streams)
                fake.streams.append(self)

            def __enter__(self):
                fake.now, self.before = self, fake.now
                return self

            def __exit__(self, *error):
                fake.now = self.before

            def wait_event(self, event):
                fake.log.append(f"{self.name} waits for {event.at}")

            def begin_capture(self):
                fake.log.append("begin")
                self.capturing = True

            def is_capturing(self):
                return self.capturing

            def end_capture(self):
                fake.log.append("end")
                self.capturing = fake.broken == "for good"
                if fake.broken:
                    raise CUDARuntimeError("cudaErrorStreamCaptureInvalidated")
                return SimpleNamespace(launch=lambda: fake.log.append("launch"))

        class Event:
            def __init__(self, disable_timing):
                assert disable_timing

            def record(self, stream=None):
                if (stream or fake.now).capturing:
                    raise CUDARuntimeError("cudaErrorStreamCaptureUnjoined")
                self.at = (stream or fake.now).name
                fake.log.append(f"event in {self.at}")

            def synchronize(self):
                fake.log.append("host waits")

        class Memory:
            def __init__(self, size):
                if fake.full:
                    fake.full -= 1
                    raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
                self.size = size

        @contextmanager
        def using_allocator(allocator):
            fake.log.append("own memory")
            try:
                yield
            finally:
                fake.log.append("memory as before")

        pool = SimpleNamespace(free_all_blocks=lambda: fake.log.append("free what is kept"))
        self.now = Stream()
        self.cuda = SimpleNamespace(
            Stream=Stream,
            Event=Event,
            Memory=Memory,
            MemoryPointer=lambda memory, offset: (memory, offset),
            MemoryPool=lambda allocate: SimpleNamespace(malloc=allocate),
            get_current_stream=lambda: self.now,
            using_allocator=using_allocator,
            runtime=SimpleNamespace(CUDARuntimeError=CUDARuntimeError, getDevice=lambda: 2),
        )
        self.get_default_memory_pool = lambda: pool
        self.empty = self._empty
        monkeypatch.setitem(sys.modules, "cupy", self)
        monkeypatch.setitem(sys.modules, "cupyx", SimpleNamespace(empty_pinned=np.zeros))

    def _empty(self, nbytes, dtype):
        device = np.zeros(nbytes, dtype=dtype)

        def copy(address, size):
            self.log.append(f"copy in {self.now.name}")
            device[...] = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

        return SimpleNamespace(data=SimpleNamespace(copy_from_host_async=copy), host=device)


@pytest.fixture
def cupy(monkeypatch):
    return CuPy(monkeypatch)


BEFORE = ["event in current", "own waits for current", "own memory"]
AFTER = ["memory as before", "event in own", "current waits for own"]


def test_work_runs_on_a_stream_of_its_own_after_and_before_all_other_work(cupy):
    engine = capture.Engine()
    assert engine.run(lambda: cupy.log.append(f"work in {cupy.now.name}") or 7) == 7
    assert cupy.log == [*BEFORE, "work in own", *AFTER]
    assert cupy.now.name == "current"


def test_captured_work_is_launched_on_the_stream_that_is_current_then(cupy):
    launch = capture.Engine().capture(lambda: cupy.log.append(f"work in {cupy.now.name}"))
    assert cupy.log == [*BEFORE, "begin", "work in own", "end", *AFTER]
    launch()
    assert cupy.log[-1] == "launch"


@pytest.mark.parametrize("broken", [False, True], ids=["capture still open", "capture broken too"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, CUDARuntimeError])
def test_an_error_in_captured_work_ends_the_capture_and_is_passed_on(cupy, error, broken):
    def work():
        cupy.broken = broken
        raise error("of the work")

    engine = capture.Engine()
    with pytest.raises(error, match="of the work"):
        engine.capture(work)
    assert cupy.log == [*BEFORE, "begin", "end", *AFTER]
    assert cupy.now.name == "current"
    cupy.broken = False
    assert engine.run(lambda: 1) == 1


def test_the_first_error_is_told_and_other_streams_stay_out_of_a_capture_that_does_not_end(cupy):
    def work():
        cupy.broken = "for good"
        raise KeyError("of the work")

    with pytest.raises(KeyError, match="of the work"):
        capture.Engine().capture(work)
    assert cupy.log == [*BEFORE, "begin", "end", AFTER[0]]


def test_an_engine_that_goes_gives_back_what_cublas_had_for_its_stream(cupy, monkeypatch):
    forgotten = []
    monkeypatch.setattr(capture.cublas, "forget", lambda *place: forgotten.append(place))
    engine = capture.Engine()
    launch = engine.capture(lambda: None)
    assert not forgotten
    place = 2, engine._stream.ptr
    del engine
    gc.collect()
    assert forgotten == [place]
    launch()


def test_a_capture_that_cuda_refuses_is_an_error(cupy):
    cupy.broken = True
    with pytest.raises(CUDARuntimeError, match="Invalidated"):
        capture.Engine().capture(lambda: None)
    assert cupy.log[-1] == AFTER[-1]
    assert cupy.now.name == "current"


def test_memory_is_kept_and_that_of_other_arrays_given_up_first(cupy):
    engine = capture.Engine()
    (first, offset), cupy.full = engine._pool.malloc(512), 1
    second, _ = engine._pool.malloc(1024)
    assert (offset, engine._kept) == (0, [first, second])
    assert cupy.log == ["free what is kept"]
    cupy.full = 2
    with pytest.raises(CUDARuntimeError, match="out of memory"):
        engine._pool.malloc(1024)
    assert len(engine._kept) == 2


def test_bytes_go_through_several_pieces_of_pinned_memory(cupy):
    staging = capture.Engine().staging(6)
    seen = []
    for i in range(capture.AHEAD + 1):
        host = staging.host()
        seen.append(host.ctypes.data)
        host[...] = i
        staging.send()
        assert (staging.device.host == i).all()
    assert len(set(seen)) == capture.AHEAD
    assert seen[0] == seen[-1]
    assert cupy.log == ["host waits", "copy in current", "event in current"] * (capture.AHEAD + 1)


# ---- a full GPU ------------------------------------------------------------------------------------------------------


class OutOfMemoryError(MemoryError):
    """As CuPy's."""


FULL = "Out of memory allocating 3,221,225,472 bytes (allocated so far: 8,589,934,592 bytes)."


def a_gpu(free=2 << 30):
    return CudaOps(SimpleNamespace(ndarray=object), "NVIDIA H200, 140 GB", free_memory=lambda: free)


def test_a_full_gpu_is_one_line_with_what_was_asked_what_is_there_and_what_to_do():
    error = out_of_memory(OutOfMemoryError(FULL), a_gpu())
    assert isinstance(error, BackendError)
    assert str(error) == (
        "the memory of the GPU (NVIDIA H200, 140 GB) is full: 3,072 MB more were asked for, and 2,048 MB are free. Use "
        "a smaller batch (--batch-size), a narrower network (--width), or end what else holds its memory (nvidia-smi "
        "lists it)."
    )
    assert "more was asked for, and 20.0 GB are free" in str(
        out_of_memory(CUDARuntimeError("cudaErrorMemoryAllocation: out of memory"), a_gpu(20 << 30))
    )


def test_other_errors_and_a_full_host_are_what_they_are():
    assert out_of_memory(ValueError("allocating 3 bytes"), a_gpu()) is None
    assert out_of_memory(MemoryError(), get_ops("numpy")) is None


class Large(Altered):
    def apply(self, x, train):
        raise OutOfMemoryError(FULL)


class LargeInTheSecond(Altered):
    """Where the step is recorded."""

    replayable = True

    def apply(self, x, train):
        self.calls[0] += 1
        if self.calls[0] > 2:
            raise OutOfMemoryError(FULL)
        return super().apply(x, train)


@pytest.mark.parametrize("name", ["numpy", "standin"])
@pytest.mark.parametrize("replayable", [True, False])
@pytest.mark.filterwarnings("ignore:each operation:RuntimeWarning")
def test_a_step_says_so(name, replayable, monkeypatch):
    monkeypatch.setattr(Large, "replayable", replayable, raising=False)
    gan = build(d_layers=[Large()]).to(name)
    real = get_ops(name).from_host(np.zeros((4, 5), dtype=np.float32))
    with enabled():
        step = stepper(gan)
        with pytest.raises((BackendError, OutOfMemoryError)) as caught:
            step(real)
    if name == "standin":
        assert "3,072 MB more were asked for. Use a smaller batch" in str(caught.value)
        assert isinstance(caught.value.__cause__, OutOfMemoryError)
    else:
        assert caught.type is OutOfMemoryError
    assert gan.t == 0


def test_a_full_gpu_while_a_step_is_recorded_is_said_too():
    """The step goes on without a graph; if it does not fit then either, that is the line."""
    gan = build(d_layers=[LargeInTheSecond()]).to("standin")
    real = get_ops("standin").from_host(np.zeros((4, 5), dtype=np.float32))
    with enabled():
        step = stepper(gan)
        step(real)
        with pytest.warns(RuntimeWarning, match="cannot be recorded: Out of memory"), pytest.raises(BackendError):
            step(real)
    assert gan.t == 1
