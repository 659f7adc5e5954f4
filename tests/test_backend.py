"""Which module owns an array, how arrays travel, and what is said when they cannot."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygan import backend
from tinygan.backend import backend_of, get_backend, get_xp, to_backend, to_numpy
from tinygan.errors import BackendError, TinyGANError
from tinygan.testing.device import count_syncs, standin, xp


@pytest.fixture
def registry(monkeypatch):
    """A copy of the registered backends, so that a test may register more, or lose CuPy."""
    by_name = {name: known for name, known in backend._backends.items() if name != "cupy"}
    monkeypatch.setattr(backend, "_backends", by_name)
    monkeypatch.setattr(backend, "_by_type", {known.array_type: known for known in by_name.values()})


def test_the_data_decides_which_module_computes(device):
    x, y = device.put(np.ones(3)), device.put(np.zeros((2, 2), dtype=np.float32))
    assert get_xp(x) is get_xp(x, y, x) is device.xp
    assert backend_of(x, y).name == device.name
    assert get_backend(device.name) is get_backend(get_backend(device.name)) is device.backend


@given(host=hnp.arrays(st.sampled_from([np.float32, np.float64, np.int64, np.bool_]), hnp.array_shapes(min_side=0)))
def test_a_round_trip_changes_nothing(device, host):
    there = to_backend(host, device.name)
    back = to_backend(there, "numpy")
    assert isinstance(there, device.backend.array_type)
    assert (back.dtype, back.shape) == (host.dtype, host.shape)
    assert np.array_equal(back, host, equal_nan=host.dtype.kind == "f")
    assert np.array_equal(to_numpy(there), back, equal_nan=host.dtype.kind == "f")
    assert to_backend(there, device.name) is there


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


def test_subclasses_belong_to_their_base_class(tmp_path):
    class Labelled(np.ndarray):
        pass

    on_disk = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(2, 3))
    on_disk[...] = 1
    for x in (on_disk, np.ones(3).view(Labelled)):
        assert backend_of(x, np.ones(3)).name == "numpy"
        assert get_xp(x) is np
        assert to_numpy(to_backend(x, "standin")).sum() == x.sum()


@pytest.mark.parametrize("thing", [[1.0, 2.0], 1.0, np.float32(1), None, "numpy", np.ndarray], ids=repr)
def test_what_is_no_array_is_refused(thing):
    for function in (get_xp, to_numpy, lambda x: to_backend(x, "standin"), lambda x: get_xp(np.ones(2), x)):
        with pytest.raises(BackendError, match=rf"expected an array, got {type(thing).__name__}\. Wrap it"):
            function(thing)


@pytest.mark.parametrize("name", ["torch", "", "NumPy", "gpu"])
def test_an_unknown_backend_is_named_with_those_there_are(name):
    with pytest.raises(BackendError, match=rf"unknown backend {name!r}.*cupy, numpy"):
        get_backend(name)


def test_other_libraries_can_be_registered(registry):
    class Array:
        def __init__(self, host):
            self.host = host

    other = backend.register(backend.Backend("other", SimpleNamespace(), Array, Array, lambda a: a.host))
    x = to_backend(np.ones(2), "other")
    assert isinstance(x, Array)
    assert backend_of(x) is other is get_backend("other")
    assert to_backend(x, "standin").tolist() == [1, 1]
    with pytest.raises(BackendError, match="cupy, numpy, other, standin"):
        get_backend("another")


# ---- CuPy, present and absent ----------------------------------------------------------------------------------------


class FakeArray:
    """What a fake CuPy computes with: enough for one kernel, which may fail."""

    def __init__(self, host, failure=None):
        self.host, self.failure = np.asarray(host), failure

    def __add__(self, other):
        if self.failure:
            raise self.failure
        return FakeArray(self.host + other)

    def sum(self):
        return self.host.sum()


def fake_cupy(devices=1, driver_failure=None, kernel_failure=None):
    def device_count():
        if driver_failure:
            raise driver_failure
        return devices

    return SimpleNamespace(
        cuda=SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=device_count)),
        ndarray=FakeArray,
        float32=np.float32,
        arange=lambda n, dtype: FakeArray(np.arange(n, dtype=dtype), kernel_failure),
        asarray=FakeArray,
        asnumpy=lambda a: a.host,
    )


CASES = {
    "no package": (None, ["needs the package CuPy", "pip install 'tinygan[cuda12]'", "'tinygan[cuda13]'"]),
    "no driver": (
        fake_cupy(driver_failure=RuntimeError("cudaErrorNoDevice")),
        ["no usable NVIDIA driver", "nvidia-smi", "backend 'numpy'", "cudaErrorNoDevice"],
    ),
    "no library": (fake_cupy(driver_failure=OSError("libcuda.so")), ["no usable NVIDIA driver", "libcuda.so"]),
    "no GPU": (fake_cupy(devices=0), ["reports no GPU", "CUDA_VISIBLE_DEVICES"]),
    "wrong CUDA": (
        fake_cupy(
            kernel_failure=RuntimeError("=====\nnvrtc: invalid value for --gpu-architecture\n=====\n" + 99 * "log\n")
        ),
        ["a kernel does not run", "another CUDA version", "cuda12", "cuda13", "gpu-architecture"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_missing_gpu_is_explained_in_one_line(case, registry, monkeypatch):
    module, parts = CASES[case]
    monkeypatch.setitem(sys.modules, "cupy", module)
    for attempt in (lambda: get_backend("cupy"), lambda: to_backend(np.ones(2), "cupy")):
        with pytest.raises(BackendError) as caught:
            attempt()
        message = str(caught.value)
        assert message.startswith("backend 'cupy'")
        assert "\n" not in message
        assert len(message) < 450
        assert all(part in message for part in parts), message
        assert caught.value.__cause__ is not None or case == "no GPU"
    assert "cupy" not in backend._backends  # nothing half-loaded stays behind


def test_a_working_cupy_is_registered_once(registry, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy())
    x = to_backend(np.ones(2), "cupy")
    assert isinstance(x, FakeArray)
    assert get_backend("cupy") is get_backend("cupy") is backend_of(x)
    assert to_backend(x, "standin").tolist() == [1, 1]
    with pytest.raises(BackendError, match="cupy and numpy arrays are mixed"):
        get_xp(x, np.ones(2))


def test_arrays_of_a_cupy_that_somebody_else_imported_are_recognised(registry, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy())
    assert backend_of(FakeArray([1.0])).name == "cupy"
    assert get_xp(np.ones(2)) is np


@pytest.mark.parametrize("stub", [None, SimpleNamespace()])
def test_a_blocked_or_broken_cupy_module_does_no_harm_to_others(registry, monkeypatch, stub):
    monkeypatch.setitem(sys.modules, "cupy", stub)
    with pytest.raises(BackendError, match="expected an array"):
        get_xp([1.0])


def test_nothing_imports_cupy_until_it_is_asked_for():
    code = "import sys, numpy, tinygan.backend as b; b.get_xp(numpy.ones(2)); print('cupy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
