"""NVIDIA's run-time compiler, which needs neither a GPU nor a driver, from its package ``nvidia-cuda-nvrtc-cu12``."""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("nvidia.cuda_nvrtc", "nvidia.cu13")  # where the packages of CUDA 12 and 13 put it


class CompileError(Exception):
    """What the compiler had to say, with lines of the source."""


class Compiled(NamedTuple):
    """Machine code, the assembly that it was made from, and the compiler's remarks."""

    cubin: bytes
    ptx: str
    log: str


@cache
def library() -> ctypes.CDLL | None:
    """The compiler, or None where it is not installed."""
    for package in PACKAGES:
        try:
            spec = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            continue
        for folder in spec.submodule_search_locations if spec else ():
            for path in sorted(Path(folder, "lib").glob("libnvrtc.so.*")):
                return ctypes.CDLL(str(path))
    return None


def compile_source(text: str, options: tuple[str, ...], architecture: str = "sm_90") -> Compiled:
    """Compile a source to machine code of a GPU; CompileError if it does not."""
    nvrtc = library()
    program = ctypes.c_void_p()
    _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None))
    try:
        words = [f"--gpu-architecture={architecture}".encode(), *(option.encode() for option in options)]
        failed = nvrtc.nvrtcCompileProgram(program, len(words), (ctypes.c_char_p * len(words))(*words))
        log = _fetch(program, "ProgramLog").rstrip(b"\0").decode().strip()
        if failed:
            raise CompileError(log)
        return Compiled(_fetch(program, "CUBIN"), _fetch(program, "PTX").decode(), log)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _fetch(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(getattr(library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    text = ctypes.create_string_buffer(size.value)
    _check(getattr(library(), f"nvrtcGet{what}")(program, text))
    return text.raw


def _check(status: int) -> None:
    if status:
        raise CompileError(f"NVRTC failed with status {status}.")
