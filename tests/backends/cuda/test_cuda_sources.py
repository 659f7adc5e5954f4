"""Every CUDA source becomes machine code, where NVIDIA's compiler is installed; no GPU is needed for that."""

from __future__ import annotations

import numpy as np
import pytest
from support import nvrtc

from tinygan.backends.cuda import launch as cuda

pytestmark = pytest.mark.skipif(nvrtc.library() is None, reason="nvidia-cuda-nvrtc-cu12 is not installed")

CUPYS = "-ftz=true", "--device-as-default-execution-space"  # what CuPy adds to the options
LANES = [(np.float32, 1), (np.float32, 4), (np.float64, 1), (np.float64, 2)]


@pytest.mark.parametrize(("dtype", "lanes"), LANES)
@pytest.mark.parametrize("file", cuda.FILES)
def test_sources_become_machine_code_without_remarks(file, dtype, lanes):
    compiled = nvrtc.compile_source(cuda.source(file), (*cuda.options(np.dtype(dtype), lanes), *CUPYS))
    assert compiled.cubin[1:4] == b"ELF"
    assert not compiled.log
    for kernel in cuda.signatures(file):
        assert f".visible .entry {kernel}(" in compiled.ptx


@pytest.mark.parametrize("file", cuda.FILES)
def test_no_kernel_is_overlooked(file):
    """The names that launch.py reads in a source are those that the compiler finds there."""
    compiled = nvrtc.compile_source(cuda.source(file), cuda.options(np.dtype(np.float32), 1))
    assert compiled.ptx.count(".visible .entry ") == len(cuda.signatures(file)) > 0


@pytest.mark.parametrize("file", ["batchnorm", "columns", "elementwise", "rows"])
def test_a_pack_is_moved_in_one_instruction(file):
    ptx = nvrtc.compile_source(cuda.source(file), cuda.options(np.dtype(np.float32), 4)).ptx
    for kernel in ptx.split(".visible .entry ")[1:]:
        if not kernel.startswith("minibatch"):
            assert ".global.v4.f32" in kernel or ".global.v4.u32" in kernel, kernel[:40]
            assert "st.global.v4.f32" in kernel or "st.global.v4.u32" in kernel, kernel[:40]


def test_single_precision_stays_single():
    """No double is computed with in a kernel for floats: a GPU has few units for them."""
    for file in cuda.FILES:
        assert ".f64" not in nvrtc.compile_source(cuda.source(file), cuda.options(np.dtype(np.float32), 1)).ptx


def test_a_mistake_is_told_with_its_line():
    wrong = cuda.source("rows").replace("Pack bias = b[channel];", "Pack bias = b[chanel];")
    line = wrong.split('#line 1 "rows.cu"\n')[1].split("Pack bias = b[chanel];")[0].count("\n") + 1
    with pytest.raises(nvrtc.CompileError, match=rf"rows\.cu\({line}\).*chanel"):
        nvrtc.compile_source(wrong, cuda.options(np.dtype(np.float32), 1))
