"""CUDA kernels, by the name of their file and their own: ``launch("columns.gather", ...)``.

The sources (``*.cu``, with ``common.cuh`` before each) are compiled once for each dtype and number of lanes, when first
used. Arguments are checked against the signatures in them, since a GPU would read whatever lies there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...ops import Array

FOLDER = Path(__file__).parent
FILES = tuple(sorted(path.stem for path in FOLDER.glob("*.cu")))
THREADS = 256  # in a block, at most; common.cuh has the same
BYTES = 16  # that a thread moves at once, if it can
BLOCKS = 1 << 10  # that keep all of a large device busy
ROWS = 16  # that a thread goes through at least before its sum meets others
MANY = 1 << 18  # numbers, from which on there are enough threads if each moves so many bytes

_KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)')
_NUMBERS: dict[str, np.dtype] = {
    "int": np.dtype(np.int32),
    "long long": np.dtype(np.int64),
    "unsigned char": np.dtype(np.uint8),
}


class Argument(NamedTuple):
    """What a kernel takes in one place: an array of ``dtype`` or a number; a dtype of None is that of the launch."""

    name: str
    kind: str
    dtype: np.dtype | None
    array: bool
    written: bool


def launch(
    name: str, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], dtype: np.dtype, lanes: int = 1
) -> None:
    """Start a kernel on the current stream, and do not wait for it.

    Parameters
    ----------
    name : file and function, such as ``"rows.sum_rows"``.
    grid, block : number of blocks, and of threads in each, in up to three dimensions.
    args : contiguous arrays, None where the kernel does without one, and numbers.
    dtype, lanes : REAL and LANES of the source.

    Raises
    ------
    TypeError
        The arguments are not those of the source.
    """
    _kernel(name, dtype, lanes)(tuple(grid), tuple(block), checked(name, args, dtype))


def checked(name: str, args: Sequence[Any], dtype: np.dtype) -> tuple[Any, ...]:
    """Return ``args`` with numbers of the types that the kernel takes, and null pointers for None."""
    wanted = arguments(name)
    if len(args) != len(wanted):
        raise TypeError(f"{name} takes {len(wanted)} arguments, got {len(args)}.")
    ready = []
    for value, argument in zip(args, wanted, strict=True):
        kind = argument.dtype or dtype
        if not argument.array:
            value = kind.type(value)
        elif value is None:
            value = np.uintp(0)
        elif value.dtype != kind or not value.flags.c_contiguous:
            raise TypeError(f"{name}: {argument.name} must be contiguous and {kind}, got {value.dtype} {value.shape}.")
        ready.append(value)
    return tuple(ready)


def source(file: str) -> str:
    """The text that the compiler gets, in which its messages count lines from the top of the file they name."""
    texts = [(FOLDER / name).read_text("utf-8") for name in ("common.cuh", f"{file}.cu")]
    texts = [
        re.sub(r"[^\x00-\x7f]", " ", text) for text in texts
    ]  # equations in comments; not every compiler reads them
    return f'#line 1 "common.cuh"\n{texts[0]}#line 1 "{file}.cu"\n{texts[1]}'


def options(dtype: np.dtype, lanes: int) -> tuple[str, ...]:
    """The compiler's options."""
    return (f"-DREAL={'double' if dtype == np.float64 else 'float'}", f"-DLANES={lanes}", "-std=c++17")


@cache
def arguments(name: str) -> tuple[Argument, ...]:
    """The signature of a kernel, read in its source."""
    return signatures(name.partition(".")[0])[name.partition(".")[2]]


@cache
def signatures(file: str) -> dict[str, tuple[Argument, ...]]:
    """All kernels of a file."""
    return {
        kernel: tuple(_argument(text.strip()) for text in texts.split(","))
        for kernel, texts in _KERNEL.findall(source(file))
    }


def lanes_of(sizes: Sequence[int], arrays: Sequence[Any]) -> int:
    """How many numbers a thread may move at once: 16 bytes of them, if all sizes are multiples of that and all arrays
    begin at one, and the first array is large enough to keep the whole device busy; else 1."""
    lanes = BYTES // arrays[0].dtype.itemsize
    fits = arrays[0].size >= MANY and all(size % lanes == 0 for size in sizes)
    return lanes if fits and all(a is None or address(a) % BYTES == 0 for a in arrays) else 1


def along(lines: int, run: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Grid and block for lines of ``run`` packs, a thread for each pack; lines along x, batches of them along y."""
    x = min(THREADS, _power_of_2(run) if run < 32 else -(-run // 32) * 32)
    y = THREADS // x
    return (-(-lines // y), -(-run // x)), (x, y)


def down(m: int, c: int, batches: int = 1) -> tuple[tuple[int, int, int], tuple[int, int], int]:
    """Grid and block for sums down the m rows of c packs in each batch, and how many of the rows a block has."""
    x = min(32, _power_of_2(c))
    y, groups = THREADS // x, -(-c // x)
    blocks = max(1, min(-(-m // (ROWS * y)), BLOCKS // (groups * batches)))
    height = -(-m // (blocks * y)) * y
    return (-(-m // height), groups, batches), (x, y), height


def address(a: Array) -> int:
    """Where an array begins in the memory of the device."""
    data: Any = a.data
    return data.ptr


@cache
def _kernel(name: str, dtype: np.dtype, lanes: int) -> Any:
    file, kernel = name.split(".")
    return _module(file, dtype, lanes).get_function(kernel)


@cache
def _module(file: str, dtype: np.dtype, lanes: int) -> Any:
    import cupy

    return cupy.RawModule(code=source(file), options=options(dtype, lanes))


def _argument(text: str) -> Argument:
    match = re.fullmatch(r"(.*[\s*])(\w+)", text)
    kind, name = match.groups() if match else (text, "")
    base = kind.replace("*", "").replace("const", "").strip()
    if base not in _NUMBERS and base not in ("REAL", "Pack"):
        raise TypeError(f"a kernel takes {text!r}, of a type that launch.py does not know.")
    return Argument(name, kind.strip(), _NUMBERS.get(base), "*" in kind, "*" in kind and "const" not in kind)


def _power_of_2(n: int) -> int:
    """The smallest that is not below n."""
    return 1 << (n - 1).bit_length()
