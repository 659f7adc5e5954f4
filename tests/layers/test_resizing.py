"""Pooling, enlarging and shuffling pixels: both orders of derivatives, and the forward pass by loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import counting

from tinygan.errors import ArgumentError, ShapeError
from tinygan.layers import AvgPool2D, MaxPool2D, PixelShuffle, Upsample
from tinygan.testing import check_layer
from tinygan.testing.strategies import images, resizings


@settings(max_examples=150)
@given(case=resizings())
def test_gradients(case):
    counting.count_and_check(case.layer, case.x)


@settings(max_examples=80)
@given(case=resizings())
def test_second_order(case):
    counting.count_and_check_second_order(case.layer, case.x)


@settings(max_examples=20)
@given(case=resizings())
def test_contract(case):
    check_layer(case.layer, case.x, gradients=False)


@given(case=resizings().filter(lambda case: isinstance(case.layer, MaxPool2D | AvgPool2D)))
def test_pooling_by_loops(case):
    layer, x = case
    (kh, kw), (sh, sw), y = layer.kernel_size, layer.stride, layer(x)
    n, h, w, c = x.shape
    assert y.shape == (n, (h - kh) // sh + 1, (w - kw) // sw + 1, c)
    of = np.max if isinstance(layer, MaxPool2D) else np.mean
    for i, p, q, k in np.ndindex(*y.shape):
        assert y[i, p, q, k] == pytest.approx(of(x[i, p * sh : p * sh + kh, q * sw : q * sw + kw, k]), rel=1e-12)


@given(x=images(), scale=st.integers(1, 4))
def test_nearest_by_loops(x, scale):
    y = Upsample(scale)(x)
    for i, p, q, k in np.ndindex(*y.shape):
        assert y[i, p, q, k] == x[i, p // scale, q // scale, k]


@given(x=images(), scale=st.integers(1, 4))
def test_bilinear_is_interpolation_between_middles_of_pixels(x, scale):
    """By NumPy's interp, which knows nothing of phases."""
    h, w = x.shape[1:3]
    down, across = ((np.arange(scale * size) + 0.5) / scale - 0.5 for size in (h, w))
    rows = np.apply_along_axis(lambda a: np.interp(down, np.arange(h), a), 1, x)
    expected = np.apply_along_axis(lambda a: np.interp(across, np.arange(w), a), 2, rows)
    np.testing.assert_allclose(Upsample(scale, mode="bilinear")(x), expected, rtol=1e-12, atol=1e-12)


@given(r=st.integers(1, 3), c=st.integers(1, 2), x=images(c=st.just(1)))
def test_shuffled_pixels_by_loops(r, c, x):
    x = np.random.default_rng(0).standard_normal((*x.shape[:3], r * r * c))
    y = PixelShuffle(r)(x)
    for i, p, q, k in np.ndindex(*y.shape):
        assert y[i, p, q, k] == x[i, p // r, q // r, k * r * r + (p % r) * r + q % r]


def test_of_equal_numbers_the_first_gets_all_of_dy():
    layer = MaxPool2D(2)
    layer.forward(np.ones((1, 2, 2, 1)))
    np.testing.assert_array_equal(layer.backward(np.full((1, 1, 1, 1), 3.0))[0, ..., 0], [[3.0, 0.0], [0.0, 0.0]])


def test_rows_that_fill_no_kernel_are_left_out():
    for layer in (MaxPool2D(2), AvgPool2D(2)):
        x = np.arange(15.0).reshape(1, 3, 5, 1)
        assert layer.forward(x).shape == (1, 1, 2, 1)
        assert not layer.backward(np.ones((1, 1, 2, 1)))[0, 2:].any()


def test_refusals():
    for layer in (MaxPool2D(3), AvgPool2D((3, 2))):
        with pytest.raises(ShapeError, match="The kernel has no place on it"):
            layer(np.ones((1, 2, 5, 1), np.float32))
        with pytest.raises(ShapeError, match=r"expected input \(N, H, W, C\), got \(N, 5\)"):
            layer(np.ones((1, 5), np.float32))
    with pytest.raises(ShapeError, match=r"expected input \(N, H, W, a multiple of 4\), got \(N, 2, 2, 6\)"):
        PixelShuffle(2)(np.ones((1, 2, 2, 6), np.float32))
    with pytest.raises(ArgumentError, match="mode: expected 'nearest' or 'bilinear', got 'cubic'"):
        Upsample(2, mode="cubic")
    with pytest.raises(ArgumentError, match="MaxPool2D: kernel_size"):
        MaxPool2D(0)
    with pytest.raises(ArgumentError, match="scale must be a whole number"):
        PixelShuffle(1.5)
    assert repr(MaxPool2D((2, 3), stride=1)) == "MaxPool2D((2, 3), stride=1)"
