"""Which module owns an array, how arrays travel, and what is said when they cannot."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import spec_from_loader
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygan import ops
from tinygan.backends import (
    best_backend,
    device_of,
    get_ops,
    get_xp,
    loading,
    ops_of,
    precision,
    set_precision,
    to_backend,
    to_numpy,
)
from tinygan.backends.cuda import CudaOps, cublas
from tinygan.errors import BackendError, TinyGANError
from tinygan.testing.device import count_syncs, standin, xp


@pytest.fixture
def registry(monkeypatch):
    """A copy of the registered backends, so that a test may register more, or lose CuPy."""
    by_name = {name: known for name, known in ops._by_name.items() if name != "cupy"}
    monkeypatch.setattr(ops, "_by_name", by_name)
    monkeypatch.setattr(ops, "_by_type", {known.array_type: known for known in by_name.values()})


def test_the_data_decides_which_module_computes(device):
    x, y = device.put(np.ones(3)), device.put(np.zeros((2, 2), dtype=np.float32))
    assert get_xp(x) is get_xp(x, y, x) is device.xp
    assert ops_of(x, y).name == device.name
    assert get_ops(device.name) is get_ops(get_ops(device.name)) is device.backend


@given(host=hnp.arrays(st.sampled_from([np.float32, np.float64, np.int64, np.bool_]), hnp.array_shapes(min_side=0)))
def test_a_round_trip_changes_nothing(device, host):
    placed = to_backend(host, device.name)
    back = to_backend(placed, "numpy")
    assert isinstance(placed, device.backend.array_type)
    assert (back.dtype, back.shape) == (host.dtype, host.shape)
    assert np.array_equal(back, host, equal_nan=host.dtype.kind == "f")
    assert np.array_equal(to_numpy(placed), back, equal_nan=host.dtype.kind == "f")
    assert to_backend(placed, device.name) is placed


@pytest.mark.parametrize("layout", [lambda a: a.T, lambda a: a[::2, 1:], lambda a: a[:, ::-1], lambda a: a[0, 0, None]])
def test_layouts_survive_the_journey(device, layout):
    host = layout(np.arange(12.0).reshape(3, 4))
    assert np.array_equal(to_numpy(to_backend(host, device.name)), host)
    assert np.array_equal(device.get(layout(device.put(np.arange(12.0).reshape(3, 4)))), host)


def test_only_leaving_the_device_makes_the_host_wait():
    with count_syncs() as syncs:
        x = to_backend(np.ones(3), "standin")
        to_backend(x, standin)
        assert syncs.count == 0
        to_numpy(x)
        assert syncs.count == 1


@pytest.mark.parametrize("order", [1, -1])
def test_mixing_is_an_error_that_says_how_to_mend_it(order):
    arrays = [np.ones(2), xp.ones(2), xp.ones(3)][::order]
    with pytest.raises(BackendError) as caught:
        get_xp(*arrays)
    for part in ("numpy and standin arrays are mixed", "to_backend(x, name)", "network.to(name)"):
        assert part in str(caught.value)
    assert isinstance(caught.value, (TinyGANError, RuntimeError))


def test_subclasses_become_plain(tmp_path):
    class Labelled(np.ndarray):
        pass

    on_disk = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(2, 3))
    on_disk[...] = 1
    for x in (on_disk, np.ones(3).view(Labelled)):
        with pytest.raises(BackendError, match="expected an array, got"):  # plain arrays compute; as_array makes them
            ops_of(x)
        assert type(to_numpy(x)) is np.ndarray
        assert to_numpy(to_backend(x, "standin")).sum() == x.sum()


@pytest.mark.parametrize("thing", [[1.0, 2.0], 1.0, np.float32(1), None, "numpy", np.ndarray], ids=repr)
def test_what_is_no_array_is_refused(thing):
    for function in (get_xp, to_numpy, lambda x: to_backend(x, "standin"), lambda x: get_xp(np.ones(2), x)):
        with pytest.raises(BackendError, match=rf"expected an array, got {type(thing).__name__}\. Wrap it"):
            function(thing)


@pytest.mark.parametrize("name", ["torch", "", "NumPy", "gpu"])
def test_an_unknown_backend_is_named_with_those_there_are(name):
    with pytest.raises(BackendError, match=rf"unknown backend {name!r}.*cupy, numpy.*'auto'"):
        get_ops(name)


def test_other_libraries_can_be_registered(registry):
    class Array:
        def __init__(self, host):
            self.host = host

    class Other(ops.Ops):
        name, xp, array_type = "other", SimpleNamespace(), Array

        def from_host(self, x):
            return Array(x)

        def to_host(self, x):
            return x.host

    other = ops.register(Other())
    x = to_backend(np.ones(2), "other")
    assert isinstance(x, Array)
    assert ops_of(x) is other is get_ops("other")
    assert to_backend(x, "standin").tolist() == [1, 1]
    with pytest.raises(BackendError, match="cupy, numpy, other, standin"):
        get_ops("another")


# ---- CuPy, present and absent ----------------------------------------------------------------------------------------


class FakeArray:
    """What a fake CuPy computes with: enough for one kernel and one product, which may fail."""

    def __init__(self, host, kernel_failure=None, product_failure=None):
        self.host, self.failures = np.asarray(host), (kernel_failure, product_failure)

    dtype = property(lambda self: self.host.dtype)

    def _after(self, failure, host):
        if failure:
            raise failure
        return FakeArray(host, *self.failures)

    def reshape(self, *shape):
        return FakeArray(self.host.reshape(shape), *self.failures)

    def __add__(self, other):
        return self._after(self.failures[0], self.host + other)

    def __matmul__(self, other):
        return self._after(self.failures[1], self.host @ other.host)

    def sum(self):
        return self.host.sum()


def fake_cupy(
    devices=1,
    driver_failure=None,
    memory_failure=None,
    kernel_failure=None,
    product_failure=None,
    free=8 << 30,
    major=9,
):
    def unless(failure, value):
        if failure:
            raise failure
        return value

    runtime = SimpleNamespace(
        getDeviceCount=lambda: unless(driver_failure, devices),
        getDevice=lambda: 0,
        memGetInfo=lambda: unless(memory_failure, (free, 140 << 30)),
        getDeviceProperties=lambda i: {"name": b"NVIDIA H200", "major": major},
    )
    return SimpleNamespace(
        cuda=SimpleNamespace(runtime=runtime),
        ndarray=FakeArray,
        float32=np.float32,
        arange=lambda n, dtype: FakeArray(np.arange(n, dtype=dtype), kernel_failure, product_failure),
        asarray=FakeArray,
        asnumpy=lambda a: a.host,
        get_default_memory_pool=lambda: SimpleNamespace(free_bytes=lambda: 5),
    )


class Unloadable(ModuleType):
    """A module that is found, but refuses to be imported as CuPy does where its libraries do not fit."""

    def find_spec(self, name, path=None, target=None):
        return spec_from_loader(name, self) if name == "cupy" else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        raise ImportError("CuPy is not correctly installed: numpy.core.multiarray failed to import")


NO_FILE = "cannot open shared object file: No such file or directory"
CASES = {  # the words of the causes are those of CuPy 13.6 and 14.2
    "no package": (None, ["the package CuPy is missing", "pip install 'tinygan[cuda12]'", "'tinygan[cuda13]'"]),
    "broken package": (
        Unloadable("loader"),
        ["cannot be imported", "Remove every cupy package", "pip install 'tinygan[cuda12]'", "not correctly installed"],
    ),
    "no driver": (
        fake_cupy(
            driver_failure=RuntimeError(
                "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
            )
        ),
        ["no usable NVIDIA driver", "nvidia-smi", "backend 'numpy'", "cudaErrorInsufficientDriver"],
    ),
    "no library": (fake_cupy(driver_failure=OSError("libcuda.so")), ["no usable NVIDIA driver", "libcuda.so"]),
    "no GPU": (fake_cupy(devices=0), ["reports no GPU", "CUDA_VISIBLE_DEVICES", "backend 'numpy'"]),
    "a hidden GPU": (
        fake_cupy(driver_failure=RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")),
        ["reports no GPU", "CUDA_VISIBLE_DEVICES", "cudaErrorNoDevice"],
    ),
    "no NVRTC": (
        fake_cupy(kernel_failure=RuntimeError('Failure finding "libnvrtc.so.13 or libnvrtc.so.12": No such file')),
        ["compiler NVRTC is not found", "pip install 'cupy-cuda12x[ctk]'", "nvidia-cuda-nvrtc-cu12", "libnvrtc.so.12"],
    ),
    "no NVRTC, as CuPy 13 says it": (
        fake_cupy(
            kernel_failure=RuntimeError(f"CuPy failed to load libnvrtc.so.12: OSError: libnvrtc.so.12: {NO_FILE}")
        ),
        ["compiler NVRTC is not found", "pip install 'cupy-cuda12x[ctk]'", "nvidia-cuda-nvrtc-cu12"],
    ),
    "no headers": (
        fake_cupy(
            kernel_failure=RuntimeError(
                '/include/cupy/cuda_fp16.h(129): catastrophic error: cannot open source file "vector_types.h"'
            )
        ),
        ["CUDA's header files is not found", "pip install 'cupy-cuda12x[ctk]'", "nvidia-cuda-runtime-cu12"],
    ),
    "no cuBLAS": (
        fake_cupy(product_failure=ImportError(f"libcublas.so.12: {NO_FILE}")),
        ["a library of the CUDA toolkit is not found", "'cupy-cuda13x[ctk]'", "nvidia-cublas-cu12", "libcublas.so.12"],
    ),
    "wrong CUDA": (
        fake_cupy(
            kernel_failure=RuntimeError("=====\nnvrtc: invalid value for --gpu-architecture\n=====\n" + 99 * "log\n")
        ),
        ["a kernel does not run", "another CUDA version", "cuda12", "cuda13", "gpu-architecture"],
    ),
    "little memory": (
        fake_cupy(free=100 << 20),
        ["only 100 of 143360 MB of the GPU's memory are free", "nvidia-smi", "CUDA_VISIBLE_DEVICES", "'numpy'"],
    ),
    "no memory at all": (
        fake_cupy(memory_failure=RuntimeError("cudaErrorMemoryAllocation: out of memory")),
        ["the GPU's memory is full", "nvidia-smi", "backend 'numpy'", "cudaErrorMemoryAllocation"],
    ),
    "no memory for an array": (
        fake_cupy(kernel_failure=MemoryError("Out of memory allocating 512 bytes")),
        ["the GPU's memory is full", "allocating 512 bytes"],
    ),
}
WITHOUT_CAUSE = {"no GPU", "little memory"}


@pytest.fixture
def install(registry, monkeypatch):
    """A function that puts a fake in CuPy's place."""

    def put(module):
        if isinstance(module, Unloadable):
            monkeypatch.delitem(sys.modules, "cupy", raising=False)
            monkeypatch.setattr(sys, "meta_path", [module, *sys.meta_path])
        else:
            monkeypatch.setitem(sys.modules, "cupy", module)

    monkeypatch.setattr(cublas, "try_out", lambda x: None)  # which needs more of CuPy than these fakes have
    return put


@pytest.mark.parametrize("case", CASES)
def test_a_missing_gpu_is_explained_in_one_line(case, install):
    module, words = CASES[case]
    install(module)
    for attempt in (lambda: get_ops("cupy"), lambda: to_backend(np.ones(2), "cupy")):
        with pytest.raises(BackendError) as caught:
            attempt()
        message = str(caught.value)
        assert message.startswith("backend 'cupy'")
        assert "\n" not in message
        assert len(message) < 450
        assert all(part in message for part in words), message
        assert caught.value.__cause__ is not None or case in WITHOUT_CAUSE
    assert "cupy" not in ops._by_name  # nothing half-loaded stays behind


@pytest.mark.parametrize("case", CASES)
def test_auto_is_the_cpu_where_no_kernel_runs_and_says_why(case, install):
    module, words = CASES[case]
    install(module)
    taken, message = best_backend()
    assert taken is get_ops("auto") is get_ops("numpy")
    assert message.startswith("backend auto: the CPU, since backend 'cupy'")
    assert all(part in message for part in words), message
    assert "\n" not in message


def test_auto_is_the_cpu_where_our_own_products_do_not_run(install, monkeypatch):
    """CuPy's product alone does not tell: ours look for cuBLAS by themselves."""
    install(fake_cupy())
    monkeypatch.setattr(cublas, "try_out", lambda x: cublas.load())
    monkeypatch.setattr(cublas, "_candidates", lambda: ["libno-such-cublas.so.99"])
    cublas.load.cache_clear()
    taken, message = best_backend()
    cublas.load.cache_clear()
    assert taken is get_ops("numpy")
    assert message.startswith(
        "backend auto: the CPU, since backend 'cupy': cuBLAS is not found. pip install nvidia-cublas"
    )
    assert "\n" not in message


def test_our_own_product_is_among_what_a_gpu_must_do(install, monkeypatch):
    tried = []
    install(fake_cupy())
    monkeypatch.setattr(cublas, "try_out", tried.append)
    get_ops("cupy")
    assert [type(x) for x in tried] == [FakeArray]


def test_a_gpu_has_the_operations_of_a_gpu(install):
    install(fake_cupy())
    gpu = get_ops("cupy")
    assert type(gpu) is CudaOps
    assert (gpu.device, gpu.tf32, gpu.array_type) == ("NVIDIA H200, 140 GB", True, FakeArray)


def test_auto_is_the_gpu_where_a_kernel_runs_and_names_it(install):
    install(fake_cupy())
    taken, message = best_backend()
    assert taken is get_ops("auto") is get_ops("cupy")
    assert message == "backend auto: NVIDIA H200, 140 GB"
    assert taken.free_memory() == (8 << 30) + 5, "what CuPy's pool has to give counts too"


def test_a_working_cupy_is_registered_once(install):
    install(fake_cupy())
    x = to_backend(np.ones(2), "cupy")
    assert isinstance(x, FakeArray)
    assert get_ops("cupy") is get_ops("cupy") is ops_of(x)
    assert to_backend(x, "standin").tolist() == [1, 1]
    with pytest.raises(BackendError, match="cupy and numpy arrays are mixed"):
        get_xp(x, np.ones(2))


def test_arrays_of_a_cupy_that_somebody_else_imported_are_recognised(install, monkeypatch):
    install(fake_cupy())
    monkeypatch.setattr(FakeArray, "__module__", "cupy._core")
    assert ops_of(FakeArray([1.0])).name == "cupy"
    assert get_xp(np.ones(2)) is np


# ---- what computes, and how exactly --------------------------------------------------------------------------------


@pytest.fixture
def fp32(monkeypatch):
    """Whatever a test sets, the next one begins with fp32."""
    monkeypatch.setattr(loading, "_precision", "fp32")


def test_precision_is_fp32_until_another_is_asked_for(install, fp32):
    install(fake_cupy())
    assert precision() == "fp32"
    x = to_backend(np.ones(2, dtype=np.float32), "cupy")
    assert device_of(x) == "NVIDIA H200, 140 GB, fp32"
    set_precision("tf32")
    assert precision() == "tf32"
    assert device_of(x) == "NVIDIA H200, 140 GB, tf32"
    assert device_of(to_backend(np.ones(2), "cupy")) == "NVIDIA H200, 140 GB, float64", "no product of float32"
    assert device_of(np.ones(2, dtype=np.float32)) == "the CPU"
    set_precision("fp32", "numpy")
    assert precision() == "fp32"


def test_the_stand_in_is_named_as_such():
    assert device_of(xp.ones(2)) == "a stand-in for a GPU, float64"


@pytest.mark.parametrize(
    ("name", "where", "message"),
    [
        (
            "tf32",
            "numpy",
            r"'tf32' is a mode of .* NVIDIA GPUs.*backend 'numpy' \(the CPU\) has none.*--precision fp32",
        ),
        ("tf32", "standin", "backend 'standin'.* has none"),
        ("tf32", "cupy", r"backend 'cupy' \(NVIDIA H200, 140 GB\) has none"),
        ("fp16", "cupy", "unknown precision 'fp16'; there are: fp32, tf32"),
        ("", "numpy", "unknown precision ''"),
    ],
)
def test_a_precision_that_there_is_not_is_refused(name, where, message, install, fp32):
    install(fake_cupy(major=7))  # Volta and Turing
    with pytest.raises(BackendError, match=message):
        set_precision(name, where)
    assert precision() == "fp32"


def test_tf32_without_a_gpu_says_what_the_gpu_lacks(install, fp32):
    install(None)
    with pytest.raises(BackendError, match="the package CuPy is missing"):
        set_precision("tf32")


@pytest.mark.parametrize("stub", [None, SimpleNamespace()])
def test_a_blocked_or_broken_cupy_module_does_no_harm_to_others(registry, monkeypatch, stub):
    monkeypatch.setitem(sys.modules, "cupy", stub)
    with pytest.raises(BackendError, match="expected an array"):
        get_xp([1.0])


def test_nothing_imports_cupy_until_it_is_asked_for():
    code = "import sys, numpy, tinygan.backends as b; b.get_xp(numpy.ones(2)); print('cupy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
