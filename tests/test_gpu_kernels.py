"""The kernels for the GPU, run by the emulator of ``emulator.py``: the numbers of NumPy, over every geometry."""

from __future__ import annotations

import numpy as np
import pytest
from emulator import emulated, needs_compiler
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernels import assert_equal, convolutions

from tinygan import losses
from tinygan.data import ImageData
from tinygan.kernels import gpu, gpu_batchnorm, gpu_losses, plain
from tinygan.kernels import launch as cuda
from tinygan.kernels.plain import Window
from tinygan.layers import BatchNorm, LeakyReLU, Sigmoid, Tanh
from tinygan.network import Sequential
from tinygan.optim import Adam, ExponentialMovingAverage
from tinygan.testing.strategies import rngs

pytestmark = needs_compiler

CHANNELS = st.sampled_from([1, 2, 3, 4, 8, 70])
SLOPES = st.sampled_from([0.0, 0.2, 1.0])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Small arrays are split as large ones are: into several blocks, pieces and stages."""
    monkeypatch.setattr(gpu, "PIECE", 400)
    monkeypatch.setattr(cuda, "ROWS", 2)
    monkeypatch.setattr(cuda, "THREADS", 32)  # of which common.cuh leaves room for more


def close(found, expected, rtol=1e-12):
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * max(1.0, abs(np.asarray(expected)).max()))
    assert np.asarray(found).dtype == np.asarray(expected).dtype


# ---- convolution -----------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(case=convolutions(channels=CHANNELS))
def test_convolutions_equal_the_plain_ones(case):
    with emulated():
        assert_equal(gpu, plain, *case)


@settings(max_examples=30)
@given(case=convolutions(channels=CHANNELS))
def test_columns_are_those_of_plain(case):
    x, _, _, window = case
    columns = plain.gather_columns(x, window)
    with emulated():
        np.testing.assert_array_equal(gpu.gather_columns(x, window), columns)
        np.testing.assert_array_equal(gpu.gather_columns(x[::-1], window), plain.gather_columns(x[::-1], window))
        close(gpu.scatter_columns(columns, x.shape, window), plain.scatter_columns(columns, x.shape, window))


@settings(max_examples=30)
@given(case=convolutions(channels=CHANNELS), slope=SLOPES)
def test_leaky_relu_is_fused_into_a_convolution_and_its_adjoint(case, slope):
    x, W, y, window = case
    a, b = np.arange(1.0, 1 + W.shape[2]), np.arange(1.0, 1 + W.shape[3])
    with emulated():
        straight = plain.convolve(x, W, window, b)
        close(gpu.convolve(x, W, window, b, slope), np.maximum(straight, slope * straight))
        straight = plain.convolve_adjoint(y, W, x.shape[1:3], window, a)
        close(gpu.convolve_adjoint(y, W, x.shape[1:3], window, a, slope), np.maximum(straight, slope * straight))


@settings(max_examples=20)
@given(case=convolutions(), add=st.booleans())
def test_weight_gradients_go_where_they_belong(case, add):
    x, W, y, window = case
    out = W.copy()
    with emulated():
        assert gpu.convolve_weights(x, y, window, out, add=add) is out
    close(out, plain.convolve_weights(x, y, window) + (W if add else 0.0))


def test_a_kernel_of_one_pixel_needs_no_columns():
    x, W = np.ones((2, 3, 3, 4)), np.ones((1, 1, 4, 5))
    with emulated() as launched:
        gpu.convolve(x, W, Window((1, 1), (1, 1), (0, 0, 0, 0), (3, 3)))
    assert not launched


# ---- rows and numbers ------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(m=st.integers(1, 200), c=CHANNELS, slope=SLOPES, add=st.booleans(), rng=rngs)
def test_bias_and_leaky_relu(m, c, slope, add, rng):
    y, dy, b = rng.standard_normal((m, c)), rng.standard_normal((m, c)), rng.standard_normal(c)
    z, db = y + b, b.copy()
    with emulated():
        found = gpu.bias_leaky(y.copy(), b, slope)
        d = gpu.bias_leaky_backward(dy, found if slope else z, slope, db, add=add)
        without = gpu.bias_leaky(y.copy(), None, slope)
    close(found, np.maximum(z, slope * z))
    close(without, np.maximum(y, slope * y))
    close(d, dy * np.where(z > 0, 1.0, slope))
    close(db, d.sum(axis=0) + (b if add else 0.0))


@settings(max_examples=50)
@given(m=st.integers(1, 3000), c=CHANNELS, matrices=st.sampled_from([(), (1,), (3,)]), add=st.booleans(), rng=rngs)
def test_sums_of_rows(m, c, matrices, add, rng):
    a = rng.standard_normal((*matrices, min(m, 20_000 // c), c))
    out = rng.standard_normal((*matrices, c))
    expected = a.sum(axis=-2)
    with emulated():
        close(gpu.sum_rows(a), expected)
        close(gpu.sum_rows(a, out.copy(), add=add), expected + (out if add else 0.0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 33, 64, 1000])
def test_activations_number_by_number(n, dtype):
    rng = np.random.default_rng(n)
    x, dy = (10 * rng.standard_normal((2, n))).astype(dtype)
    x[: min(n, 4)] = [1000.0, -1000.0, np.nan, 0.0][: min(n, 4)]
    rtol = 1e-6 if dtype == np.float32 else 1e-14
    with emulated(), np.errstate(over="ignore"):
        for layer, forward, backward in (
            (LeakyReLU(0.2), lambda x: gpu.leaky_relu(x, 0.2), lambda y, dy: gpu.leaky_relu_backward(y, dy, 0.2)),
            (Sigmoid(), gpu.sigmoid, gpu.sigmoid_backward),
            (Tanh(), np.tanh, gpu.tanh_backward),
        ):
            y = layer.forward(x[None])[0]
            np.testing.assert_allclose(forward(x), y, rtol=rtol)
            np.testing.assert_allclose(backward(y, dy), layer.backward(dy[None])[0], rtol=10 * rtol, atol=rtol)


# ---- batch normalisation ---------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(
    parts=st.integers(1, 3),
    m=st.integers(2, 200),
    c=CHANNELS,
    slope=SLOPES,
    train=st.booleans(),
    rows=st.sampled_from([2, 1000]),
    add=st.booleans(),
    rng=rngs,
)
def test_batch_normalisation(parts, m, c, slope, train, rows, add, rng):
    """Forward, running statistics and backward, with leaky ReLU behind, against the layers; in steps, and at once."""
    x, dy = rng.standard_normal((2, parts * m, c)) + 3.0
    layer, leaky = BatchNorm(c, dtype=np.float64), LeakyReLU(slope if slope < 1 else 0.0)
    layer.parts = parts
    for key in ("gamma", "beta"):
        layer.params[key][...] = rng.standard_normal(c)
        layer.grads[key][...] = rng.standard_normal(c)
    start = layer.copy()
    expected = layer.forward(x, train=train)
    d = dy
    if slope < 1:
        expected = leaky.forward(expected)
        d = leaky.backward(dy)
    dx = layer.backward(d, grads="add" if add else "write")
    with pytest.MonkeyPatch.context() as patch, emulated():
        patch.setattr(cuda, "ROWS", rows)
        for way in (in_steps, at_once) if train else (in_steps,):
            own = start.copy()
            close(way(own, x, dy, slope, train, add), np.stack([expected, dx]), 1e-9)
            for key, grad in {**own.grads, **own.buffers}.items():
                close(grad, {**layer.grads, **layer.buffers}[key], 1e-9)


def in_steps(layer, x, dy, slope, train, add):
    """y and dx by the kernels that do one thing each."""
    own, m = (layer.params["gamma"], layer.params["beta"]), len(x) // layer.parts
    if train:
        mean, squares = gpu_batchnorm.moments(x, layer.parts)
        running = layer.running_mean, layer.running_var
        options = {"count": m, "eps": layer.eps, "running": running, "momentum": layer.momentum}
    else:
        mean, squares = layer.running_mean[None].copy(), layer.running_var[None].copy()
        options = {"count": 1.0, "eps": layer.eps}
    y, inv_std = gpu_batchnorm.normalise(x, mean, squares, *own, slope=slope, **options)
    d, sums = gpu_batchnorm.backward_sums(x, dy, mean, inv_std, *own, slope=slope)
    gpu_batchnorm.store_grads(sums, inv_std, layer.grads["gamma"], layer.grads["beta"], add=add)
    return np.stack([y, gpu_batchnorm.backward(x, d, mean, inv_std, *own, sums if train else None, m, slope=slope)])


def at_once(layer, x, dy, slope, train, add):
    """y and dx by the two functions that a layer in training calls."""
    own, running = (layer.params["gamma"], layer.params["beta"]), (layer.running_mean, layer.running_var)
    options = {"eps": layer.eps, "running": running, "momentum": layer.momentum}
    y, mean, inv_std = gpu_batchnorm.forward(x, layer.parts, *own, slope=slope, **options)
    dx = gpu_batchnorm.backward_all(x, dy, mean, inv_std, *own, store=None, slope=slope)
    store = layer.grads["gamma"], layer.grads["beta"], add
    again = gpu_batchnorm.backward_all(x, dy, mean, inv_std, *own, store=store, slope=slope)
    np.testing.assert_array_equal(again, dx)
    return np.stack([y, dx])


@pytest.mark.parametrize(
    ("m", "forward", "backward"),
    [
        (10, ["forward_at_once"], ["backward_at_once"]),
        (10_000, ["moments", "moments", "normalise"], ["backward_sums", "sum_rows", "store_grads", "backward"]),
    ],
)
def test_few_rows_take_one_launch_each_way(monkeypatch, m, forward, backward):
    monkeypatch.setattr(cuda, "ROWS", 16)
    monkeypatch.setattr(cuda, "THREADS", 256)
    layer, x = BatchNorm(4, dtype=np.float64), np.random.default_rng(0).standard_normal((m, 4))
    with emulated(layers=True) as launched:
        layer.forward(x)
        assert [name.partition(".")[2] for name in launched] == forward
        launched.clear()
        layer.backward(x)
        assert [name.partition(".")[2] for name in launched] == backward


@pytest.mark.parametrize("m", [5, 20_000])
def test_moments_far_from_zero_keep_their_digits(m):
    """The mean is a thousand times the standard deviation: in float32, a sum of squares would lose all of it."""
    x = (1000 + np.random.default_rng(0).standard_normal((m, 4))).astype(np.float32)
    with emulated():
        mean, squares = gpu_batchnorm.moments(x, 1)
    np.testing.assert_allclose(mean[0], x.mean(axis=0, dtype=np.float64), rtol=3e-7)
    np.testing.assert_allclose(squares[0] / m, x.var(axis=0, dtype=np.float64), rtol=2e-4)


# ---- losses, optimiser, data -----------------------------------------------------------------------------------------

LOSSES = [losses.Minimax(real_label=0.9), losses.NonSaturating(), losses.LeastSquares(real_label=0.8)]
LOSSES += [losses.Wasserstein(), losses.Hinge()]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize(("real", "fake"), [(1, 1), (7, 300), (300, 40)])
def test_losses_and_their_gradients(monkeypatch, loss, real, fake):
    monkeypatch.setattr(cuda, "THREADS", 256)
    rng = np.random.default_rng(real)
    r, f = 3 * rng.standard_normal((real, 1)), 3 * rng.standard_normal((fake, 1))
    r[0], f[0] = 2000.0, -2000.0
    name, label = type(loss).__name__, getattr(loss, "real_label", 1.0)
    with emulated():
        found = *gpu_losses.discriminator(name, r, f, label), *gpu_losses.generator(name, f)
    for one, other in zip(found, (*loss.discriminator(r, f), *loss.generator(f)), strict=True):
        assert one.shape == np.shape(other)
        close(one, other)


@pytest.mark.parametrize("n", [1, 300])
def test_the_loss_of_pairs(monkeypatch, n):
    monkeypatch.setattr(cuda, "THREADS", 256)
    r, f = 3 * np.random.default_rng(n).standard_normal((2, n, 1))
    with emulated():
        of_d, of_g = gpu_losses.relativistic(r, f, both=True), gpu_losses.relativistic(f, r, both=False)
    for one, other in zip(of_d, losses.Relativistic().discriminator(r, f), strict=True):
        close(one, other)
    for one, other in zip(of_g, losses.Relativistic().generator(f, r), strict=False):
        close(one, other)
    assert of_g[2] is None


def network(n, rng):
    """A network with n parameters."""
    layer = BatchNorm(n // 2, dtype=np.float64)
    layer.params["gamma"][...], layer.params["beta"][...] = rng.standard_normal((2, n // 2))
    return Sequential(layer)


@pytest.mark.parametrize("beta1", [0.0, 0.5])
@pytest.mark.parametrize("n", [2, 66, 4096])
def test_adam(n, beta1):
    rng = np.random.default_rng(n)
    net = network(n, rng)
    optimizer = Adam(net, 0.01, beta1=beta1)
    theta, M, V = net.theta.copy(), np.zeros(n), np.zeros(n)
    for _ in range(3):
        net.grad[...] = rng.standard_normal(n)
        optimizer.step()
        with emulated():
            step = np.array(optimizer._numbers)
            gpu.adam(theta, net.grad, M, V, step, beta1, optimizer.beta2)
    for own, expected in ((theta, net.theta), (M, optimizer.M), (V, optimizer.V)):
        close(own, expected)


@pytest.mark.parametrize("n", [2, 66, 4096])
def test_moving_average(n):
    rng = np.random.default_rng(n)
    net = network(n, rng)
    average = ExponentialMovingAverage(net, 0.9)
    mean = average.network.theta.copy()
    net.theta[...] = rng.standard_normal(n)
    average.update()
    with emulated():
        gpu.average(mean, net.theta, np.array(1.0 - min(0.9, 1 / 10)))
    close(mean, average.network.theta)


@settings(max_examples=30)
@given(
    n=st.integers(1, 9),
    hw=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    c=st.integers(1, 4),
    mirrored=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    bounds=st.sampled_from([(-1.0, 1.0), (0.0, 1.0), (-0.3, 2.0)]),
    rng=rngs,
)
def test_a_minibatch_has_the_bytes_of_the_hosts(n, hw, c, mirrored, dtype, bounds, rng):
    data = ImageData(rng.integers(0, 256, (n, *hw, c), dtype=np.uint8), mirrored=mirrored)
    indices = rng.integers(0, len(data), 5)
    low, high = bounds
    with emulated():
        batch = gpu.minibatch(data.images, indices, low, high, dtype)
    np.testing.assert_array_equal(batch, data.batch(indices, low=low, high=high, dtype=dtype))
    assert batch.dtype == dtype
