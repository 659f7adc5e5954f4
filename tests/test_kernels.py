"""The fast convolutions against the plain ones: the same numbers, over every geometry, on any number of cores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygan import threads
from tinygan.kernels import cpu, plain
from tinygan.kernels.plain import Window
from tinygan.testing.strategies import rngs


@st.composite
def convolutions(draw):
    """Images, weights, small images and the window that ties them: kernel 1 to 7, stride 1 to 4, any padding."""
    n, a, b = (draw(st.integers(1, top), label=name) for name, top in (("n", 5), ("channels", 4), ("filters", 4)))
    kernel, stride = ((draw(st.integers(1, top)), draw(st.integers(1, top))) for top in (7, 4))
    pads = tuple(draw(st.integers(0, 3)) for _ in range(4))
    sides = list(zip(kernel, stride, (pads[:2], pads[2:]), strict=True))
    hw = tuple(draw(st.integers(max(1, k - sum(zeros)), 9)) for k, _, zeros in sides)
    grid = tuple((size + sum(zeros) - k) // s + 1 for size, (k, s, zeros) in zip(hw, sides, strict=True))
    rng = draw(rngs)
    x, W, y = (rng.standard_normal(shape) for shape in ((n, *hw, a), (*kernel, a, b), (n, *grid, b)))
    return x, W, y, Window(kernel, stride, pads, grid)


@pytest.fixture(params=[1, 3], ids="{} cores".format, scope="module")
def cores(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "workers", lambda: request.param)
        patch.setattr(cpu, "PIECE", 200)  # small images come in pieces too
        yield


@pytest.mark.usefixtures("cores")
@given(case=convolutions())
def test_fast_and_plain_convolutions_are_equal(case):
    x, W, y, window = case
    for fast, slow in (
        (cpu.convolve(x, W, window), plain.convolve(x, W, window)),
        (cpu.convolve_weights(x, y, window), plain.convolve_weights(x, y, window)),
        (cpu.convolve_adjoint(y, W, x.shape[1:3], window), plain.convolve_adjoint(y, W, x.shape[1:3], window)),
    ):
        np.testing.assert_allclose(fast, slow, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("cores")
@given(case=convolutions())
def test_views_serve_as_well_as_arrays(case):
    """Channels that were moved to the end, every second image: strides of any kind, and nothing is written to."""
    x, W, y, window = case
    views = [np.repeat(a, 2, axis=0)[::2].transpose(0, 3, 1, 2).copy().transpose(0, 2, 3, 1) for a in (x, y)]
    for view in views:
        view.flags.writeable = False
    np.testing.assert_allclose(cpu.convolve(views[0], W, window), plain.convolve(x, W, window), rtol=1e-12, atol=1e-12)
    expected = plain.convolve_weights(x, y, window)
    np.testing.assert_allclose(cpu.convolve_weights(*views, window), expected, rtol=1e-12, atol=1e-12)
    expected = plain.convolve_adjoint(y, W, x.shape[1:3], window)
    np.testing.assert_allclose(
        cpu.convolve_adjoint(views[1], W, x.shape[1:3], window), expected, rtol=1e-12, atol=1e-12
    )


def test_the_same_bytes_every_time(monkeypatch):
    """Sums over images are added up in the order of the images, whichever core was first."""
    monkeypatch.setattr(threads, "workers", lambda: 3)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 9, 9, 3), dtype=np.float32), rng.standard_normal((30, 9, 9, 5), dtype=np.float32)
    window = Window((3, 3), (1, 1), (1, 1, 1, 1), (9, 9))
    assert len({cpu.convolve_weights(x, y, window).tobytes() for _ in range(10)}) == 1
