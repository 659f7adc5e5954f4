"""The plain operations: what they mean, by loops; and which library an array belongs to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, log1p
from support.ids import brief
from support.reference import convolution, transposed_convolution

from tinygan import GAN, Sequential
from tinygan.errors import BackendError, DTypeError, TinyGANError
from tinygan.layers import Conv2D, ConvTranspose2D, Dense, ReLU, Tanh
from tinygan.ops import (
    Ops,
    Window,
    as_array,
    get_ops,
    get_xp,
    ops_of,
    register,
    sigmoid,
    softplus,
    to_backend,
    to_numpy,
)
from tinygan.penalties import R1, R2, GradientPenalty
from tinygan.testing.device import standin
from tinygan.testing.strategies import geometries, rngs

PLAIN = Ops()
few = st.integers(1, 3)


def window_of(shape, transposed=False):
    kind = ConvTranspose2D if transposed else Conv2D
    layer = kind(1, 1, shape.kernel_size, stride=shape.stride, padding=shape.padding)
    hw = layer.output_shape((*shape.hw, 1))[:2] if transposed else shape.hw
    return layer.window(hw), hw


# ---- convolutions ----------------------------------------------------------------------------------------------------


@given(shape=geometries(), n=few, c=few, rng=rngs)
def test_columns_are_what_the_kernel_sees(shape, n, c, rng):
    window, (h, w) = window_of(shape)
    x = rng.standard_normal((n, h, w, c))
    (kh, kw), (sh, sw), (top, _, left, _), (ho, wo) = window
    columns = PLAIN.gather_columns(x, window).reshape(n, ho, wo, kh, kw, c)
    for p, q, i, j in np.ndindex(ho, wo, kh, kw):
        u, v = p * sh + i - top, q * sw + j - left
        expected = x[:, u, v] if 0 <= u < h and 0 <= v < w else np.zeros((n, c))
        np.testing.assert_array_equal(columns[:, p, q, i, j], expected)


@given(shape=geometries(), n=few, c=few, rng=rngs)
def test_scattering_is_the_adjoint_of_gathering(shape, n, c, rng):
    """<gather x, columns> = <x, scatter columns>."""
    window, hw = window_of(shape)
    x = rng.standard_normal((n, *hw, c))
    gathered = PLAIN.gather_columns(x, window)
    columns = rng.standard_normal(gathered.shape)
    back = PLAIN.scatter_columns(columns, x.shape, window)
    assert back.shape == x.shape
    np.testing.assert_allclose(np.vdot(gathered, columns), np.vdot(x, back), rtol=1e-10, atol=1e-12)


@given(shape=geometries(), n=few, a=few, b=few, rng=rngs)
def test_a_convolution_is_its_loop(shape, n, a, b, rng):
    window, hw = window_of(shape)
    x, W = rng.standard_normal((n, *hw, a)), rng.standard_normal((*shape.kernel_size, a, b))
    expected = convolution(x, W, 0.0, shape.stride, shape.padding)
    np.testing.assert_allclose(PLAIN.convolve(x, W, window), expected, rtol=1e-10, atol=1e-12)


@given(shape=geometries(transposed=True), n=few, a=few, b=few, rng=rngs)
def test_a_transposed_convolution_is_its_loop(shape, n, a, b, rng):
    window, hw = window_of(shape, transposed=True)
    y, W = rng.standard_normal((n, *shape.hw, b)), rng.standard_normal((*shape.kernel_size, a, b))
    expected = transposed_convolution(y, W, 0.0, shape.stride, shape.padding)
    np.testing.assert_allclose(PLAIN.convolve_adjoint(y, W, hw, window), expected, rtol=1e-10, atol=1e-12)


@given(shape=geometries(), n=few, a=few, b=few, rng=rngs)
def test_the_three_products_are_one_form_read_in_three_ways(shape, n, a, b, rng):
    """<y, convolve(x, W)> = <convolve_adjoint(y, W), x> = <convolve_weights(x, y), W>."""
    window, hw = window_of(shape)
    x, W = rng.standard_normal((n, *hw, a)), rng.standard_normal((*shape.kernel_size, a, b))
    y = rng.standard_normal((n, *window.grid, b))
    form = np.vdot(y, PLAIN.convolve(x, W, window))
    np.testing.assert_allclose(np.vdot(PLAIN.convolve_adjoint(y, W, hw, window), x), form, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(np.vdot(PLAIN.convolve_weights(x, y, window), W), form, rtol=1e-10, atol=1e-11)


def test_a_window_written_out():
    """3 taps in steps of 2, a zero on the left only, over 4 pixels: places 0 and 1 see pixels -1 0 1 and 1 2 3."""
    window = Window((1, 3), (1, 2), (0, 0, 1, 0), (1, 2))
    x = np.arange(1.0, 5.0).reshape(1, 1, 4, 1)
    np.testing.assert_array_equal(PLAIN.gather_columns(x, window), [[0, 1, 2], [2, 3, 4]])
    back = PLAIN.scatter_columns(np.array([[9.0, 1, 10], [100, 1000, 10000]]), (1, 1, 4, 1), window)
    np.testing.assert_array_equal(back.ravel(), [1, 110, 1000, 10000])


# ---- where a backend has a better way --------------------------------------------------------------------------------


@pytest.mark.parametrize("ops", [PLAIN, ops_of(np.ones(1)), standin], ids=lambda ops: type(ops).__name__)
def test_products_are_returned_written_or_added(ops):
    rng = np.random.default_rng(0)
    a, b, start = (rng.standard_normal(shape) for shape in ((3, 4), (4, 2), (3, 2)))
    put, get = ops.from_host, ops.to_host
    np.testing.assert_allclose(get(ops.matmul(put(a), put(b))), a @ b, rtol=1e-13)
    for add, expected in ((False, a @ b), (True, start + a @ b)):
        out = put(start.copy())
        assert ops.matmul(put(a), put(b), out, add=add) is out
        np.testing.assert_allclose(get(out), expected, rtol=1e-13)
    np.testing.assert_allclose(get(ops.matmul(put(a), put(b[:, 0].copy()))), a @ b[:, 0], rtol=1e-13)


@pytest.mark.parametrize("ops", [PLAIN, ops_of(np.ones(1)), standin], ids=lambda ops: type(ops).__name__)
def test_a_mixture_lies_between(ops):
    average, new = ops.from_host(np.array([1.0, -2.0])), ops.from_host(np.array([3.0, 2.0]))
    ops.mix(average, new, 0.25)
    np.testing.assert_array_equal(ops.to_host(average), [1.5, -1.0])
    np.testing.assert_array_equal(ops.to_host(new), [3.0, 2.0])


def test_plain_operations_leave_things_as_they_are():
    layers, numbers = [object(), object()], (0.5, (1.0, None))
    assert PLAIN.links(layers) == layers
    assert PLAIN.links(layers) is not layers
    assert PLAIN.loss(numbers) is numbers
    assert PLAIN.place(numbers, np.ones(1)) is numbers


# ---- who owns an array -----------------------------------------------------------------------------------------------


def test_the_data_decide(device):
    x = device.put(np.ones((2, 3), dtype=np.float32))
    assert ops_of(x) is ops_of(x, x) is get_ops(device.name) is get_ops(get_ops(device.name))
    assert get_xp(x) is get_xp(x, x) is ops_of(x).xp
    assert to_backend(x, device.name) is x
    np.testing.assert_array_equal(to_numpy(to_backend(x, "numpy")), np.ones((2, 3)))


def test_what_is_mixed_or_no_array_is_refused():
    host, on_device = np.ones(2), standin.from_host(np.ones(2))
    for call in (ops_of, get_xp):
        with pytest.raises(BackendError, match=r"numpy and standin arrays are mixed.*tinygan.to_backend\(x, name\)"):
            call(host, on_device)
        for what in ([1.0], 1.0, None, "x"):
            with pytest.raises(BackendError, match=f"expected an array, got {type(what).__name__}.*numpy.asarray"):
                call(what)
            with pytest.raises(BackendError, match="expected an array"):
                call(host, what)
    with pytest.raises(BackendError, match=r"unknown backend 'torch'; there are: cupy, numpy, standin, or 'auto'"):
        get_ops("torch")


class Measured(np.ndarray):
    """A subclass as users write them."""


class Frame:
    """Holds an array and gives it to NumPy, as data frames and tensors do."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


def test_what_is_like_an_array_becomes_a_plain_one():
    x = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    for like in (x.view(Measured), x.view(np.matrix), np.ma.array(x), x.view(np.recarray), Frame(x)):
        plain = as_array(like)
        assert type(plain) is np.ndarray
        assert np.shares_memory(plain, x)  # looked at, not copied
        assert type(to_numpy(like)) is type(to_backend(like, "numpy")) is np.ndarray
        with pytest.raises(BackendError, match=f"got {type(like).__name__}.*numpy.asarray"):
            ops_of(like)
    on_device = standin.from_host(x)
    assert as_array(x) is x
    assert as_array(on_device) is on_device


def test_the_last_one_registered_computes():
    before = ops_of(np.ones(1))
    try:
        assert register(PLAIN) is PLAIN
        assert ops_of(np.ones(1)) is get_ops("numpy") is PLAIN
    finally:
        register(before)
    assert ops_of(np.ones(1)) is before


# ---- two functions ---------------------------------------------------------------------------------------------------


@given(s=st.lists(st.floats(-800, 800), min_size=1, max_size=20))
def test_sigmoid_and_softplus_are_scipys(device, s):
    s = np.array(s)
    np.testing.assert_allclose(device.get(sigmoid(device.put(s))), expit(s), rtol=1e-13, atol=1e-305)
    expected = np.maximum(s, 0) + log1p(np.exp(-np.abs(s)))
    np.testing.assert_allclose(device.get(softplus(device.put(s))), expected, rtol=1e-13, atol=1e-305)


def test_neither_overflows(device):
    s = device.put(np.array([-3e38, -200.0, 0.0, 200.0, 3e38], dtype=np.float32))
    with np.errstate(over="raise", invalid="raise"):
        np.testing.assert_allclose(device.get(sigmoid(s)), [0.0, 0.0, 0.5, 1.0, 1.0])
        np.testing.assert_allclose(device.get(softplus(s)), [0.0, 0.0, np.log(2.0), 200.0, 3e38], rtol=1e-6)
    assert device.get(sigmoid(device.put(np.array([-50.0])))).item() == pytest.approx(np.exp(-50.0), rel=1e-12)


# ---- what is like an array -------------------------------------------------------------------------------------------


def likes(x, folder):
    """The numbers of x in every dress that people bring them in."""
    stored = np.memmap(folder / "x", x.dtype, "w+", shape=x.shape)
    stored[...] = x
    yield from (stored, stored[:], x.view(Measured), np.ma.array(x), x.view(np.recarray), Frame(x))
    if x.ndim == 2:
        yield x.view(np.matrix)


def test_layers_networks_penalties_and_gans_take_what_is_like_an_array(tmp_path):
    x, fake = np.random.default_rng(0).standard_normal((2, 8, 3)).astype(np.float32)

    def results(x, fake):
        layer, network = Dense(3, 2, rng=0), Sequential(Dense(3, 4, rng=0), Tanh(), Dense(4, 1, rng=1))
        yield layer.forward(x)
        yield layer.backward(np.ones((8, 2), np.float32))
        yield layer(x)
        yield network.forward(x)
        yield ReLU()(x)
        yield R1()(network, x, fake, 0)
        yield R2()(network, fake, x, 0)
        yield GradientPenalty()(network, x, fake, 0)
        yield network.grad.copy()
        gan = GAN(Sequential(Dense(3, 3, rng=2)), network, noise_dim=3, penalties=[R1(), R2()])
        yield np.array(gan.step(x))
        yield gan.discriminator.theta.copy()
        yield gan.sample(z=x)

    expected = list(results(x, fake))
    for like in likes(x, tmp_path):
        for got, plain in zip(results(like, fake), expected, strict=True):
            assert type(got) is type(plain)
            np.testing.assert_array_equal(got, plain)


def test_a_gradient_may_come_in_any_dress_too(tmp_path):
    x, dy = np.random.default_rng(0).standard_normal((2, 8, 3)).astype(np.float32)
    layer = Dense(3, 3, rng=0)
    layer.forward(x)
    expected = layer.backward(dy)
    for like in likes(dy, tmp_path):
        layer.forward(like)
        dx = layer.backward(like)
        assert type(dx) is np.ndarray
        np.testing.assert_array_equal(dx, expected)


class Stubborn:
    """Refuses to become NumPy's, as a tensor on a GPU does."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("use .cpu() first")


MASKED = np.ma.masked_array(np.ones((4, 3), np.float32), np.eye(4, 3))
ARRAY_ODDITIES = [
    *((value, BackendError, "masked values.*filled") for value in (MASKED, MASKED[:2])),
    (Stubborn(), BackendError, "gives no NumPy array .use .cpu.. first"),
    *(
        (value, BackendError, "expected an array, got")
        for value in ([[1.0]], None, 1.0, "x", {}, range(3), b"x", object())
    ),
    (np.ones((4, 3), np.float32).view([("a", "f4")]).view(np.recarray), DTypeError, "expected floating-point"),
    *((np.ones((4, 3)).astype(kind), DTypeError, "expected floating-point") for kind in (object, "U1", bool, complex)),
    *((Frame(np.ones((4, 3), kind)), DTypeError, str(np.dtype(kind))) for kind in (np.int64, np.float64, np.float16)),
    (np.float32(1.0), BackendError, "expected an array, got float32"),
    (np.ndarray, BackendError, "expected an array, got type"),
]


@pytest.mark.parametrize(("value", "error", "words"), ARRAY_ODDITIES, ids=brief)
def test_what_is_no_plain_array_of_numbers_is_refused_on_entry(value, error, words):
    layer, network = Dense(3, 2), Sequential(Dense(3, 1))
    for take in (layer, layer.forward, network, network.forward):
        with pytest.raises(error, match=words):
            take(value)
    layer.forward(np.ones((4, 3), np.float32))
    with pytest.raises(TinyGANError):
        layer.backward(value)
    with pytest.raises(TinyGANError):
        R1()(network, value, value, 0)
    with pytest.raises(TinyGANError):
        GAN(Sequential(Dense(2, 3)), network, noise_dim=2).step(value)
