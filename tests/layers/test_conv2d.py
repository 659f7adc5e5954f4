"""Conv2D, against loops, SciPy and its adjoint."""

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.signal import correlate2d
from support import counting, reference
from support.linked import as_run, ways

from tinygan import to_numpy
from tinygan.errors import ArgumentError, ShapeError
from tinygan.layers import Conv2D, ConvTranspose2D
from tinygan.testing import check_layer
from tinygan.testing.strategies import convolutions, geometries


@ways
@settings(max_examples=250)
@given(case=convolutions())
def test_gradients(linked, case):
    counting.count_and_check(as_run(case.layer, linked), case.x, exhaustive=16 if linked else 48)


@ways
def test_gradients_without_a_bias(linked):
    layer = Conv2D(2, 3, 3, stride=2, bias=False)
    assert list(layer.params) == ["W"]
    counting.count_and_check(as_run(layer, linked), np.random.default_rng(0).standard_normal((2, 5, 4, 2)))


@settings(max_examples=200)
@given(case=convolutions())
def test_forward_is_what_a_loop_computes(case):
    reference.check_convolution(case.layer, case.x)


@given(case=convolutions())
def test_forward_is_what_scipy_computes(case):
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


@given(case=convolutions())
def test_backward_is_the_transposed_convolution(case):
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
    same, explicit = (
        Conv2D(1, 1, k, stride=stride, padding=p, rng=0, dtype=np.float64) for p in ("same", (pads, pads))
    )
    assert same.output_shape((size, size, 1)) == (out, out, 1)
    np.testing.assert_array_equal(same(x), explicit(x))
    assert ConvTranspose2D(1, 1, k, stride=stride).output_shape((size, size, 1)) == (size * stride, size * stride, 1)


@ways
@pytest.mark.parametrize("kind", [Conv2D, ConvTranspose2D])
def test_many_images_are_what_single_ones_are(device, kind, linked):
    """A batch may be unfolded in pieces; where one ends must not be seen, nor may the gradient lose a piece."""
    layer = as_run(kind(4, 6, 5, rng=0), linked).to(device.name)
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


@ways
@settings(max_examples=8)
@given(case=convolutions(largest=5))
def test_contract(linked, case):
    check_layer(as_run(case.layer, linked), case.x, gradients=False)


def test_refusals():
    with pytest.raises(ShapeError, match=r"kernel of \(5, 5\).*leaves no output.*4x9"):
        Conv2D(1, 1, 5, padding="valid")(np.ones((1, 4, 9, 1), np.float32))
    with pytest.raises(ShapeError, match=r"got \(N, 4, 9, 2\).*Channels come last"):
        Conv2D(1, 1, 5)(np.ones((1, 4, 9, 2), np.float32))
    with pytest.raises(ShapeError, match="channel axis"):
        Conv2D(1, 1, 5)(np.ones((1, 4, 9), np.float32))
    with pytest.raises(ArgumentError, match="padding must be 'same', 'valid'"):
        Conv2D(1, 1, 3, padding="full")
    with pytest.raises(ArgumentError, match="stride"):
        Conv2D(1, 1, 3, stride=0)
