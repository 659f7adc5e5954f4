"""Which module owns an array, how arrays travel between host and device, and what device that is.

The data decides: a layer asks :func:`get_xp` for the module (``numpy`` or ``cupy``) that owns its input and calls the
functions of that module, so the same lines run on both. Nothing here imports CuPy until somebody asks for it; then one
kernel and one product are tried out, so that what is missing is said at once, in one line, with the remedy.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import shorten
from types import ModuleType
from typing import Any

import numpy as np

from .errors import BackendError

Array = Any  #: a numpy.ndarray, a cupy.ndarray, or the array of another registered backend

PRECISIONS = "fp32", "tf32"  #: of the products of float32 matrices on a GPU, see :func:`set_precision`
LEAST_FREE = 256 << 20  #: bytes of GPU memory; where fewer are free, not even the small networks train


@dataclass(frozen=True)
class Backend:
    """One array library, as the rest of tinygan sees it.

    Attributes
    ----------
    name : what users type: ``"numpy"``, ``"cupy"``.
    xp : the module of functions, ``numpy`` itself or one that follows it.
    array_type : the class of its arrays.
    from_host : copies a NumPy array to the device.
    to_host : copies a device array to NumPy, waiting for it to be finished.
    device : what computes, for people: ``"NVIDIA H200, 140 GB"``.
    tf32 : whether it has the matrix units of :func:`set_precision`.
    free_memory : tells how many bytes of the device's memory are free; None if they are the host's.
    """

    name: str
    xp: ModuleType | Any
    array_type: type
    from_host: Callable[[np.ndarray], Array]
    to_host: Callable[[Array], np.ndarray]
    device: str = ""
    tf32: bool = False
    free_memory: Callable[[], int] | None = None


#: What else must work on the GPU before CuPy counts as usable: called with a float32 (2, 2), by those who rely on it
#: (:mod:`tinygan.kernels.cublas`); the BackendError that one raises says what is missing.
NEEDED: list[Callable[[Array], None]] = []

_backends: dict[str, Backend] = {"numpy": Backend("numpy", np, np.ndarray, np.asarray, np.asarray, "the CPU")}
_by_type: dict[type, Backend] = {np.ndarray: _backends["numpy"]}


def register(backend: Backend) -> Backend:
    """Make another array library known, such as the stand-in device of :mod:`tinygan.testing.device`."""
    _backends[backend.name] = backend
    _by_type[backend.array_type] = backend
    return backend


def in_use(name: str) -> bool:
    """Whether the backend called ``name`` has been loaded, and so its device been asked for something."""
    return name in _backends


def backend_of(*arrays: Array) -> Backend:
    """Return the one backend that owns all ``arrays``.

    Raises
    ------
    BackendError
        The arrays belong to different backends, or one is no array at all.
    """
    kinds = set(map(type, arrays))
    if len(kinds) == 1:  # nearly always, and asked a hundred times a step
        return _by_type.get(kinds.pop()) or _backend_of_unseen(arrays[0])
    found = [_by_type.get(type(a)) or _backend_of_unseen(a) for a in arrays]
    if any(b is not found[0] for b in found):
        names = " and ".join(sorted({b.name for b in found}))
        raise BackendError(
            f"{names} arrays are mixed. Move the data with tinygan.backend.to_backend(x, name) "
            f"or the network with network.to(name), so that both live in the same place."
        )
    return found[0]


def get_xp(*arrays: Array) -> Any:
    """Return the module that owns ``arrays``: ``numpy`` for NumPy arrays, ``cupy`` for CuPy arrays."""
    return backend_of(*arrays).xp


def get_backend(name: str | Backend) -> Backend:
    """Return the backend called ``name``, importing and trying it if this is its first use.

    ``"auto"`` is the GPU if a kernel really runs there, else NumPy: see :func:`best_backend`.

    Raises
    ------
    BackendError
        There is none of that name, or it cannot run here; the message says whether the package, the driver, a part of
        CUDA, the GPU or its memory is missing, and what to do.
    """
    if isinstance(name, Backend):
        return name
    if name == "auto":
        return best_backend()[0]
    if name not in _backends:
        if name != "cupy":
            known = ", ".join(sorted({*_backends, "cupy"}))
            raise BackendError(f"unknown backend {name!r}; there are: {known}, or 'auto' for the best of them.")
        register(_load_cupy())
    return _backends[name]


def best_backend() -> tuple[Backend, str]:
    """Return the GPU's backend if a kernel really runs there, else NumPy's; and one line that says which, and why."""
    try:
        gpu = get_backend("cupy")
    except BackendError as error:
        return _backends["numpy"], f"backend auto: the CPU, since {error}"
    return gpu, f"backend auto: {gpu.device}"


def to_backend(x: Array, name: str | Backend) -> Array:
    """Copy ``x`` to the backend called ``name``; an array that is there already is returned as it is."""
    target, source = get_backend(name), backend_of(x)
    return x if target is source else target.from_host(source.to_host(x))


def to_numpy(x: Array) -> np.ndarray:
    """Return ``x`` as a NumPy array, waiting for the device if it lives on one."""
    return backend_of(x).to_host(x)


def device_of(x: Array) -> str:
    """Say what computes with ``x``, and how exactly: ``"the CPU"``, or ``"NVIDIA H200, 140 GB, fp32"``."""
    backend = backend_of(x)
    if backend.name == "numpy":
        return backend.device
    return f"{backend.device or backend.name}, {_precision if x.dtype == np.float32 else x.dtype}"


# ---- the precision of products -------------------------------------------------------------------------------------

_precision = "fp32"


def precision() -> str:
    """How products of float32 matrices are computed on a GPU: ``"fp32"`` or ``"tf32"``."""
    return _precision


def set_precision(name: str, backend: str | Backend = "cupy") -> None:
    """Choose how ``backend`` computes products of float32 matrices, in the whole process, from the next step on.

    ``"fp32"`` keeps all 24 bits of every factor. ``"tf32"`` keeps 11, a relative error of up to 1e-3 each, and so can
    use the matrix units of a GPU, which are several times as fast; sums are taken in fp32 all the same.
    Float64, and whatever is no matrix product, is not affected.

    Raises
    ------
    BackendError
        There is no precision of that name, or ``"tf32"`` is asked of a backend that has no such units or is not there.
    """
    global _precision
    if name not in PRECISIONS:
        raise BackendError(f"unknown precision {name!r}; there are: {', '.join(PRECISIONS)}.")
    if name == "tf32" and not (there := get_backend(backend)).tf32:
        raise BackendError(
            f"precision 'tf32' is a mode of the matrix units of NVIDIA GPUs since Ampere; backend {there.name!r} "
            f"({there.device or 'unknown'}) has none. Use precision 'fp32' (--precision fp32), or such a GPU."
        )
    _precision = name


def out_of_memory(error: BaseException, backend: Backend) -> BackendError | None:
    """Say in one line that a device's memory is full, if that is what ``error`` means; else return None."""
    if backend.name == "numpy" or not (isinstance(error, MemoryError) or "cudaErrorMemoryAllocation" in str(error)):
        return None
    asked = re.search(r"allocating ([\d,]+) bytes", str(error))
    more = f" {_amount(int(asked.group(1).replace(',', '')))} more were asked for" if asked else " more was asked for"
    free = f", and {_amount(backend.free_memory())} are free" if backend.free_memory else ""
    return BackendError(
        f"the memory of the GPU ({backend.device or backend.name}) is full:{more}{free}. Use a smaller batch "
        "(--batch-size), a narrower network (--width), or end what else holds its memory (nvidia-smi lists it)."
    )


def _amount(n: int) -> str:
    return f"{n / 2**20:,.0f} MB" if n < 10 * 2**30 else f"{n / 2**30:,.1f} GB"


# ---- CuPy ----------------------------------------------------------------------------------------------------------


def _backend_of_unseen(x: object) -> Backend:
    """Find the owner of an array type met for the first time: a subclass, or CuPy's if imported elsewhere."""
    cupy = sys.modules.get("cupy")
    if cupy is not None and "cupy" not in _backends and isinstance(x, getattr(cupy, "ndarray", ())):
        return get_backend("cupy")
    for backend in _backends.values():
        if isinstance(x, backend.array_type):
            return backend
    raise BackendError(f"expected an array, got {type(x).__name__}. Wrap it: numpy.asarray(x, dtype=numpy.float32).")


def _load_cupy() -> Backend:
    """Import CuPy and let the GPU compute a little, so that whatever is missing is found now and said in one line."""
    try:
        import cupy
    except Exception as error:  # not only an ImportError where versions do not fit
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            raise _missing(
                "the package CuPy is missing. Install it for your CUDA version: pip install 'tinygan[cuda12]' or "
                "'tinygan[cuda13]'",
                error,
            ) from error
        raise _missing(
            "CuPy is installed but cannot be imported. Remove every cupy package (pip list shows them), then install "
            "one: pip install 'tinygan[cuda12]' or 'tinygan[cuda13]'",
            error,
        ) from error
    runtime = cupy.cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except Exception as error:  # CUDARuntimeError, or an OSError where a shared library cannot be loaded
        if "cudaErrorNoDevice" in str(error):
            raise _missing(_NO_GPU, error) from error
        raise _missing(
            "CuPy is installed but finds no usable NVIDIA driver. Install or update the driver (nvidia-smi must work), "
            "or use backend 'numpy'",
            error,
        ) from error
    if count == 0:
        raise _missing(_NO_GPU)
    try:
        free, total = runtime.memGetInfo()
        if free >= LEAST_FREE:
            x = cupy.arange(4, dtype=cupy.float32).reshape(2, 2) + 1  # a kernel, which NVRTC compiles
            float((x @ x).sum())  # a product, by cuBLAS
            for attempt in NEEDED:
                attempt(x)
        about = runtime.getDeviceProperties(runtime.getDevice())
    except BackendError as error:
        raise _missing(str(error).rstrip(".")) from error
    except Exception as error:
        raise _missing(_what_failed(error), error) from error
    if free < LEAST_FREE:
        raise _missing(_too_little_memory(f"only {free >> 20} of {total >> 20} MB of the GPU's memory are free"))

    def free_memory() -> int:  # what CuPy keeps for new arrays is free, too
        return runtime.memGetInfo()[0] + cupy.get_default_memory_pool().free_bytes()

    device = f"{about['name'].decode()}, {total / 2**30:.0f} GB"
    return Backend(
        "cupy",
        cupy,
        cupy.ndarray,
        cupy.asarray,
        cupy.asnumpy,
        device,
        tf32=about["major"] >= 8,
        free_memory=free_memory,
    )


_NO_GPU = "the driver is there but reports no GPU. Check nvidia-smi and CUDA_VISIBLE_DEVICES, or use backend 'numpy'"


def _what_failed(error: Exception) -> str:
    """Tell from the words of CuPy, CUDA and the dynamic linker why a GPU that is there did not compute."""
    text = str(error)
    if isinstance(error, MemoryError) or "cudaErrorMemoryAllocation" in text:
        return _too_little_memory("the GPU's memory is full")
    if "cannot open source file" in text:
        part, package = "CUDA's header files", "nvidia-cuda-runtime"
    elif not any(
        sign in text for sign in ("Failure finding", "failed to load", "cannot open shared", "not find module")
    ):
        return (
            "a GPU is there but a kernel does not run on it; most often the CuPy package is for another CUDA version "
            "than the driver's. Try the other of tinygan[cuda12], tinygan[cuda13]"
        )
    elif "nvrtc" in text:
        part, package = "CUDA's run-time compiler NVRTC", "nvidia-cuda-nvrtc"
    else:
        part, package = "a library of the CUDA toolkit", "nvidia-cublas"
    return (
        f"a GPU is there, but {part} is not found. pip install 'cupy-cuda12x[ctk]' (or 'cupy-cuda13x[ctk]') brings all "
        f"that CuPy needs, {package}-cu12 this part alone"
    )


def _too_little_memory(what: str) -> str:
    return (
        f"{what}. End what holds it (nvidia-smi lists it), choose another GPU with CUDA_VISIBLE_DEVICES, or use "
        "backend 'numpy'"
    )


def _missing(text: str, error: Exception | None = None) -> BackendError:
    return BackendError(f"backend 'cupy': {text}{f' ({_in_one_line(error)})' if error else ''}.")


def _in_one_line(error: Exception) -> str:
    """CuPy's messages can be pages long, with rulers; the chained exception keeps them whole."""
    return shorten(str(error).replace("==", ""), 200, placeholder=" ...")
