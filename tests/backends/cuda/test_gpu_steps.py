"""Whole training steps through the kernels for a GPU, run by the emulator: NumPy's numbers, in few launches."""

from __future__ import annotations

import sys
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from support.emulator import emulated, needs_compiler
from support.small_systems import SYSTEMS, game, play

from tinygan.backends.cuda import CudaOps
from tinygan.backends.cuda import launch as cuda

pytestmark = needs_compiler

STEPS = 3
LAUNCHES = {  # of kernels that are not cuBLAS's, in a step, for so few rows that each BatchNorm takes one
    "mlp": 36,
    "mlp_conv": 52,
    "lsgan": 81,
    "dcgan": 63,
    "dcgan64": 115,  # two steps of D
    "resnet": 153,
    "dcgan, R1 and R2 now and then": 78,
    "mlp, a critic": 46,
}


def compare(name, steps=STEPS):
    """Train on both ways; return what was launched."""
    gan, images = game(name, "numpy")
    with emulated(layers=True) as launched:
        ours = play(gan, images, "numpy", steps)
    same, images = game(name, "numpy")
    theirs = play(same, images, "numpy", steps)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    for network, other in ((gan.generator, same.generator), (gan.discriminator, same.discriminator)):
        np.testing.assert_allclose(network.theta, other.theta, rtol=0, atol=1e-9)
        np.testing.assert_allclose(network.grad, other.grad, rtol=0, atol=1e-8 * abs(other.grad).max())
        for buffer, expected in zip(network.buffers.values(), other.buffers.values(), strict=True):
            np.testing.assert_allclose(buffer, expected, rtol=1e-9, atol=1e-12)
    return launched


@pytest.mark.parametrize("name", SYSTEMS)
def test_steps_are_those_of_numpy_in_few_launches(name):
    assert LAUNCHES[name] - 1 < len(compare(name)) / STEPS <= LAUNCHES[name]


def test_in_many_blocks_too(monkeypatch):
    """As large batches are split; here every kernel takes part but the one that gathers a batch, outside of a step."""
    monkeypatch.setattr(cuda, "ROWS", 1)
    launched = {kernel for name in SYSTEMS for kernel in compare(name, 2 if "now and then" in name else 1)}
    every = {f"{file}.{kernel}" for file in cuda.FILES for kernel in cuda.signatures(file)}
    assert launched == every - {"elementwise.minibatch"}


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("mlp", "bias_leaky"),
        ("mlp", "bias_leaky_backward"),
        ("mlp", "tanh_backward"),
        ("mlp_conv", "convolve"),
        ("mlp_conv", "convolve_weights"),
        ("mlp_conv", "convolve_adjoint"),
        ("mlp_conv", "sigmoid"),
        ("mlp_conv", "sigmoid_backward"),
        ("mlp_conv", "leaky_relu_backward"),
    ],
)
def test_a_result_that_is_off_by_a_millionth_is_noticed(monkeypatch, name, kernel):
    right = getattr(CudaOps, kernel)

    def wrong(*args, **options):
        result = right(*args, **options)
        result *= 1.0 + 1e-6
        return result

    monkeypatch.setattr(CudaOps, kernel, staticmethod(wrong))
    with pytest.raises(AssertionError):
        compare(name)


@pytest.mark.parametrize("name", ["dcgan", "mlp_conv"])
def test_small_arrays_treated_as_large_ones_on_a_device(monkeypatch, device, name):
    """With ``--backend cupy``, 16 bytes at once and sums in many blocks, on a real GPU; elsewhere nothing changes."""
    monkeypatch.setattr(cuda, "MANY", 1)
    monkeypatch.setattr(cuda, "ROWS", 1)
    ours = play(*game(name, device.name), device.name, STEPS)
    theirs = play(*game(name, "numpy"), "numpy", STEPS)
    np.testing.assert_allclose(ours, theirs, rtol=1e-7)


@pytest.mark.parametrize("file", cuda.FILES)
def test_what_a_launch_gives_cupy(monkeypatch, file):
    """One module for each file, dtype and number of lanes; tuples, arrays and numbers of the types in the signature."""
    made, calls = [], []

    class RawModule:
        def __init__(self, *, code, options):
            made.append((code, options))

        def get_function(self, name):
            return lambda grid, block, args: calls.append((name, grid, block, args))

    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(RawModule=RawModule))
    monkeypatch.setattr(cuda, "_module", cache(cuda._module.__wrapped__))
    monkeypatch.setattr(cuda, "_kernel", cache(cuda._kernel.__wrapped__))
    a = np.zeros(4)
    for kernel, wanted in cuda.signatures(file).items():
        args = [(None if argument.dtype else a) if argument.array else 3 for argument in wanted]
        for _ in range(2):
            cuda.launch(f"{file}.{kernel}", [2], (32, 4), args, a.dtype, 2)
        name, grid, block, given = calls[-1]
        assert (name, grid, block) == (kernel, (2,), (32, 4))
        for value, argument in zip(given, wanted, strict=True):
            assert value is a or isinstance(value, np.uintp if argument.array else (argument.dtype or a.dtype).type)
    assert made == [(cuda.source(file), ("-DREAL=double", "-DLANES=2", "-std=c++17"))]
    assert made[0][0].isascii()
