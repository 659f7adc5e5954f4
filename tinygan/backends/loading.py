"""Finding CuPy and a GPU, and saying in one line, with the remedy, what is missing.

Nothing here imports CuPy until somebody asks for it; then one kernel and one product are tried out.
"""

from __future__ import annotations

import re
from textwrap import shorten

import numpy as np

from ..errors import BackendError
from ..ops import Array, Ops, get_ops, ops_of, register

PRECISIONS = "fp32", "tf32"  #: of the products of float32 matrices on a GPU, see :func:`set_precision`
LEAST_FREE = 256 << 20  #: bytes of GPU memory; where fewer are free, not even the small networks train


def best_backend() -> tuple[Ops, str]:
    """Return the GPU's backend if a kernel really runs there, else NumPy's; and one line that says which, and why."""
    try:
        gpu = get_ops("cupy")
    except BackendError as error:
        return get_ops("numpy"), f"backend auto: the CPU, since {error}"
    return gpu, f"backend auto: {gpu.device}"


def device_of(x: Array) -> str:
    """Say what computes with ``x``, and how exactly: ``"the CPU"``, or ``"NVIDIA H200, 140 GB, fp32"``."""
    backend = ops_of(x)
    if backend.name == "numpy":
        return backend.device
    return f"{backend.device or backend.name}, {_precision if x.dtype == np.float32 else x.dtype}"


# ---- the precision of products -------------------------------------------------------------------------------------

_precision = "fp32"


def precision() -> str:
    """How products of float32 matrices are computed on a GPU: ``"fp32"`` or ``"tf32"``."""
    return _precision


def set_precision(name: str, backend: str | Ops = "cupy") -> None:
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
    if not isinstance(name, str) or name not in PRECISIONS:
        raise BackendError(f"unknown precision {name!r}; there are: {', '.join(PRECISIONS)}.")
    if name == "tf32" and not getattr(ops := get_ops(backend), "tf32", False):
        raise BackendError(
            f"precision 'tf32' is a mode of the matrix units of NVIDIA GPUs since Ampere; backend {ops.name!r} "
            f"({ops.device or 'unknown'}) has none. Use precision 'fp32' (--precision fp32), or such a GPU."
        )
    _precision = name


def out_of_memory(error: BaseException, backend: Ops) -> BackendError | None:
    """Say in one line that a device's memory is full, if that is what ``error`` means; else return None."""
    if backend.name == "numpy" or not (isinstance(error, MemoryError) or "cudaErrorMemoryAllocation" in str(error)):
        return None
    asked = re.search(r"allocating ([\d,]+) bytes", str(error))
    more = f" {_amount(int(asked.group(1).replace(',', '')))} more were asked for" if asked else " more was asked for"
    ask = getattr(backend, "free_memory", None)
    free = f", and {_amount(ask())} are free" if ask else ""
    return BackendError(
        f"the memory of the GPU ({backend.device or backend.name}) is full:{more}{free}. Use a smaller batch "
        "(--batch-size), a narrower network (--width), or end what else holds its memory (nvidia-smi lists it)."
    )


def _amount(n: int) -> str:
    return f"{n / 2**20:,.0f} MB" if n < 10 * 2**30 else f"{n / 2**30:,.1f} GB"


# ---- CuPy ----------------------------------------------------------------------------------------------------------


def load_cupy() -> Ops:
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
    from .cuda import CudaOps, cublas

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
            cublas.try_out(x)
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
    return register(CudaOps(cupy, device, tf32=about["major"] >= 8, free_memory=free_memory))


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
