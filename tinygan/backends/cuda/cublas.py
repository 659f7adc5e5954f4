"""Matrix products on NVIDIA GPUs, by cuBLAS through its C interface.

CuPy calls cuBLAS too, but refuses to while a stream is captured into a graph, and its products add to nothing. Here a
handle of our own is made for each device and stream: the stream is set first, which resets the memory that cuBLAS works
in, and then 32 MiB of that memory, so that cuBLAS allocates nothing later, as captured work must not.

cuBLAS reads matrices column by column, and ours lie row by row: what it sees of A is Aᵀ. So it is asked for

    Cᵀ = Bᵀ Aᵀ      which it reads as the C = A B that we want

and where A or B is a transposed view, it is told to transpose what it sees, and nothing is copied.
"""

from __future__ import annotations

import ctypes
import re
import sys
from functools import cache
from typing import Any, NamedTuple

from ...errors import BackendError, ShapeError
from ...ops import Array, get_xp
from ..loading import precision

WORKSPACE = 32 << 20  # bytes: what cuBLAS recommends for Hopper

# From cublas_api.h and library_types.h
N, T = 0, 1  # cublasOperation_t: as it lies, transposed
REAL = {"float32": 0, "float64": 1}  # cudaDataType_t: CUDA_R_32F, CUDA_R_64F
COMPUTE = {"fp32": 68, "tf32": 77, "float64": 70}  # cublasComputeType_t: 32F, 32F_FAST_TF32, 64F
DEFAULT = -1  # cublasGemmAlgo_t

_P, _I, _S = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
SIGNATURES = {
    "cublasCreate_v2": (ctypes.POINTER(_P),),
    "cublasDestroy_v2": (_P,),
    "cublasSetStream_v2": (_P, _P),
    "cublasSetWorkspace_v2": (_P, _P, _S),
    "cublasGemmEx": (_P, _I, _I, _I, _I, _I, _P, _P, _I, _I, _P, _I, _I, _P, _P, _I, _I, _I, _I),
}


def matmul(a: Array, b: Array, out: Array | None = None, *, add: bool = False) -> Array:
    """Return a @ b, or write it into ``out``, or add it to what is there.

    Parameters
    ----------
    a, b : float32 or float64 (M, K) and (K, N); or (K,) for either, as a row on the left and a column on the right.
        Slices and transposed views cost nothing as long as numbers lie side by side along one of their axes.
    out : (M, N), which shares no memory with a and b.
    add : whether ``out`` keeps what it holds.

    Raises
    ------
    ShapeError
        The shapes do not fit, or a size is beyond 2³¹.
    BackendError
        cuBLAS is not found, or fails.
    """
    if a.ndim == 1 or b.ndim == 1:
        A, B = (a[None] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
        shape = a.shape[: a.ndim - 1] + b.shape[1:]
        return matmul(A, B, out if out is None else out.reshape(len(A), B.shape[1]), add=add).reshape(shape)
    m, k = a.shape
    n = b.shape[1]
    if b.shape[0] != k or (out is not None and out.shape != (m, n)) or a.dtype != b.dtype:
        into = "" if out is None else f" into {out.shape}"
        raise ShapeError(f"matmul: {a.dtype} {a.shape} times {b.dtype} {b.shape}{into} do not fit.")
    if out is None:
        out = get_xp(a, b).empty((m, n), dtype=a.dtype)
    by_columns, ldc = _layout(out)
    if by_columns is None or out.dtype != a.dtype:
        product = matmul(a, b)
        out[...] = out + product if add else product
        return out
    if by_columns:  # out is a transposed view: its transpose lies row by row
        matmul(b.T, a.T, out.T, add=add)
        return out
    if m and n:
        _gemm(_readable(b), _readable(a), out, (n, m, k), ldc, add)
    return out


class Matrix(NamedTuple):
    """How cuBLAS is to read an array: from where, whether transposed, and how far it is from row to row."""

    array: Array  # kept until the product is launched
    operation: int
    ld: int


def _layout(x: Array) -> tuple[bool | None, int]:
    """(False, ld) for a matrix of rows that begin ld numbers apart, (True, ld) for one of columns, (None, 0) if none.

    Along an axis of size 1 a stride means nothing.
    """
    (rows, columns), size = x.shape, x.itemsize
    down, along = (s // size if s % size == 0 else -1 for s in x.strides)
    if (along == 1 or columns == 1) and (rows == 1 or down >= columns):
        return False, max(columns, 1) if rows == 1 else down
    if (down == 1 or rows == 1) and (columns == 1 or along >= rows):
        return True, max(rows, 1) if columns == 1 else along
    return None, 0


def _readable(x: Array) -> Matrix:
    """``x`` as it is, if cuBLAS can read it; else a copy."""
    by_columns, ld = _layout(x)
    if by_columns is None:
        x = get_xp(x).ascontiguousarray(x)
        by_columns, ld = _layout(x)
    return Matrix(x, T if by_columns else N, ld)


def _gemm(left: Matrix, right: Matrix, out: Array, sizes: tuple[int, int, int], ldc: int, add: bool) -> None:
    """out = left · right (+ out), all as cuBLAS sees them."""
    if max(*sizes, left.ld, right.ld, ldc) >= 1 << 31:
        raise ShapeError(f"matmul: sizes {sizes} are beyond what cuBLAS takes. Use a smaller batch.")
    name = str(out.dtype)
    real, compute = REAL[name], COMPUTE[name if name == "float64" else precision()]
    beta = ONE[name] if add else ZERO[name]
    library, handle = _handle()
    a, b = _pointer(left.array), _pointer(right.array)
    status = library.cublasGemmEx(
        handle, left.operation, right.operation, *sizes, ONE[name],
        a, real, left.ld, b, real, right.ld, beta, _pointer(out), real, ldc, compute, DEFAULT,
    )  # fmt: skip
    _check(status, "cublasGemmEx")


def _numbers(value: float) -> dict[str, Any]:
    """Numbers that cuBLAS reads from the host's memory at the call, so that a graph has them inside."""
    return {"float32": ctypes.byref(ctypes.c_float(value)), "float64": ctypes.byref(ctypes.c_double(value))}


ONE, ZERO = _numbers(1.0), _numbers(0.0)


def _pointer(a: Array) -> int:
    data: Any = a.data
    return data.ptr


# ---- the library and its handles -------------------------------------------------------------------------------------

_handles: dict[tuple[int, int], tuple[Any, Any]] = {}  # of each device and stream: the handle, and its memory


def _handle() -> tuple[Any, int]:
    """The library, and the handle of CuPy's current device and stream."""
    cuda = sys.modules["cupy"].cuda
    library, place = load(), (cuda.runtime.getDevice(), cuda.get_current_stream().ptr)
    if place not in _handles:
        handle = ctypes.c_void_p()
        _check(library.cublasCreate_v2(ctypes.byref(handle)), "cublasCreate")
        _check(library.cublasSetStream_v2(handle, place[1]), "cublasSetStream")
        memory = cuda.Memory(WORKSPACE)  # of no pool: it lives as long as the handle
        _check(library.cublasSetWorkspace_v2(handle, memory.ptr, WORKSPACE), "cublasSetWorkspace")
        _handles[place] = handle.value, memory
    return library, _handles[place][0]


def forget(device: int, stream: int) -> None:
    """Give back the handle of a stream that goes, and its memory: another stream may get the same address."""
    handle, _ = _handles.pop((device, stream), (None, None))
    if handle is not None:
        load().cublasDestroy_v2(handle)  # waits for the device; an error would concern nobody any more


def try_out(x: Array) -> None:
    """Multiply one small matrix by itself; BackendError if cuBLAS is not found, or fails."""
    matmul(x, x, x.copy())


def _check(status: int, what: str) -> None:
    if status:
        raise BackendError(
            f"{what} failed with status {status}: {STATUS.get(status, 'see cublasStatus_t in the manual of cuBLAS')}."
        )


STATUS = {
    1: "the GPU or its driver cannot be reached",
    3: "the GPU's memory is full",
    7: "an argument has no meaning",
    13: "a kernel could not run",
    14: "an internal error",
    15: "not supported on this GPU",
}


@cache
def load() -> Any:
    """Load cuBLAS, the very library that CuPy uses, and say how its functions are called.

    Raises
    ------
    BackendError
        It is not found.
    """
    tried = []
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
        except OSError as error:
            tried.append(f"{name}: {error}")
            continue
        for function, arguments in SIGNATURES.items():
            getattr(library, function).argtypes = arguments
            getattr(library, function).restype = ctypes.c_int
        return library
    raise BackendError(
        "cuBLAS is not found. pip install nvidia-cublas-cu12 (or -cu13), as your CuPy is for CUDA 12 or 13, or install "
        f"the CUDA toolkit; tried {'; '.join(tried) or 'nothing'}."
    )


def _candidates():
    """Where cuBLAS may be, the likeliest place first."""
    try:
        from cupy.cuda import cublas as _  # noqa: F401  (no module; linked against it, which is in memory from here on)
    except ImportError:
        pass
    else:
        yield from loaded()
    try:
        major = sys.modules["cupy"].cuda.runtime.runtimeGetVersion() // 1000
    except Exception:  # no CuPy, or no driver
        major = 12
    yield f"cublas64_{major}.dll" if sys.platform == "win32" else f"libcublas.so.{major}"
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        yield load_nvidia_dynamic_lib("cublas").abs_path
    except Exception:  # not installed, which older CuPys do not need; or it has found nothing
        return


def loaded(maps: str = "/proc/self/maps") -> list[str]:
    """Paths of the cuBLAS that this process has in memory, according to Linux."""
    try:
        with open(maps) as lines:
            matches = (re.search(r"\s(/.*/libcublas\.so[.\d]*)$", line.rstrip()) for line in lines)
            return list(dict.fromkeys(match.group(1) for match in matches if match))
    except OSError:  # another system
        return []
