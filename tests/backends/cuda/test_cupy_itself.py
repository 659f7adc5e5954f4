"""CuPy itself, where it is installed, has what the engine asks it for. No GPU is needed, so nothing is called."""

from __future__ import annotations

import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # without a GPU or all of CUDA's libraries it has things to say
    cupy = pytest.importorskip("cupy", exc_type=ImportError)

from tinygan.backends.cuda import cublas
from tinygan.parallel import mpi

USED = {
    "cupy": "RawModule arange asarray ascontiguousarray asnumpy empty empty_like get_default_memory_pool ndarray stack",
    "cupy.cuda": "Event Memory MemoryPointer MemoryPool Stream get_current_stream runtime using_allocator",
    "cupy.cuda.runtime": "CUDARuntimeError deviceGetPCIBusId getDevice getDeviceCount getDeviceProperties memGetInfo "
    "runtimeGetVersion",
    "cupy.cuda.Stream": "begin_capture end_capture is_capturing wait_event",
    "cupy.cuda.Event": "record synchronize",
    "cupy.cuda.MemoryPool": "malloc",
    "cupy.cuda.MemoryPointer": "copy_from_host_async ptr",
    "cupy.RawModule": "get_function",
    "cupy.cuda.Graph": "launch",
}


@pytest.mark.parametrize("owner", USED)
def test_what_is_used_is_there(owner):
    owned = cupy
    for name in owner.split(".")[1:]:
        owned = getattr(owned, name, None) or getattr(cupy.cuda.graph, name)
    assert not [name for name in USED[owner].split() if not hasattr(owned, name)]


def test_its_arrays_are_recognised_by_their_module():
    assert cupy.ndarray.__module__.split(".")[0] == "cupy"


def test_pinned_memory_is_there():
    from cupyx import empty_pinned

    assert callable(empty_pinned)


def test_nccl_is_a_module_that_says_whether_it_is_available(monkeypatch):
    """Where it is, the next thing asked for is the GPU; where there is none, CUDA says so."""
    monkeypatch.setattr(cupy.cuda, "runtime", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            assert mpi.Nccl.whose() is None
        except AttributeError as error:
            assert "'NoneType' object has no attribute" in str(error)  # noqa: PT017 (None is the runtime's place)


def test_cublas_is_loaded_by_name_or_is_missing(monkeypatch):
    """CuPy's part that is linked against cuBLAS is found, unless cuBLAS itself is not."""
    monkeypatch.setattr(cublas, "loaded", lambda: ["in memory"])
    try:
        from cupy.cuda import cublas as linked
    except ImportError as error:
        assert "libcublas" in str(error) or "cublas64" in str(error)  # noqa: PT017
        assert "in memory" not in cublas._candidates()
    else:
        assert hasattr(linked, "sgemm")
        assert next(cublas._candidates()) == "in memory"
