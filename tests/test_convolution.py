"""Convolution and its adjoint against loops, SciPy and each other."""

import counting
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate2d

from tinygan import to_numpy
from tinygan.errors import ShapeError
from tinygan.layers import Conv2D, ConvTranspose2D
from tinygan.testing.strategies import convolutions, geometries, rngs


@settings(max_examples=500)
@given(case=convolutions())
def test_gradients_of_conv(case):
    counting.check_gradients(case.layer, case.x)


@settings(max_examples=500)
@given(case=convolutions(transposed=True, largest=4))
def test_gradients_of_transposed_conv(case):
    counting.check_gradients(case.layer, case.x)


@settings(max_examples=200)
@given(case=convolutions())
def test_conv_is_what_a_loop_computes(case):
    reference.check_convolution(case.layer, case.x)


@settings(max_examples=200)
@given(case=convolutions(transposed=True, largest=4))
def test_transposed_conv_is_what_a_loop_computes(case):
    reference.check_convolution(case.layer, case.x)


@given(case=convolutions())
def test_conv_is_what_scipy_computes(case):
    """SciPy knows neither strides nor channels: pad by hand, correlate all pairs of channels, keep each s-th result."""
    layer, x = case
    W, (sh, sw) = layer.params["W"], layer.stride
    pads = [reference.pads_of(layer.padding, x.shape[a + 1], W.shape[a], layer.stride[a], a) for a in (0, 1)]
    padded = np.pad(x, [(0, 0), *pads, (0, 0)])
    y = np.stack(
        [
            [
                sum(correlate2d(one[:, :, c], W[:, :, c, o], mode="valid") for c in range(layer.c_in))[::sh, ::sw]
                for o in range(layer.c_out)
            ]
            for one in padded
        ]
    ).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(layer(x), y + layer.params["b"], rtol=1e-10, atol=1e-12)


@settings(max_examples=200)
@given(geometry=geometries(transposed=True, largest=5), c=st.integers(1, 4), o=st.integers(1, 4), rng=rngs)
def test_transposed_conv_is_the_adjoint_of_conv(geometry, c, o, rng):
    """<conv(x), y> = <x, convᵀ(y)> with the same W, whatever the geometry."""
    kernel_size, stride, padding, hw = geometry
    options = {"stride": stride, "padding": padding, "rng": rng, "dtype": np.float64}
    conv, transposed = Conv2D(c, o, kernel_size, **options), ConvTranspose2D(o, c, kernel_size, **options)
    assert conv.params["W"].shape == transposed.params["W"].shape
    transposed.params["W"][...] = conv.params["W"]
    y = rng.standard_normal((2, *hw, o))
    back = transposed(y)
    x = rng.standard_normal(back.shape)
    there = conv(x)
    assert there.shape == y.shape
    left, right = np.vdot(there, y), np.vdot(x, back)
    assert abs(left - right) <= 1e-12 * (np.linalg.norm(there) * np.linalg.norm(y) + np.linalg.norm(x))


@given(case=convolutions())
def test_backward_of_conv_is_the_transposed_conv(case):
    layer, x = case
    dy = np.random.default_rng(0).standard_normal(layer.forward(x).shape)
    dx = layer.backward(dy)
    layer.params["b"][...] = 0.0
    left, right = np.vdot(layer(x), dy), np.vdot(x, dx)
    assert abs(left - right) <= 1e-12 * (np.linalg.norm(x) * np.linalg.norm(dx) + np.linalg.norm(dy))


@pytest.mark.parametrize(
    ("size", "k", "stride", "out", "pads"),
    [(28, 5, 2, 14, (1, 2)), (28, 3, 1, 28, (1, 1)), (7, 4, 2, 4, (1, 2)), (5, 1, 3, 2, (0, 0)), (1, 7, 4, 1, (3, 3))],
)
def test_same_is_tensorflows_same(size, k, stride, out, pads):
    """⌈size / stride⌉ places, an odd zero at the bottom and the right: as tf.nn.conv2d documents it."""
    x = np.random.default_rng(0).standard_normal((1, size, size, 1))
    same, explicit = (Conv2D(1, 1, k, stride=stride, padding=p, dtype=np.float64) for p in ("same", (pads, pads)))
    assert same.output_shape((size, size, 1)) == (out, out, 1)
    np.testing.assert_array_equal(same(x), explicit(x))
    assert ConvTranspose2D(1, 1, k, stride=stride).output_shape((size, size, 1)) == (size * stride, size * stride, 1)


@pytest.mark.parametrize("kind", [Conv2D, ConvTranspose2D])
def test_many_images_are_what_single_ones_are(device, kind):
    """A batch is unfolded in pieces; where one ends must not be seen, nor may the gradient lose a piece."""
    layer = kind(4, 6, 5, rng=0).to(device.name)
    x = np.random.default_rng(0).standard_normal((7, 48, 48, 4)).astype(np.float32)
    y = layer.forward(device.put(x))
    dx = layer.backward(y)
    together = {key: device.get(g).copy() for key, g in layer.grads.items()}
    layer.zero_grad()
    for i in range(len(x)):
        yi = layer.forward(device.put(x[i : i + 1]))
        np.testing.assert_allclose(device.get(yi)[0], device.get(y)[i], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(device.get(layer.backward(yi))[0], device.get(dx)[i], rtol=1e-4, atol=1e-2)
    for key, g in layer.grads.items():
        assert np.linalg.norm(to_numpy(g) - together[key]) <= 1e-4 * np.linalg.norm(together[key])


@given(geometry=geometries())
def test_output_shape_knows_the_shape_with_and_without_sizes(geometry):
    kernel_size, stride, padding, hw = geometry
    layer = Conv2D(2, 3, kernel_size, stride=stride, padding=padding, dtype=np.float64)
    assert layer(np.ones((1, *hw, 2))).shape[1:] == layer.output_shape((*hw, 2))
    assert layer.output_shape((None, None, 2)) == (None, None, 3)


def test_what_leaves_no_output_is_refused():
    with pytest.raises(ShapeError, match=r"kernel of \(5, 5\).*4x9"):
        Conv2D(1, 1, 5, padding="valid")(np.ones((1, 4, 9, 1), np.float32))
    with pytest.raises(ShapeError, match="leaves no output"):
        ConvTranspose2D(1, 1, 3, padding=2)(np.ones((1, 1, 1, 1), np.float32))
