"""ConvTranspose2D, against a loop, and as the adjoint of Conv2D."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import counting, reference
from support.linked import as_run, ways

from tinygan.errors import ShapeError
from tinygan.layers import Conv2D, ConvTranspose2D
from tinygan.testing import check_layer
from tinygan.testing.strategies import convolutions, geometries, rngs


@ways
@settings(max_examples=250)
@given(case=convolutions(transposed=True, largest=4))
def test_gradients(linked, case):
    counting.count_and_check(as_run(case.layer, linked), case.x, exhaustive=16 if linked else 48)


@ways
def test_gradients_without_a_bias(linked):
    layer = ConvTranspose2D(2, 3, 4, stride=2, bias=False)
    assert list(layer.params) == ["W"]
    counting.count_and_check(as_run(layer, linked), np.random.default_rng(0).standard_normal((2, 3, 2, 2)))


@settings(max_examples=200)
@given(case=convolutions(transposed=True, largest=4))
def test_forward_is_what_a_loop_computes(case):
    reference.check_convolution(case.layer, case.x)


@settings(max_examples=200)
@given(geometry=geometries(transposed=True, largest=5), c=st.integers(1, 4), o=st.integers(1, 4), rng=rngs)
def test_forward_is_the_adjoint_of_conv2d(geometry, c, o, rng):
    """<conv(x), y> = <x, convᵀ(y)> with the same W, whatever the geometry."""
    kernel_size, stride, padding, hw = geometry
    options = {"stride": stride, "padding": padding, "rng": rng, "dtype": np.float64}
    conv, transposed = Conv2D(c, o, kernel_size, **options), ConvTranspose2D(o, c, kernel_size, **options)
    assert conv.params["W"].shape == transposed.params["W"].shape
    transposed.params["W"][...] = conv.params["W"]
    y = rng.standard_normal((2, *hw, o))
    back = transposed(y)
    x = rng.standard_normal(back.shape)
    convolved = conv(x)
    assert convolved.shape == y.shape
    left, right = np.vdot(convolved, y), np.vdot(x, back)
    assert abs(left - right) <= 1e-12 * (np.linalg.norm(convolved) * np.linalg.norm(y) + np.linalg.norm(x))


@ways
@settings(max_examples=8)
@given(case=convolutions(transposed=True, largest=3))
def test_contract(linked, case):
    check_layer(as_run(case.layer, linked), case.x, gradients=False)


def test_refusals():
    with pytest.raises(ShapeError, match=r"leaves no output.*Use less padding"):
        ConvTranspose2D(1, 1, 3, padding=2)(np.ones((1, 1, 1, 1), np.float32))
    with pytest.raises(ShapeError, match=r"expected input \(N, H, W, 3\)"):
        ConvTranspose2D(3, 1, 3)(np.ones((1, 4, 4, 1), np.float32))
