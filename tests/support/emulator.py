"""CUDA kernels on NumPy arrays, without a GPU: their sources go through the C++ compiler, behind ``emulator.h``.

Within ``with emulated():`` the functions of ``tinygan.backends.cuda.kernels`` work on NumPy arrays; within
``with emulated(layers=True):`` whole networks do what they do on a GPU. Each launch

- is done three times, with threads and blocks in ascending, descending and mixed order, which must not matter;
- gives the kernel copies of its arrays with NaN before and behind (of integers: large ones), so that what lies beyond
  an array spoils the result when it is read, and is found changed when it is written; arrays that overlap do so there;
- refuses grids and blocks that a GPU refuses.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygan import ops
from tinygan.backends.cuda import CudaOps, kernels
from tinygan.backends.cuda import launch as cuda

COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
HEADER = Path(__file__).with_name("emulator.h")
MARGIN = 4096  # bytes around each array
LIMITS = (2**31 - 1, 65535, 65535)  # blocks in a grid

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="the emulator needs a C++ compiler")


class EmulationError(AssertionError):
    """A kernel did what a GPU does not forgive."""


@contextmanager
def emulated(edit: Callable[[str], str] | None = None, *, many: int = 1, layers: bool = False) -> Iterator[list[str]]:
    """Run kernels here; yields the list of the names launched so far.

    Parameters
    ----------
    edit : changes the sources, to see that a mistake in them is noticed.
    many : numbers from which on a thread moves 16 bytes at once, far fewer than on a GPU.
    layers : whether layers, losses and optimisers take NumPy arrays for a GPU's, too.
    """
    names: list[str] = []
    numbers = count()

    def launch(name, grid, block, args, dtype, lanes=1):
        names.append(name)
        _launch(name, grid, block, args, dtype, lanes, 2 + next(numbers), edit)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "launch", launch)
        patch.setattr(cuda, "address", lambda a: a.ctypes.data)
        patch.setattr(cuda, "MANY", many)
        patch.setattr(kernels, "matmul", matmul)
        if layers:
            gpu = EmulatedOps(np, "an emulated GPU")
            patch.setitem(ops._by_type, np.ndarray, gpu)
            patch.setitem(ops._by_name, "numpy", gpu)
        yield names


def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None, *, add: bool = False) -> np.ndarray:
    """What cuBLAS does (:mod:`tinygan.backends.cuda.cublas` has tests of its own)."""
    if not add:
        return np.matmul(a, b, out=out)
    out += a @ b
    return out


class EmulatedOps(CudaOps):
    """Those of a GPU, on NumPy's arrays."""

    name, matmul = "numpy", staticmethod(matmul)

    def to_host(self, x: np.ndarray) -> np.ndarray:
        return x


def _launch(
    name: str,
    grid: Sequence[int],
    block: Sequence[int],
    args: Sequence[Any],
    dtype: np.dtype,
    lanes: int,
    mixed: int,
    edit: Callable[[str], str] | None,
) -> None:
    grid, block = (tuple(size) + (1,) * (3 - len(size)) for size in (grid, block))
    if not all(1 <= n <= most for n, most in zip(grid, LIMITS, strict=True)) or not 1 <= np.prod(block) <= cuda.THREADS:
        raise EmulationError(f"{name}: no GPU launches a grid of {grid} blocks of {block} threads.")
    ready = cuda.checked(name, args, np.dtype(dtype))
    library = _library(name.partition(".")[0], np.dtype(dtype), lanes, edit)
    function = getattr(library, f"launch_{name.partition('.')[2]}")
    sizes = [(ctypes.c_uint * 3)(*size) for size in (grid, block)]
    results = []
    for order in (0, 1, mixed):
        guarded = _Guarded([a for a in ready if isinstance(a, np.ndarray)])
        values = [np.array(guarded.address(a) if isinstance(a, np.ndarray) else a) for a in ready]
        for a, value, argument in zip(ready, values, cuda.arguments(name), strict=True):
            if "Pack" in argument.kind and value % (lanes * np.dtype(dtype).itemsize):
                raise EmulationError(f"{name}: {argument.name} {a.shape} begins at no multiple of {lanes} numbers.")
        pointers = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
        if not function(pointers, *sizes, ctypes.c_uint(order)):
            raise EmulationError(f"{name}: some threads of a block wait at a barrier that others never reach.")
        guarded.check(name)
        results.append(guarded)
    if any(other != results[0] for other in results):
        raise EmulationError(f"{name}: the result depends on the order in which threads and blocks run.")
    for a, argument in zip(ready, cuda.arguments(name), strict=True):
        if argument.written and isinstance(a, np.ndarray):
            results[0].fetch(a)


class _Guarded:
    """Copies of arrays with a margin around them, one for all arrays that overlap."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        ranges: list[tuple[int, int, np.dtype]] = []  # first and last address
        places = ((a.ctypes.data, a.ctypes.data + a.nbytes, a.dtype) for a in arrays)
        for start, stop, dtype in sorted(places, key=lambda place: place[:2]):
            if ranges and start < ranges[-1][1]:
                start, last, _ = ranges.pop()
                stop = max(stop, last)
            ranges.append((start, stop, dtype))
        self.pieces = [(start, stop, *_with_margin(start, stop, dtype)) for start, stop, dtype in ranges]

    def address(self, a: np.ndarray) -> int:
        start, _, copy, _ = next(p for p in self.pieces if p[0] <= a.ctypes.data < p[1])
        return copy.ctypes.data + MARGIN + a.ctypes.data - start

    def check(self, name: str) -> None:
        """Look whether the kernel wrote beside the arrays."""
        for _, _, copy, before in self.pieces:
            if not all((copy[side] == before[side]).all() for side in (slice(MARGIN), slice(-MARGIN, None))):
                raise EmulationError(f"{name} wrote beyond an array.")

    def __eq__(self, other: object) -> bool:
        return all((piece[2] == its[2]).all() for piece, its in zip(self.pieces, other.pieces, strict=True))

    def fetch(self, a: np.ndarray) -> None:
        """Copy back what the kernel made of an array."""
        ctypes.memmove(a.ctypes.data, self.address(a), a.nbytes)


def _with_margin(start: int, stop: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Bytes that hold what lies between two addresses, at a multiple of 16 if they do, with a margin; and those bytes
    again. What is computed from a signalling NaN is a quiet one, so that even that is found where it does not belong;
    all of them differ."""
    first = {"float32": 0x7F800001, "float64": 0x7FF0000000000001}.get(dtype.name, np.iinfo(np.int64).min)
    size = (stop - start + 2 * MARGIN) // dtype.itemsize + 1
    pattern = (first + np.arange(size, dtype=np.int64)).astype(f"i{dtype.itemsize}").view(np.uint8)
    memory = np.empty(pattern.size + 16, dtype=np.uint8)
    copy = memory[(start - memory.ctypes.data) % 16 :][: stop - start + 2 * MARGIN]
    copy[...] = pattern[: copy.size]
    ctypes.memmove(copy.ctypes.data + MARGIN, start, stop - start)
    return copy, copy.copy()


def _library(file: str, dtype: np.dtype, lanes: int, edit: Callable[[str], str] | None) -> ctypes.CDLL:
    text = cuda.source(file)
    return _of_text(file, text if edit is None else edit(text), cuda.options(dtype, lanes))


@cache
def _of_text(file: str, text: str, options: tuple[str, ...]) -> ctypes.CDLL:
    _runtime()
    launchers = "\n".join(_launcher(kernel, arguments) for kernel, arguments in cuda.signatures(file).items())
    effort = "-O1" if text == cuda.source(file) else "-O0"  # one with a mistake runs only once
    return _compiled(f'#include "{HEADER}"\n{text}\n{launchers}\n', file, (effort, *options))


def _launcher(kernel: str, arguments: Sequence[cuda.Argument]) -> str:
    given = ", ".join(f"*({argument.kind}*)a[{i}]" for i, argument in enumerate(arguments))
    return (
        f'extern "C" int launch_{kernel}(void** a, const unsigned* grid, const unsigned* block, unsigned order) {{ '
        f"return emulate([](void** a) {{ {kernel}({given}); }}, a, __start_block_memory, "
        "__stop_block_memory - __start_block_memory, grid, block, order); }"
    )


@cache
def _runtime() -> ctypes.CDLL:
    """What runs the threads of a kernel; its symbols are there for all kernels."""
    return _compiled(HEADER.with_suffix(".cpp").read_text(), "emulator", ("-O1", "-std=c++17"), ctypes.RTLD_GLOBAL)


def _compiled(text: str, name: str, options: Sequence[str], mode: int = ctypes.DEFAULT_MODE) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.cpp")
        path.write_text(text)
        command = [COMPILER, "-shared", "-fPIC", "-w", *options, path, "-o", f"{path}.so"]
        built = subprocess.run(command, capture_output=True, text=True)
        if built.returncode:
            raise EmulationError(f"{name} is no C++ for the emulator:\n{built.stderr}")
        return ctypes.CDLL(f"{path}.so", mode)
